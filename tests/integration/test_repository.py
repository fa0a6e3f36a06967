"""The reference repository: pkgcheck, Manifests, metadata cache, and what Portage makes of it."""

import hashlib
import json
import shutil
import sys
from pathlib import Path, PurePosixPath

import pytest

from appliance.model import Tree
from appliance.run import run
from appliance.sandbox import Bind, Overlay, Sandbox
from buildfarm.distfiles import LIST, fetch_reference, mismatch, parse_manifest, parse_sources
from buildfarm.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = ROOT / "overlays/portage"
EXCEPTIONS = REPOSITORY / "metadata/pkgcheck-exceptions"
PROFILE = ROOT / "examples/site/profiles/amd64"
INSIDE = PurePosixPath("/var/db/repos/distserver")
REPOS_CONF = f"[DEFAULT]\nmain-repo = distserver\n[distserver]\nlocation = {INSIDE}\nauto-sync = no\n"


def exceptions() -> set[tuple[str, str]]:
    """Lines of `<package, or repository> <keyword> <reason>`; the reason must be there."""
    lines = [line.split(None, 2) for line in EXCEPTIONS.read_text().splitlines() if not line.startswith("#")]
    assert all(len(words) == 3 for words in lines)
    return {(words[0], words[1]) for words in lines}


def test_pkgcheck_finds_only_the_listed_exceptions(tmp_path: Path) -> None:
    pkgcheck = Path(sys.executable).parent / "pkgcheck"
    scan = [str(pkgcheck), "scan", "--reporter", "JsonStream", "--cache-dir", str(tmp_path)]
    found = set()
    for line in run([*scan, "--repo", REPOSITORY]).stdout.splitlines():
        result = json.loads(line)
        subject = f"{result['category']}/{result['package']}" if "package" in result else "repository"
        found.add((subject, result["__class__"]))
    assert found == exceptions()


def test_every_manifest_matches_its_distfiles(cache: Tree) -> None:
    fetch_reference(REPOSITORY, cache, print)
    listed = {source.distfile for source in parse_sources((REPOSITORY / LIST).read_text())}
    dists = [dist for path in REPOSITORY.glob("*/*/Manifest") for dist in parse_manifest(path.read_text())]
    assert {dist.name for dist in dists} == listed
    for dist in dists:
        assert set(dist.hashes) == {"BLAKE2B", "SHA512"}
        assert mismatch(cache.room("distfiles") / dist.name, dist) == ""


def test_a_mirror_with_other_bytes_does_not_get_into_distfiles(cache: Tree, tmp_path: Path) -> None:
    """The archive's own hello is fetched by apt, but the Manifest wants something else."""
    place = tmp_path / "repository"
    (place / "app-misc/hello").mkdir(parents=True)
    (place / "metadata").mkdir()
    (line,) = [line for line in (REPOSITORY / LIST).read_text().splitlines() if line.startswith("hello")]
    (place / LIST).write_text(f"{line}\n")
    manifest = (REPOSITORY / "app-misc/hello/Manifest").read_text().split()
    wrong = hashlib.blake2b(b"other").hexdigest()
    manifest[4] = wrong
    (place / "app-misc/hello/Manifest").write_text(" ".join(manifest) + "\n")
    tree = Tree(tmp_path / "state")
    with pytest.raises(Exception, match=rf"its BLAKE2B is [0-9a-f]+, the Manifest says {wrong}"):
        fetch_reference(place, tree, print)
    assert [path.name for path in tree.room("distfiles").iterdir()] == [".reference.lock"]


@pytest.fixture
def inside(build_stage: Stage, tmp_path: Path) -> list[str]:
    """An overlay of the build stage with a copy of the repository and the example's /etc/portage."""
    copy = tmp_path / "repository"
    shutil.copytree(REPOSITORY, copy)
    portage = tmp_path / "portage"
    shutil.copytree(PROFILE / "portage", portage)
    (portage / "repos.conf").write_text(REPOS_CONF)
    (portage / "make.profile").symlink_to(f"../..{INSIDE}/profiles/amd64")
    for name in ("upper", "work", "root"):
        (tmp_path / name).mkdir()
    overlay = Overlay((build_stage.root,), tmp_path / "upper", tmp_path / "work")
    binds = (
        Bind(copy, INSIDE, read_only=False),
        Bind(portage, PurePosixPath("/etc/portage"), read_only=False),
    )
    return Sandbox(root=tmp_path / "root", mounts=(overlay, *binds)).prefix()


def test_the_committed_metadata_cache_is_what_egencache_makes(inside: list[str], tmp_path: Path) -> None:
    made = tmp_path / "repository/metadata/md5-cache"
    shutil.rmtree(made)
    run(["egencache", "--update", "--repo=distserver"], prefix=inside)

    def contents(place: Path) -> dict[str, str]:
        return {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}

    assert contents(made) == contents(REPOSITORY / "metadata/md5-cache")


def test_portage_would_build_the_whole_system_set(inside: list[str]) -> None:
    plan = run(["emerge", "--pretend", "--columns", "--quiet", "@system"], prefix=inside).stdout
    planned = {word for line in plan.splitlines() for word in line.split() if "/" in word}
    system = {line.lstrip("*") for line in (REPOSITORY / "profiles/base/packages").read_text().splitlines()}
    assert system < planned
    assert {"net-misc/dropbear", "sys-libs/zlib", "acct-user/sshd", "acct-group/sshd"} < planned


def test_nothing_that_is_provided_is_also_in_the_repository() -> None:
    lines = (PROFILE / "portage/profile/package.provided").read_text().splitlines()
    provided = {line.rpartition("-")[0] for line in lines if not line.startswith("#")}
    built = {str(path.parent.relative_to(REPOSITORY)) for path in REPOSITORY.glob("*/*/*.ebuild")}
    assert provided
    assert not provided & built
