"""Makes a release's `storage`: what puts disks together, for the installer and for its machines.

Arrays, volume groups, containers and further file systems need programs that most machines never run, so that
they are no part of every installer. Each program comes with its libraries and its own loader: nothing of the
system it is unpacked beside is used, and nothing there is replaced.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.overlays import overlay
from buildfarm.cpio import Entry, cpio, file
from buildfarm.elf import linkage
from buildfarm.installer import HOST, compress, modules, overlay_entries, same_machine
from buildfarm.view import View

PROGRAMS = (
    "blkid", "btrfs", "cryptsetup", "dmsetup", "lvm", "mdadm", "mkfs.btrfs", "mkfs.xfs", "openssl",
)  # fmt: skip
LEVEL = 9
"""More takes minutes for the last tenth."""
HOME = "usr/lib/storage"
WRAPPER = """\
#!/bin/sh
here=${{0%/*}}
exec "$here/lib/{loader}" --library-path "$here/lib" "$here/bin/{name}" "$@"
"""
PLAIN = """\
#!/bin/sh
exec "${{0%/*}}/bin/{name}" "$@"
"""


def build_storage(
    build_root: Path, target_root: Path | None, output: Path, *, host: Path | None = HOST
) -> None:
    """Write the packed archive to `output`: the same roots give the same bytes.

    Each program comes from `build_root`, or from `host` where setup installs all of them, unless that is
    another architecture; modules from `target_root`. Raises Problem when a program is nowhere.
    """
    spare = [host] if host is not None and same_machine(host, build_root) else []
    roots = [build_root, *spare]
    # All from one root: they share a loader and libraries.
    source = next((root for root in roots if not _missing(root)), None)
    if source is None:
        raise Problem(
            f"{', '.join(_missing(roots[-1]))}: not in {' nor '.join(map(str, roots))}",
            hint="the profile's disks need them: add their packages to its stage",
        )
    view = View((source,))
    entries = {entry.name: entry for name in PROGRAMS for entry in _program(view, name)}
    archive = cpio(
        [
            *entries.values(),
            *overlay_entries(overlay("storage")),
            *(modules(target_root) if target_root else ()),
        ]
    )
    output.write_bytes(compress(archive, LEVEL))


def _missing(root: Path) -> list[str]:
    return [name for name in PROGRAMS if not View((root,)).program(name)]


def _program(view: View, name: str) -> Iterator[Entry]:
    found = view.program(name)
    assert found  # it was looked for
    data = found.path.read_bytes()
    about = linkage(data)
    if about is None:
        raise Problem(f"{name} of {view} is not an ELF program")
    loader = PurePosixPath(about.interpreter).name
    yield file(f"{HOME}/bin/{name}", data, 0o755)
    yield file(
        f"{HOME}/{name}", (WRAPPER if loader else PLAIN).format(loader=loader, name=name).encode(), 0o755
    )
    for needed in view.needs(found):
        inside = PurePosixPath(needed.name).name
        yield file(f"{HOME}/lib/{inside}", needed.trail.path.read_bytes(), 0o755)
