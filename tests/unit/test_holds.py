"""Which packages may stay at an older version, and how emerge is told."""

from dataclasses import replace
from pathlib import PurePosixPath

from appliance.farm_model import Held, Package
from buildfarm import holds
from buildfarm.portage import Installed

OLD = Installed("app-misc/hello-2.10", 1, 100, "0")
PACKAGE = Package("ab" * 32, OLD.cpv, 1, 10, "key", 100.0, "")
NEW = "app-misc/hello-2.12"
HELD = Held(NEW, OLD.cpv)


def test_an_installed_version_whose_package_is_there_stands_in_for_the_one_that_failed() -> None:
    assert holds.stand_ins([NEW], [OLD], [PACKAGE]) == (HELD,)


def test_without_its_package_an_installed_version_is_of_no_use_to_a_fresh_machine() -> None:
    assert holds.stand_ins([NEW], [OLD], []) == ()
    assert holds.stand_ins([NEW], [OLD], [replace(PACKAGE, built_at=101.0)]) == ()


def test_what_was_never_installed_cannot_stay() -> None:
    assert holds.stand_ins(["app-misc/other-1"], [OLD], [PACKAGE]) == ()
    assert holds.stand_ins([NEW, "app-misc/other-1"], [OLD], [PACKAGE]) == ()


def test_the_same_version_built_in_another_way_has_no_stand_in() -> None:
    assert holds.stand_ins([OLD.cpv], [OLD], [PACKAGE]) == ()


def test_a_name_that_begins_alike_is_another_package() -> None:
    other = replace(OLD, cpv="app-misc/hello-world-1")
    assert holds.stand_ins([NEW], [other], [replace(PACKAGE, cpv=other.cpv)]) == ()


def test_the_mask_names_just_the_version_that_fails() -> None:
    files = holds.mask_files({"etc/portage/make.conf": b"A=1\n"}, [HELD])
    text = files["etc/portage/package.mask/distserver-held"]
    assert isinstance(text, bytes)
    assert text.decode().splitlines()[-2:] == [f"# {OLD.cpv} stays instead of", f"={NEW}"]
    assert files["etc/portage/make.conf"] == b"A=1\n"


def test_a_mask_that_is_a_file_stays_one() -> None:
    files = holds.mask_files({"etc/portage/package.mask": b"a/b"}, [HELD])
    text = files["etc/portage/package.mask"]
    assert isinstance(text, bytes)
    assert text.startswith(b"a/b\n# DistServer")
    assert text.endswith(f"\n={NEW}\n".encode())
    assert not any("distserver-held" in name for name in files)


def test_without_holds_the_configuration_is_what_it_was() -> None:
    for files in ({"etc/portage/package.mask": b"a/b"}, {"etc/portage/make.profile": PurePosixPath("x")}):
        assert holds.mask_files(files, []) == files
