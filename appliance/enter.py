"""Mounts a table, changes root and becomes a program; runs as PID 1 of new namespaces, standard library only.

Called as `python3 enter.py TABLE PROGRAM [ARGUMENT ...]`, TABLE being JSON that appliance.sandbox writes.
"""

import ctypes
import json
import os
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 32, 4096, 16384
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    words = [word.encode() for word in (source, target, kind, data)]
    if libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"mount {kind or 'bind'} {source} on {target}: {os.strerror(code)}")


def overlay(target: str, lower: list[str], upper: str, work: str) -> None:
    """Paths are relative to what they have in common: mount(2) takes one page of options.

    What a kernel may have as its default is switched off: a layer must mean the same on every host.
    """
    here = os.getcwd()  # noqa: PTH109
    base = os.path.commonpath([*lower, upper, work])
    os.chdir(base)
    names = [escape(os.path.relpath(path, base)) for path in (*lower, upper, work)]
    layers = f"lowerdir={':'.join(names[:-2])},upperdir={names[-2]},workdir={names[-1]}"
    mount("overlay", target, "overlay", 0, f"{layers},redirect_dir=off,metacopy=off,index=off")
    os.chdir(here)


def escape(path: str) -> str:
    """For the options of overlayfs, where a comma and a colon have a meaning (fs/overlayfs/params.c)."""
    return "".join(f"\\{sign}" if sign in "\\:," else sign for sign in path)


def make_place(target: str, *, directory: bool) -> None:
    if os.path.lexists(target):
        return
    if directory:
        os.makedirs(target, exist_ok=True)  # noqa: PTH103
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103,PTH120
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))


def bind(source: str, target: str, *, read_only: bool) -> None:
    make_place(target, directory=os.path.isdir(source))  # noqa: PTH112
    mount(source, target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def loop(image: str, target: str) -> None:
    """Mount an image file read-only; mount(8) takes a loop device that frees itself with the namespace."""
    make_place(target, directory=True)
    status = os.spawnvp(os.P_WAIT, "mount", ["mount", "-n", "-o", "loop,ro", image, target])
    if status != 0:
        raise OSError(f"mount -o loop {image} on {target} ended with status {status}")


def devices(root: str) -> None:
    """A fresh /dev: Portage refuses to start without a sane one."""
    make_place(f"{root}/dev", directory=True)
    mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "mode=755")
    for name in DEVICES:
        bind(f"/dev/{name}", f"{root}/dev/{name}", read_only=False)
    os.mkdir(f"{root}/dev/pts")  # noqa: PTH102
    mount("devpts", f"{root}/dev/pts", "devpts", 0, "newinstance,ptmxmode=666,mode=620")
    os.mkdir(f"{root}/dev/shm")  # noqa: PTH102
    mount("tmpfs", f"{root}/dev/shm", "tmpfs", 0, "mode=1777")
    for name, place in LINKS.items():
        os.symlink(place, f"{root}/dev/{name}")  # noqa: PTH211


def apply(root: str, entry: dict[str, Any]) -> None:
    target = root + entry.get("target", "")
    match entry["kind"]:
        case "overlay":
            make_place(target or root, directory=True)
            overlay(target, [*entry["lower"]], entry["upper"], entry["work"])
        case "bind":
            bind(entry["source"], target, read_only=entry["read_only"])
        case "image":
            loop(entry["source"], target)
        case "tmpfs":
            make_place(target, directory=True)
            mount("tmpfs", target, "tmpfs", 0, f"mode={entry['mode']:o}")
        case "proc":
            make_place(target, directory=True)
            mount("proc", target, "proc")
        case "devices":
            devices(root)


def main() -> None:
    table = json.loads(sys.argv[1])
    for entry in table["mounts"]:
        apply(table["root"], entry)
    if table["loopback"]:
        os.spawnvp(os.P_WAIT, "ip", ["ip", "link", "set", "lo", "up"])
    os.chroot(table["root"])
    os.chdir(table["cwd"])
    os.umask(0o022)
    program = sys.argv[2:]
    os.execvpe(program[0], program, table["env"])


if __name__ == "__main__":
    main()
