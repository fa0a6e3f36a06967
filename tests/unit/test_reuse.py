"""What a release got from whom."""

from appliance.model import Package
from buildfarm.reuse import report


def package(name: str, *, profile: str, key: str = "k", seconds: float = 10.0) -> Package:
    return Package(name * 64, f"app-misc/{name}-1", 1, 1, key, 1.0, "", profile=profile, seconds=seconds)


def test_a_release_says_what_was_built_kept_and_reused_and_from_whom() -> None:
    packages = [
        package("d", profile="desktop", key="other"),
        package("a", profile="server"),
        package("b", profile="server"),
        package("c", profile="desktop"),
        package("e", profile=""),
    ]
    reuse = report("server", packages, built={"a" * 64}, keys={"k"})
    assert [origin.how for origin in reuse.origins] == ["built", "kept", "reused", "reused", "reused"]
    assert [origin.flags_differ for origin in reuse.origins] == [False, False, False, True, False]
    assert reuse.saved_seconds == 40.0
    assert str(reuse) == "1 built, 1 kept, 3 reused (desktop 2, unknown 1)"


def test_a_release_of_its_own_packages_names_nobody() -> None:
    reuse = report("server", [package("a", profile="server")], built={"a" * 64}, keys={"k"})
    assert str(reuse) == "1 built, 0 kept, 0 reused"
