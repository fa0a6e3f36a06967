"""Decides what has to start anew: the machine, for its kernel, and services, for replaced libraries; pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAGIC, HEADER = b"HdrS", 0x200
"""Of the header of an x86 kernel (Documentation/arch/x86/boot.rst)."""
LONGEST = 300
NAMES = ("vmlinuz", "kernel", "vmlinux")
BANNER = re.compile(r"(\S+)(?: \(.*?\))? (#.*)")
"""`6.6.30 (root@host) #1 SMP ...`: what `uname -r` and `uname -v` say of it, and who built it between."""
MODULES = re.compile(r"(?:/usr)?/lib/modules/([^/]+)")
GONE = " (deleted)"
PASSING = (
    "/dev/",
    "/memfd:",
    "/SYSV",
    "/tmp/",
    "/var/tmp/",
    "/run/",
    "/var/run/",
    "/proc/",
    "/[aio]",
    "/drm ",
)
"""Mapped files that come from no package, and that their own process removed."""
SYSTEMD = re.compile(r"/([^/]+)\.service(?:/|$)")
OPENRC = re.compile(r"/openrc[./]([^/]+)")


@dataclass(frozen=True)
class Kernel:
    release: str
    """`uname -r`"""
    version: str = ""
    """`uname -v`: of one release another build has another one; empty: not known."""


@dataclass(frozen=True)
class Process:
    number: int
    name: str
    """/proc/PID/comm"""
    group: str
    """/proc/PID/cgroup"""
    maps: str
    """/proc/PID/maps"""


def reboot(running: Kernel, installed: Kernel | None, modules: Iterable[str]) -> str:
    """Why the machine has to start anew, as a sentence; empty when it has not.

    `installed`: the release's own kernel, None when it is not on this machine's disk, or does not say which
    one it is. `modules`: the kernels that installed packages have modules for.
    """
    if installed is not None:
        if running.release != installed.release:
            return f"kernel {running.release} runs, {installed.release} is installed"
        if installed.version and running.version and running.version != installed.version:
            return f"another build of kernel {running.release} is installed"
        return ""
    there = sorted(set(modules))
    if there and running.release not in there:
        return f"kernel {running.release} runs, and there are modules for {', '.join(there[:3])}"
    return ""


def kernel_of(image: bytes, name: str) -> Kernel | None:
    """Of the beginning of a kernel's file, or of its name; None when neither says it."""
    if image[HEADER + 2 : HEADER + 6] == MAGIC and (at := _number(image, HEADER + 14)):
        # The place of the version is counted from where the header begins.
        text = image[HEADER + at : HEADER + at + LONGEST].partition(b"\0")[0]
        if words := BANNER.match(text.decode("ascii", "replace")):
            return Kernel(words[1], words[2])
    first, dash, version = name.partition("-")
    return Kernel(version) if dash and version[:1].isdigit() and first in NAMES else None


def _number(image: bytes, at: int) -> int:
    return int.from_bytes(image[at : at + 2], "little")


def modules_of(paths: Iterable[str]) -> frozenset[str]:
    """The kernels for which there are modules among the paths of packages."""
    return frozenset(found[1] for path in paths if (found := MODULES.match(path)))


def stale(processes: Iterable[Process]) -> tuple[str, ...]:
    """What runs with files that packages replaced since: names of services, else of programs."""
    found = {service(one) for one in processes if has_replaced(one.maps)}
    return tuple(sorted(found))


def has_replaced(maps: str) -> bool:
    """Is a program or library mapped whose file is not there any more? proc_pid_maps(5)."""
    for line in maps.splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].endswith(GONE) and "x" in words[1]:
            path = words[5].removesuffix(GONE)
            if path.startswith("/") and not path.startswith(PASSING):
                return True
    return False


def service(one: Process) -> str:
    """By the control group that its init made for it; a program that a person started is named by itself."""
    if one.number == 1:
        return "init"
    lines = [line.split(":", 2)[-1] for line in one.group.splitlines()]
    for pattern in (SYSTEMD, OPENRC):
        names: Sequence[str] = [found[1] for line in lines if (found := pattern.search(line))]
        if names:
            return names[0]
    return one.name
