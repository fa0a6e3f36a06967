"""A root with live files, and what a replacement makes of them."""

import os
from pathlib import Path

from distserver_client import replacing
from distserver_client.replacing import Change
from distserver_client.snapshots import Record, Store
from distserver_client.triples import ABSENT, Kind, Version

OLD, NEW = b"old\n" * 3000, b"new\n" * 5000
NOTE = "user.note"


def file(content: bytes, mode: int = 0o644) -> Version:
    return Version(Kind.FILE, content, mode)


def lay(root: Path) -> None:
    """Three live files, one of them with all that a file can have."""
    (root / "etc").mkdir(parents=True)
    for name in ("a", "b", "gone"):
        (root / f"etc/{name}").write_bytes(OLD)
    os.chown(root / "etc/a", 12, 34)
    (root / "etc/a").chmod(0o640)
    os.setxattr(root / "etc/a", NOTE, b"kept")
    (root / "etc/._cfg0000_a").write_bytes(NEW)


CHANGES = (
    Change("/etc/a", file(OLD), file(NEW), leftovers=("/etc/._cfg0000_a",)),
    Change("/etc/b", file(OLD), file(NEW)),
    Change("/etc/gone", file(OLD), ABSENT),
    Change("/etc/made", ABSENT, file(NEW, 0o600)),
)


def contents(root: Path) -> dict[str, bytes]:
    names = ("a", "b", "gone", "made")
    return {name: (root / "etc" / name).read_bytes() for name in names if (root / "etc" / name).exists()}


BEFORE = {"a": OLD, "b": OLD, "gone": OLD}
AFTER = {"a": NEW, "b": NEW, "made": NEW}


def store(root: Path) -> Store:
    return Store(root / "var/lib/distserver/client")


def nothing(record: Record) -> None:
    """Nobody has a question."""


def whole(root: Path) -> None:
    record = replacing.replace(root, store(root), CHANGES)
    replacing.commit(root, store(root), record, nothing)


def strays(root: Path) -> list[str]:
    return [name.name for name in (root / "etc").iterdir() if "distserver" in name.name]
