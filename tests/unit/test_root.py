"""Roots: what is laid into them and when a layer counts."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.site_model import DiskLayout, Profile, Repository, StageSource
from buildfarm import root, survey
from buildfarm.root import Root

TINY = Repository("tiny", Path(__file__).resolve().parent.parent / "data" / "tiny")
OVER = Repository("over")
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


@pytest.fixture
def snapshots(tmp_path: Path) -> list[Snapshot]:
    """Of TINY as it is; the image itself is not looked at."""
    assert TINY.location
    survey.write(survey.survey(TINY.location), tmp_path / "1.sqfs", tmp_path / "part")
    return [Snapshot("tiny", "1", tmp_path / "1.sqfs")]


def test_the_configuration_is_what_portage_reads(snapshots: list[Snapshot]) -> None:
    files = root.configuration(PROFILE, [TINY, OVER], snapshots)
    assert files["etc/portage/make.conf"] == b"A=1\n"
    assert files["etc/portage/make.profile"] == PurePosixPath("../../var/db/repos/tiny/profiles/base")
    assert files["var/lib/portage/world"] == b"a/a\nb/b\n"
    assert files["var/lib/portage/world_sets"] == b"@extra\n"
    conf = files["etc/portage/repos.conf/distserver.conf"]
    assert isinstance(conf, bytes)
    # auto-sync = no alone does not stop `emerge --sync tiny`.
    assert conf.count(b"sync-type =\nsync-uri =\nauto-sync = no\n") == 2
    assert conf.startswith(b"[DEFAULT]\nmain-repo = tiny\n")
    assert b"[over]\nlocation = /var/db/repos/over\n" in conf


@pytest.mark.parametrize("name", ["tiny:nothing", "other:base", "tiny", "tiny:"])
def test_a_portage_profile_that_is_not_there_is_refused(name: str, snapshots: list[Snapshot]) -> None:
    with pytest.raises(Problem, match="there is no Portage profile"):
        root.configuration(replace(PROFILE, portage_profile=name), [TINY], snapshots)


def test_the_nearest_portage_profile_is_named(snapshots: list[Snapshot]) -> None:
    with pytest.raises(Problem) as caught:
        root.configuration(replace(PROFILE, portage_profile="tiny:bas"), [TINY], snapshots)
    assert "did you mean tiny:base?" in caught.value.hint


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


def names(own: Root) -> list[str]:
    """What lies in the committed layers, the uppermost first."""
    return [path.name for layer in own.committed() for path in sorted(layer.iterdir())]


def test_only_a_committed_layer_counts(own: Root) -> None:
    attempt = own.begin("stage-a")
    (attempt.upper / "built").touch()
    assert own.committed() == ()
    own.discard()
    assert own.leftover() is None
    attempt = own.begin("stage-a")
    assert not (attempt.upper / "built").exists()


def test_the_next_build_adds_a_layer_and_writes_none_of_the_committed_ones(own: Root) -> None:
    (own.begin("stage-a").upper / "one").touch()
    own.commit()
    attempt = own.begin("stage-a")
    assert attempt.layers == own.committed()
    assert list(attempt.upper.iterdir()) == []
    (attempt.upper / "two").touch()
    own.commit()
    assert names(own) == ["two", "one"]
    own.begin("stage-a")
    own.discard()
    assert names(own) == ["two", "one"]


def test_a_layer_holds_nothing_of_the_configuration(own: Root) -> None:
    attempt = own.begin("stage-a")
    root.lay(attempt.upper, own.path, {"etc/portage/make.conf": b"1", "etc/hosts": b"2"})
    own.commit()
    (layer,) = own.committed()
    assert [path.name for path in sorted((layer / "etc").iterdir())] == ["hosts"]


def test_a_new_profile_shares_the_layers_of_another(own: Root) -> None:
    other = Root(own.path.with_name("two"))
    assert not other.seed(own)
    (own.begin("stage-a").upper / "one").touch()
    own.commit()
    assert other.seed(own)
    assert other.committed() == own.committed()
    (other.begin("stage-a").upper / "two").touch()
    other.commit()
    assert not other.seed(own)
    # The first profile goes on with another stage; what the second still names stays.
    (own.begin("stage-b").upper / "new").touch()
    own.commit()
    assert names(own) == ["new"]
    assert names(other) == ["two", "one"]
    (other.begin("stage-b").upper / "new").touch()
    other.commit()
    rest = [path.name for path in (own.path.parent / ".layers").iterdir() if path.is_dir()]
    assert sorted(rest) == sorted(path.name for path in (*own.committed(), *other.committed()))


def test_a_commit_killed_before_its_rename_of_the_head_leaves_the_root_as_it_was(own: Root) -> None:
    (own.begin("stage-a").upper / "one").touch()
    own.commit()
    attempt = own.begin("stage-a")
    attempt.upper.rename(own.path.parent / ".layers" / "000002")
    assert names(own) == ["one"]
    own.begin("stage-a")
    own.commit()
    assert not (own.path.parent / ".layers" / "000002").exists()


def test_another_stage_starts_from_nothing(own: Root) -> None:
    (own.begin("stage-a").upper / "built").touch()
    own.commit()
    assert not (own.begin("stage-b").upper / "built").exists()


def test_a_second_build_of_a_profile_is_refused(own: Root) -> None:
    with own.lock(), pytest.raises(Problem, match="one is being built already"), own.lock():
        pass
    with own.lock():
        pass
