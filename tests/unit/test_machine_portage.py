"""What a machine has mounted at /etc/portage: the profile's files, and what keeps it to its release."""

from pathlib import Path, PurePosixPath

import pytest

from appliance.farm_model import Snapshot
from appliance.run import run
from appliance.site_model import Repository
from buildfarm import machine_portage, root
from buildfarm.root import Content
from buildfarm.tarball import Member

SNAPSHOTS = (Snapshot("gentoo", "9b10", Path("gentoo.sqfs")), Snapshot("guru", "0123", Path("guru.sqfs")))
REPOSITORIES = [Repository("gentoo", Path("gentoo")), Repository("guru", Path("guru"), priority=10)]
CONFIGURATION: dict[str, Content] = {
    "etc/portage/make.conf": b'CFLAGS="-O2"\n',
    "etc/portage/make.profile": PurePosixPath("../../var/db/repos/gentoo/profiles/base"),
    "etc/portage/package.use/web": b"www-servers/nginx ssl\n",
    "etc/portage/repos.conf/distserver.conf": root.repos_conf(REPOSITORIES).encode(),
    "var/lib/portage/world": b"app-misc/hello\n",
    "var/lib/portage/world_sets": b"",
}


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    place = tmp_path / "stage" / "etc" / "portage"
    for name in ("make.conf", "package.use/stage", "binrepos.conf/gentoobinhost.conf", "gnupg/pubring.kbx"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("of the stage\n")
    return tmp_path / "stage"


def files(stage: Path, *, compiles: bool = False) -> dict[str, Member]:
    return machine_portage.files(CONFIGURATION, stage, SNAPSHOTS, compiles=compiles)


def text(members: dict[str, Member], name: str) -> str:
    content = members[name].content
    assert isinstance(content, bytes)
    return content.decode()


def test_the_stages_own_files_are_below_the_profiles_but_for_its_sources_of_packages(stage: Path) -> None:
    members = files(stage)
    assert text(members, "package.use/stage") == "of the stage\n"
    assert text(members, "make.conf").startswith('CFLAGS="-O2"\n')
    assert members["make.profile"].content == CONFIGURATION["etc/portage/make.profile"]
    assert [name for name in members if name.startswith(("binrepos.conf", "gnupg"))] == [
        "binrepos.conf/distserver.conf"
    ]
    assert "sync-uri = file:///var/lib/distserver/index\n" in text(members, "binrepos.conf/distserver.conf")


def test_a_file_of_the_profile_takes_the_place_of_a_directory_of_the_stage(stage: Path) -> None:
    with_file = {**CONFIGURATION, "etc/portage/package.use": b"*/* ssl\n"}
    del with_file["etc/portage/package.use/web"]
    members = machine_portage.files(with_file, stage, SNAPSHOTS, compiles=False)
    assert [name for name in members if name.startswith("package.use")] == ["package.use"]


def test_what_is_not_in_the_release_is_compiled_only_where_the_profile_says_so(stage: Path) -> None:
    assert "--usepkgonly --getbinpkgonly" in text(files(stage), "make.conf")
    allowed = text(files(stage, compiles=True), "make.conf")
    assert "only" not in allowed.partition("EMERGE_DEFAULT_OPTS=")[2]
    assert "--usepkg --getbinpkg" in allowed
    split = {**CONFIGURATION, "etc/portage/make.conf/base": b""}
    del split["etc/portage/make.conf"]
    members = machine_portage.files(split, stage, SNAPSHOTS, compiles=False)
    assert "--usepkgonly" in text(members, "make.conf/zz-distserver")


def test_every_repository_refuses_to_be_synchronised(stage: Path) -> None:
    repositories = text(files(stage), "repos.conf/distserver.conf")
    assert repositories.count("sync-type = zipfile\n") == len(SNAPSHOTS)
    assert "sync-type =\n" not in repositories
    assert "priority = 10\n" in repositories
    assert files(stage)[machine_portage.HOOK].program
    with pytest.raises(ValueError, match="other repositories than gentoo"):
        machine_portage.files(CONFIGURATION, stage, SNAPSHOTS[:1], compiles=False)


def test_the_same_files_are_the_same_image(stage: Path, tmp_path: Path) -> None:
    machine_portage.make(files(stage), tmp_path / "one")
    machine_portage.make(dict(reversed(files(stage).items())), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    run(["unsquashfs", "-quiet", "-no-progress", "-dest", tmp_path / "out", tmp_path / "one"])
    assert (tmp_path / "out" / "distserver/world").read_text() == "app-misc/hello\n"
    assert (tmp_path / "out" / machine_portage.HOOK).stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "make.conf").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "out", "stage", "two"]
