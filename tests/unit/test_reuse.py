"""What a release got from whom."""

from appliance.farm_model import Origin, Package
from buildfarm import reuse


def package(name: str, profile: str) -> Package:
    return Package(name * 64, f"app-misc/{name}-1", 1, 1, "key", 1.0, "", profile=profile, seconds=10.0)


PACKAGES = [
    package("d", "desktop"),
    package("a", "server"),
    package("b", "server"),
    package("c", "desktop"),
    package("e", ""),
]


def test_a_release_says_what_was_built_kept_and_reused_and_from_whom() -> None:
    found = reuse.origins("server", PACKAGES, built={"a" * 64})
    assert found[0] == Origin("a" * 64, "app-misc/a-1", "built", "server")
    assert [(one.origin, one.profile) for one in found[1:]] == [
        ("reused", "server"), ("reused", "desktop"), ("reused", "desktop"), ("reused", ""),
    ]  # fmt: skip
    assert reuse.sentence("server", found) == "1 built, 1 kept, 3 reused (unknown 1, desktop 2)"
    assert reuse.saved_seconds(PACKAGES, built={"a" * 64}) == 40.0


def test_a_release_of_its_own_packages_names_nobody() -> None:
    found = reuse.origins("server", [package("a", "server")], built={"a" * 64})
    assert reuse.sentence("server", found) == "1 built, 0 kept, 0 reused"
