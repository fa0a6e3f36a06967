"""Mounts a table, changes root and becomes a program; runs as PID 1 of new namespaces, standard library only.

Called as `python3 enter.py TABLE PROGRAM [ARGUMENT ...]`, TABLE being JSON that appliance.sandbox writes.
"""

import ctypes
import errno
import fcntl
import json
import os
import stat
import struct
import sys
from typing import Any

MS_RDONLY, MS_NOSUID, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 32, 4096, 16384
PER_LINUX32 = 8
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_READ_ONLY, LO_AUTOCLEAR, LO_PARTITIONS = 1, 4, 8
LOOP_CONFIG = struct.Struct("=II52xI240x")
"""fd, block size, then struct loop_info64 with its flags at 52 bytes, reserved words (linux/loop.h)."""
LOOP_TRIES = 100
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


def image(source: str, target: str) -> None:
    """An image file, read-only: over a loop device that frees itself, or unpacked where the host has none."""
    make_place(target, directory=True)
    mount("tmpfs", target, "tmpfs", MS_NOSUID, "mode=755")
    backing = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        device, node = attach(backing, target)
    except OSError as error:
        sys.stderr.write(f"no loop device for {source} ({error}), it is unpacked into memory\n")
        call("unsquashfs", "-quiet", "-no-progress", "-force", "-dest", target, source)
        mount("none", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)
        return
    finally:
        os.close(backing)
    try:
        call("mount", "-n", "-o", "ro", node, target)
    finally:
        os.close(device)


def call(*argv: str) -> None:
    """What it prints goes to standard error: standard output belongs to the program that follows."""
    said = [(os.POSIX_SPAWN_DUP2, 2, 1)]
    ended = os.waitstatus_to_exitcode(
        os.waitpid(os.posix_spawnp(argv[0], argv, os.environ, file_actions=said), 0)[1]
    )
    if ended != 0:
        raise OSError(f"{' '.join(argv)} ended with status {ended}")


def attach(
    backing: int, room: str, *, flags: int = LO_READ_ONLY, access: int = os.O_RDONLY, sector_bytes: int = 0
) -> tuple[int, str]:
    """A loop device on a file, open, and its node: that of /dev or, where it has none, one made in `room`.

    It frees itself when it is closed.

    A static /dev, as containers have it, ends at eight nodes while the kernel gives more; and between
    being told which device is free and taking it, another process may have taken it (loop(4)).
    """
    config = LOOP_CONFIG.pack(backing, sector_bytes, flags | LO_AUTOCLEAR)
    control = open_node("/dev/loop-control", room, stat.S_IFCHR, os.makedev(10, 237))[0]
    try:
        for _ in range(LOOP_TRIES):
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            try:
                place = os.makedev(7, number)
                device, node = open_node(f"/dev/loop{number}", room, stat.S_IFBLK, place, access)
            except FileNotFoundError:
                continue
            try:
                fcntl.ioctl(device, LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno not in (errno.EBUSY, errno.EAGAIN, errno.ENXIO):
                    raise
            else:
                return device, node
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, f"none was free in {LOOP_TRIES} tries")


def open_node(path: str, room: str, kind: int, number: int, access: int = os.O_RDONLY) -> tuple[int, str]:
    """A device's node, open, and its path; made in `room` when `path` is not that device."""
    try:
        found = os.stat(path)  # noqa: PTH116
        there = stat.S_IFMT(found.st_mode) == kind and found.st_rdev == number
    except FileNotFoundError:
        there = False
    if not there:
        path = f"{room}/{os.path.basename(path)}"  # noqa: PTH119
        if not os.path.lexists(path):
            os.mknod(path, kind | 0o600, number)
    return os.open(path, access | os.O_CLOEXEC), path


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
            image(entry["source"], target)
        case "tmpfs":
            make_place(target, directory=True)
            mount("tmpfs", target, "tmpfs", 0, f"mode={entry['mode']:o}")
        case "proc":
            make_place(target, directory=True)
            mount("proc", target, "proc")
        case "devices":
            devices(root)


def is_32_bit_x86(root: str) -> bool:
    """Is the root's shell a program of i386 to i686? (ELF: class 1, machine 3)"""
    try:
        with open(f"{root}/bin/sh", "rb") as shell:  # noqa: PTH123
            start = shell.read(20)
    except OSError:
        return False
    return start[:5] == b"\x7fELF\x01" and start[18:20] == b"\x03\x00"


def main() -> None:
    table = json.loads(sys.argv[1])
    for entry in table["mounts"]:
        apply(table["root"], entry)
    if table["loopback"]:
        os.spawnvp(os.P_WAIT, "ip", ["ip", "link", "set", "lo", "up"])
    os.chroot(table["root"])
    os.chdir(table["cwd"])
    os.umask(0o022)
    if is_32_bit_x86("/"):
        # uname then says i686: configure scripts and Python ask it what they are built for (personality(2)).
        libc.personality(PER_LINUX32)
    program = sys.argv[2:]
    os.execvpe(program[0], program, table["env"])


if __name__ == "__main__":
    main()
