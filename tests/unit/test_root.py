"""Roots: what is laid into them and when a layer counts."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.errors import Problem
from appliance.model import DiskLayout, Profile, Repository, StageSource
from buildfarm import root
from buildfarm.root import Root

TINY = Repository("tiny", Path(__file__).resolve().parent.parent / "data" / "tiny")
PROFILE = Profile(
    name="one",
    description="",
    arch="amd64",
    chost="x86_64-pc-linux-gnu",
    portage_profile="tiny:base",
    stage=StageSource("x"),
    install_stage=StageSource("x"),
    kernel_package="",
    kernel_arguments="",
    kernel_config="",
    portage={"make.conf": b"A=1\n"},
    world=("b/b", "@extra", "a/a"),
    disk=DiskLayout((), 0),
)


@pytest.fixture
def own(tmp_path: Path) -> Root:
    return Root(tmp_path / "roots" / "one")


def test_the_configuration_is_what_portage_reads() -> None:
    files = root.configuration(PROFILE, [TINY])
    assert files["etc/portage/make.conf"] == b"A=1\n"
    assert files["etc/portage/make.profile"] == PurePosixPath("../../var/db/repos/tiny/profiles/base")
    assert files["var/lib/portage/world"] == b"a/a\nb/b\n"
    assert files["var/lib/portage/world_sets"] == b"@extra\n"
    conf = files["etc/portage/repos.conf/distserver.conf"]
    assert isinstance(conf, bytes)
    # auto-sync = no alone does not stop `emerge --sync tiny`.
    assert b"sync-type =\nsync-uri =\nauto-sync = no\n" in conf


@pytest.mark.parametrize("name", ["tiny:nothing", "other:base", "tiny", "tiny:"])
def test_a_portage_profile_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(Problem, match="there is no Portage profile"):
        root.configuration(replace(PROFILE, portage_profile=name), [TINY])


def test_files_of_an_earlier_configuration_are_gone(tmp_path: Path) -> None:
    upper, stage = tmp_path / "upper", tmp_path / "stage"
    (stage / "etc").mkdir(parents=True, mode=0o711)
    (stage / "etc").chmod(0o711)
    root.lay(upper, stage, {"etc/portage/package.use/a": b"x", "etc/portage/make.conf": b"1"})
    root.lay(upper, stage, {"etc/portage/make.conf": b"2"})
    assert [p.name for p in (upper / "etc/portage").iterdir()] == ["make.conf"]
    assert (upper / "etc/portage/make.conf").read_bytes() == b"2"
    # A directory of the upper layer hides the stage's mode.
    assert (upper / "etc").stat().st_mode & 0o777 == 0o711


def test_only_a_committed_layer_counts(own: Root) -> None:
    attempt = own.begin("stage-a")
    (attempt.upper / "built").touch()
    assert own.committed() is None
    own.discard()
    assert own.leftover() is None
    attempt = own.begin("stage-a")
    assert not (attempt.upper / "built").exists()


def test_the_next_build_works_on_a_copy_of_the_committed_layer(own: Root) -> None:
    (own.begin("stage-a").upper / "built").write_text("1")
    own.commit()
    committed = own.committed()
    assert committed is not None
    (own.begin("stage-a").upper / "built").write_text("2")
    assert (committed / "upper/built").read_text() == "1"
    own.commit()
    newer = own.committed()
    assert newer is not None
    assert (newer / "upper/built").read_text() == "2"
    assert not committed.exists()


def test_another_stage_starts_from_nothing(own: Root) -> None:
    (own.begin("stage-a").upper / "built").touch()
    own.commit()
    assert not (own.begin("stage-b").upper / "built").exists()


def test_a_second_build_of_a_profile_is_refused(own: Root) -> None:
    with own.lock(), pytest.raises(Problem, match="one is being built already"), own.lock():
        pass
    with own.lock():
        pass
