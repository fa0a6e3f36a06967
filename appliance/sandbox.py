"""Private namespaces, a table of mounts and a chroot, as an argv prefix for run()."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from appliance import enter

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Overlay:
    """`lower` (uppermost first) under a writable `upper`, mounted as the root itself."""

    lower: tuple[Path, ...]
    upper: Path
    work: Path


@dataclass(frozen=True)
class Bind:
    """A file or directory of the host at `target` inside."""

    source: Path
    target: PurePosixPath
    read_only: bool = True


@dataclass(frozen=True)
class Image:
    """A squashfs (or any file system image), read-only at `target` inside; at `/` it is the root itself."""

    source: Path
    target: PurePosixPath


@dataclass(frozen=True)
class Tmpfs:
    target: PurePosixPath
    mode: int = 0o755


Mount = Overlay | Bind | Image | Tmpfs


@dataclass(frozen=True)
class Sandbox:
    """A root directory seen from inside its own mount, PID, IPC and UTS (and network) namespaces.

    Every mount lives in the private namespace and is gone with its last process, however that ended:
    the first process dies with its caller (setpriv --pdeathsig) and takes the others along.
    """

    root: Path
    mounts: Sequence[Mount] = ()
    network: bool = False
    namespace: Path | None = None
    """A network namespace to run in, instead of an empty one of its own."""
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"

    def prefix(self) -> list[str]:
        """The argv prefix that makes a program run inside."""
        spaces = [
            "--mount",
            "--pid",
            "--ipc",
            "--uts",
            "--fork",
            "--kill-child=KILL",
            "--propagation=private",
        ]
        table = {
            "root": str(self.root),
            "mounts": [
                *(_entry(m) for m in self.mounts if _is_root(m)),
                {"kind": "proc", "target": "/proc"},
                {"kind": "devices"},
                {"kind": "tmpfs", "target": "/run", "mode": 0o755},
                {"kind": "tmpfs", "target": "/run/lock", "mode": 0o1777},
                *(_entry(m) for m in self.mounts if not _is_root(m)),
            ],
            "loopback": not self.network and self.namespace is None,
            "cwd": self.cwd,
            "env": {"HOME": "/root", "TERM": "dumb", "LANG": "C.UTF-8", "PATH": PATH, **self.env},
        }
        enter_network = [] if self.namespace is None else ["nsenter", f"--net={self.namespace}"]
        own_network = [] if self.network or self.namespace else ["--net"]
        return [
            "setpriv", "--pdeathsig", "KILL", *enter_network, "unshare", *spaces, *own_network,
            sys.executable, "-I", str(enter.__file__), json.dumps(table),
        ]  # fmt: skip


def _is_root(mount: Mount) -> bool:
    return isinstance(mount, Overlay) or (isinstance(mount, Image) and mount.target == PurePosixPath("/"))


def _entry(mount: Mount) -> dict[str, Any]:
    match mount:
        case Overlay():
            lower = [str(layer) for layer in mount.lower]
            return {"kind": "overlay", "lower": lower, "upper": str(mount.upper), "work": str(mount.work)}
        case Bind():
            place = {"source": str(mount.source), "target": str(mount.target)}
            return {"kind": "bind", "read_only": mount.read_only, **place}
        case Image():
            return {"kind": "image", "source": str(mount.source), "target": str(mount.target)}
        case Tmpfs():
            return {"kind": "tmpfs", "target": str(mount.target), "mode": mount.mode}
