"""Tar files whose bytes depend on nothing but names, modes and contents."""

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Member:
    """A file (its bytes) or a symbolic link (its target), owned by root, of no particular time."""

    content: bytes | PurePosixPath
    program: bool = False


def write_tar(members: Mapping[str, Member], target: Path) -> None:
    """Names are relative to /. Directories are left to whoever unpacks: theirs keep their modes."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, member in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if member.program else 0o644
            if isinstance(member.content, bytes):
                entry.size = len(member.content)
                archive.addfile(entry, io.BytesIO(member.content))
            else:
                entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(member.content), 0o777
                archive.addfile(entry)


def read_directory(top: Path) -> dict[str, Member]:
    """The files and links below a directory as members; what Python compiled there is left out."""
    members = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            members[name] = Member(PurePosixPath(path.readlink()))
        elif path.is_file() and path.parent.name != "__pycache__":
            members[name] = Member(path.read_bytes(), program=bool(path.stat().st_mode & 0o100))
    return members
