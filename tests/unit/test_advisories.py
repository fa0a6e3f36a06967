"""Which installed packages an advisory is about."""

from pathlib import Path

import pytest

from appliance.run import run
from buildfarm.advisories import of_images, parse, vulnerable
from buildfarm.portage import Installed

TEXT = b"""<?xml version="1.0"?>
<glsa id="202611-01">
  <affected>
    <package name="sys-apps/sed" auto="yes" arch="*">
      <unaffected range="ge">4.9</unaffected>
      <unaffected range="rge">4.8-r2</unaffected>
      <vulnerable range="lt">4.9</vulnerable>
    </package>
    <package name="dev-lang/lua" auto="yes" arch="sparc">
      <vulnerable range="le">5.4.4</vulnerable>
    </package>
    <package name="dev-db/store" auto="yes" arch="amd64 x86">
      <vulnerable range="lt" slot="13">13.5</vulnerable>
      <vulnerable range="eq">2.*</vulnerable>
    </package>
  </affected>
</glsa>
"""


def installed(cpv: str, slot: str = "0") -> Installed:
    return Installed(cpv, 1, 1, slot)


@pytest.mark.parametrize(
    ("one", "hit"),
    [
        (installed("sys-apps/sed-4.8"), True),
        (installed("sys-apps/sed-4.8-r1"), True),
        (installed("sys-apps/sed-4.8-r2"), False),
        (installed("sys-apps/sed-4.8-r3"), False),
        (installed("sys-apps/sed-4.7-r5"), True),
        (installed("sys-apps/sed-4.9"), False),
        (installed("sys-apps/sedation-4.0"), False),
        (installed("dev-lang/lua-5.4.4", "5.4"), False),
        (installed("dev-db/store-13.4", "13/1"), True),
        (installed("dev-db/store-12.4", "12"), False),
        (installed("dev-db/store-2.7", "2"), True),
        (installed("dev-db/store-20.7", "20"), False),
    ],
)
def test_a_package_is_vulnerable_in_a_range_unless_another_says_it_is_not(one: Installed, hit: bool) -> None:
    assert vulnerable(parse(TEXT), [one], "amd64") == ({one.cpv: "202611-01"} if hit else {})


def test_an_advisory_for_one_architecture_is_for_that_one() -> None:
    assert vulnerable(parse(TEXT), [installed("dev-lang/lua-5.4.4", "5.4")], "sparc")


def test_advisories_are_read_from_a_snapshot_and_a_broken_one_is_passed_over(tmp_path: Path) -> None:
    place = tmp_path / "tree/metadata/glsa"
    place.mkdir(parents=True)
    (place / "glsa-202611-01.xml").write_bytes(TEXT)
    (place / "glsa-202611-02.xml").write_bytes(b"<glsa>")
    image = tmp_path / "one.sqfs"
    run(["mksquashfs", tmp_path / "tree", image, "-quiet", "-no-progress"])
    assert of_images([image]) == parse(TEXT)
    assert of_images([image, image]) == [*parse(TEXT), *parse(TEXT)]


def test_a_repository_without_advisories_has_none(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").touch()
    image = tmp_path / "one.sqfs"
    run(["mksquashfs", tmp_path / "tree", image, "-quiet", "-no-progress"])
    assert of_images([image]) == []
