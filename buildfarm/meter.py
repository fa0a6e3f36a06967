"""What each package of a running build costs: seconds, processor seconds, peak memory; read from /proc.

Portage's FEATURES=cgroup counts the same with less loss, but only since 3.0.82, with the memory controller
on cgroup v2 and a writable cgroup mount inside the root. /proc is everywhere, for any Portage. A package is
known by what Portage puts into the environment of its phases; what happens between two looks is missed.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

LOOK_SECONDS = 1.0
NOBODY = "", ""
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Reading:
    """One process at one moment."""

    name: tuple[int, int]
    """PID and start time: a number may be used again."""
    parent: int
    cpu_seconds: float
    """Its own and those of its children that have ended."""
    memory_bytes: int
    """What it shares with no file."""
    cpv: str
    """The package it works for; empty: none."""
    phase: str


@dataclass(frozen=True)
class Figures:
    """What a package cost so far."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    phase: str
    """The last one that was seen."""


class Tally:
    """Adds looks up. Pure: a look is a list of readings and the time of it."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        """Of the whole build."""
        self._times: dict[str, tuple[float, float]] = {}
        self._cpu: dict[str, dict[tuple[int, int], float]] = {}
        self._peak: dict[str, int] = {}
        self._phase: dict[str, str] = {}

    def take(self, now: float, readings: Sequence[Reading]) -> None:
        """Count one look. Processes whose parent works for no package are where a package begins."""
        self.peak_bytes = max(self.peak_bytes, sum(one.memory_bytes for one in readings))
        by_pid = {one.name[0]: one for one in readings}
        memory: dict[str, int] = {}
        cpu: dict[tuple[str, tuple[int, int]], float] = {}
        for one in readings:
            if not one.cpv:
                continue
            top = one
            while (above := by_pid.get(top.parent)) and above.cpv == one.cpv:
                top = above
            memory[one.cpv] = memory.get(one.cpv, 0) + one.memory_bytes
            cpu[one.cpv, top.name] = cpu.get((one.cpv, top.name), 0.0) + one.cpu_seconds
            if top.phase:
                self._phase[one.cpv] = top.phase
            self._times[one.cpv] = (self._times.get(one.cpv, (now, now))[0], now)
        for cpv, size in memory.items():
            self._peak[cpv] = max(self._peak.get(cpv, 0), size)
        for (cpv, name), seconds in cpu.items():
            tops = self._cpu.setdefault(cpv, {})
            # What a child used is its parent's as soon as that has waited for it: in between it seems less.
            tops[name] = max(tops.get(name, 0.0), seconds)

    def figures(self) -> dict[str, Figures]:
        return {
            cpv: Figures(
                seconds=last - first,
                cpu_seconds=sum(self._cpu[cpv].values()),
                peak_bytes=self._peak[cpv],
                phase=self._phase.get(cpv, ""),
            )
            for cpv, (first, last) in sorted(self._times.items())
        }


class Meter:
    """Looks at this process's descendants for as long as the block lasts."""

    def __init__(
        self, *, look_seconds: float = LOOK_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tally = Tally()
        self._look_seconds = look_seconds
        self._clock = clock
        self._known: dict[tuple[int, int], tuple[str, str]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="meter", daemon=True)

    def __enter__(self) -> "Meter":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        readings = read(descendants(os.getpid(), parents()), self._known)
        self._known = {one.name: (one.cpv, one.phase) for one in readings}
        self.tally.take(self._clock(), readings)

    def _watch(self) -> None:
        while not self._stop.wait(self._look_seconds):
            self.look()


def parents() -> dict[int, int]:
    """PID -> its parent's, of every process."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            found[int(entry.name)] = int(fields[1])
    return found


def descendants(top: int, parent: Mapping[int, int]) -> list[int]:
    """All below `top`, each after its parent."""
    children: dict[int, list[int]] = {}
    for pid, above in sorted(parent.items()):
        children.setdefault(above, []).append(pid)
    found: list[int] = []
    waiting = [top]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def read(pids: Iterable[int], known: Mapping[tuple[int, int], tuple[str, str]]) -> list[Reading]:
    """Readings of those that still live, parents first. `known`: package and phase of earlier looks."""
    found: dict[int, Reading] = {}
    for pid in pids:
        fields = _stat(pid)
        memory = _private_bytes(pid)
        if not fields or memory is None:
            continue
        name, parent = (pid, int(fields[19])), int(fields[1])
        cpv, phase = known.get(name, NOBODY)
        if not cpv:
            # Who was seen between fork and exec had the environment of its parent then.
            cpv, phase = _package(pid)
        if not cpv and parent in found:
            # A process with a cleaned environment works for whom its parent works.
            cpv, phase = found[parent].cpv, found[parent].phase
        ticks = sum(int(one) for one in fields[11:15])
        found[pid] = Reading(name, parent, ticks / TICKS, memory, cpv, phase)
    return list(found.values())


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (proc(5)); empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _private_bytes(pid: int) -> int | None:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return None
    return max(0, int(resident) - int(shared)) * PAGE_BYTES


def _package(pid: int) -> tuple[str, str]:
    """CATEGORY/PF and the phase, as ebuild.sh and all it starts have them in their environment."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return NOBODY
    pairs = (one.partition(b"=") for one in raw.split(b"\0"))
    names = (b"CATEGORY", b"PF", b"EBUILD_PHASE")
    table = {name: value.decode(errors="replace") for name, _, value in pairs if name in names}
    # The phase `depend` only reads an ebuild's metadata; the package itself may never be built.
    if not table.get(b"CATEGORY") or not table.get(b"PF") or table.get(b"EBUILD_PHASE") == "depend":
        return NOBODY
    return f"{table[b'CATEGORY']}/{table[b'PF']}", table.get(b"EBUILD_PHASE", "")
