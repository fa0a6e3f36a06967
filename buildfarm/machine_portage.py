"""Makes portage.sqfs of a release: /etc/portage as an installed machine has it mounted, read-only."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from appliance.farm_model import Snapshot
from appliance.run import run
from buildfarm.root import REPOS, Content
from buildfarm.tarball import Member, read_directory

FILE = "portage.sqfs"
ETC = "etc/portage/"
WORLDS = ("world", "world_sets")
HOOK = "repo.postsync.d/distserver"
# getuto's keyring is the machine's own, and nothing but the release is a source of packages.
NOT_OF_A_RELEASE = ("binrepos.conf", "gnupg")
README = """\
This directory is part of this machine's release and read-only: what it holds is changed on the server, in
profiles/NAME/portage of the site. `distserver-client status` says which release this machine has.
"""
BINREPOS = """\
[release]
priority = 9999
sync-uri = file:///var/lib/distserver/index
location = /var/cache/distserver/binhost
verify-signature = false
fetchcommand = /usr/sbin/distserver-client fetch "${URI}" "${DISTDIR}/${FILE}"
resumecommand = /usr/sbin/distserver-client fetch "${URI}" "${DISTDIR}/${FILE}"
"""
ONLY_BINARIES = """
# Of the release: packages are installed and not compiled here, the profile does not allow it.
EMERGE_DEFAULT_OPTS="${EMERGE_DEFAULT_OPTS} --usepkgonly --getbinpkgonly"
"""
WITH_BINARIES = """
# Of the release: what it does not have is compiled here, the profile allows it.
EMERGE_DEFAULT_OPTS="${EMERGE_DEFAULT_OPTS} --usepkg --getbinpkg"
"""
# `emerge --sync` leaves a repository without a sync-type out, succeeds and says nothing. Of the sync
# modules zipfile needs no program, and of a URL that holds its data no network: it refuses what is no
# archive and changes nothing, and the hook that Portage runs after it says why
# (portage/sync/controller.py, sync and perform_post_sync_hook; sync/modules/zipfile/zipfile.py, sync).
SYNC = "sync-type = zipfile\nsync-uri = data:,the-server-synchronises\nauto-sync = yes\n"
REFUSAL = """\
#!/bin/sh
echo " * $1 is part of this machine's release: synchronise on the server, with 'distserver sync'." >&2
"""


def files(
    configuration: Mapping[str, Content], stage: Path, snapshots: tuple[Snapshot, ...], *, compiles: bool
) -> dict[str, Member]:
    """What is in the image, by name relative to /etc/portage.

    `configuration` is what portage.tar holds; `stage` the root of the install stage, whose own files are
    below the profile's as they are in the farm; the world comes along as `distserver/world`.
    """
    own = {
        name.removeprefix(ETC): Member(text) for name, text in configuration.items() if name.startswith(ETC)
    }
    place = stage / ETC
    brought = read_directory(place) if place.is_dir() else {}
    found = {name: one for name, one in brought.items() if not _hidden(name, own)} | own
    found = {name: one for name, one in found.items() if name.split("/")[0] not in NOT_OF_A_RELEASE}
    tail = WITH_BINARIES if compiles else ONLY_BINARIES
    found |= _settings(found, tail.encode())
    found |= {f"distserver/{name}": Member(configuration[f"var/lib/portage/{name}"]) for name in WORLDS}
    return found | {
        "repos.conf/distserver.conf": Member(_refusing(configuration, snapshots)),
        "binrepos.conf/distserver.conf": Member(BINREPOS.encode()),
        "README": Member(README.encode()),
        HOOK: Member(REFUSAL.encode(), program=True),
    }


def make(members: Mapping[str, Member], image: Path) -> None:
    """Write the image; the same members give the same bytes."""
    with tempfile.TemporaryDirectory(prefix=".portage-", dir=image.parent) as name:
        tree = Path(name) / "tree"
        tree.mkdir(mode=0o755)
        for relative, member in sorted(members.items()):
            place = tree / relative
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(member.content, bytes):
                place.write_bytes(member.content)
            else:
                place.symlink_to(member.content)
        part = Path(name) / "image"
        # gzip, because every kernel with squashfs reads it; modes, times and owners are fixed: bytes repeat.
        fixed = ["-all-root", "-all-time", "0", "-mkfs-time", "0", "-reproducible", "-no-xattrs"]
        modes = ["-action", "chmod(u=rwX,go=rX)@type(f)||type(d)"]
        for relative, member in sorted(members.items()):
            if isinstance(member.content, bytes) and member.program:
                (tree / relative).chmod(0o755)
        run(["mksquashfs", tree, part, "-noappend", "-quiet", "-no-progress", *fixed, *modes])
        shutil.move(part, image)


def _hidden(name: str, own: Mapping[str, Member]) -> bool:
    """Does a file of the profile stand where the stage has a directory, or the other way round?"""
    parents = [str(parent) for parent in PurePosixPath(name).parents]
    return any(parent in own for parent in parents) or any(one.startswith(f"{name}/") for one in own)


def _settings(found: Mapping[str, Member], tail: bytes) -> dict[str, Member]:
    """make.conf with the machine's part at its end, or as its last file when it is a directory."""
    if any(name.startswith("make.conf/") for name in found):
        return {"make.conf/zz-distserver": Member(tail.lstrip(b"\n"))}
    text = found["make.conf"].content if "make.conf" in found else b""
    if not isinstance(text, bytes):
        raise ValueError("make.conf is a link")
    return {"make.conf": Member(text + tail)}


def _refusing(configuration: Mapping[str, Content], snapshots: tuple[Snapshot, ...]) -> bytes:
    """repos.conf whose repositories refuse to be synchronised with a sentence."""
    text = configuration[f"{ETC}repos.conf/distserver.conf"]
    assert isinstance(text, bytes)
    silent = "sync-type =\nsync-uri =\nauto-sync = no\n"
    said = text.decode()
    if said.count(silent) != len(snapshots):
        raise ValueError(
            f"repos.conf names other repositories than {', '.join(s.repository for s in snapshots)}"
        )
    assert all(f"location = {REPOS / one.repository}\n" in said for one in snapshots)
    return said.replace(silent, SYNC).encode()
