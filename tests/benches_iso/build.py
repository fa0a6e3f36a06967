"""The image of a payload: our writer beside xorriso, and beside `cp` of the same bytes, which is the limit.

Everybody starts as a process of its own, reads the payload from the page cache (it was written there just
before) and is done when its bytes are on the disk: `sync --file-system` follows each of them within the time
that counts, and goes before each of them, so that nobody writes what another one left. Rounds take turns in
who is first, and the median of each counts. Every output is removed before the next is made. xorriso makes
the same kinds of trees, El Torito entries, MBR and GPT; no digest is asked of it, and ours makes one.
Names of a medium are kept in memory, its content is not: payloads of as many files are held to the same
peak.
"""

import os
import random
import re
import select
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iso.layout import BIOS_PATH, CATALOG_PATH, EFI_PATH
from tests.benches_net.report import emit, say
from tests.boot_images import GRUB, make_boot_images

ROUNDS = 3
LOOK_SECONDS = 0.01
PIECE_BYTES = 1 << 20
MB = 1_000_000


@dataclass(frozen=True)
class Payload:
    """So many bytes, in one file or as a pool of packages (most are small, most bytes are in few)."""

    size: int
    packages: bool


CASES: Mapping[str, Payload] = {
    "build/500MB": Payload(500 * MB, packages=False),
    "build/500MB-packages": Payload(500 * MB, packages=True),
    "build/2GB": Payload(2000 * MB, packages=False),
    "build/2GB-packages": Payload(2000 * MB, packages=True),
}


@dataclass(frozen=True)
class Cost:
    """What one run took: seconds on the wall and on processors, and its most memory in MiB."""

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float

    def __str__(self) -> str:
        return f"{self.wall_seconds:.2f} s, CPU {self.cpu_seconds:.2f} s, {self.peak_mib:.1f} MiB"


def measure(cases: Sequence[str], scratch: Path) -> None:
    boot = scratch / "boot"
    boot.mkdir()
    make_boot_images(boot)
    peaks: dict[bool, dict[int, float]] = defaultdict(dict)
    for name in cases:
        payload = CASES[name]
        costs = _costs(name, payload, boot, scratch)
        peaks[payload.packages][payload.size] = costs["ours"].peak_mib
        _report(name, costs)
    for packages, found in peaks.items():
        if len(found) == 2:
            (_, small), (_, large) = sorted(found.items())
            name = f"build/2GB{'-packages' if packages else ''}"
            emit(
                name, "ours with 500MB", ours=large, theirs=small, unit="MiB peak", goal="<= 1.1", bench="iso"
            )


def _report(name: str, costs: Mapping[str, Cost]) -> None:
    ours = costs["ours"]
    for peer, wall_goal in (("xorriso", "<= 1"), ("cp", "<= 1.5")):
        theirs = costs[peer]
        for unit, one, other, goal in (
            ("s", ours.wall_seconds, theirs.wall_seconds, wall_goal),
            ("CPU s", ours.cpu_seconds, theirs.cpu_seconds, ""),
            ("MiB peak", ours.peak_mib, theirs.peak_mib, ""),
        ):
            emit(name, peer, ours=one, theirs=other, unit=unit, goal=goal, bench="iso")


def _costs(name: str, payload: Payload, boot: Path, scratch: Path) -> dict[str, Cost]:
    place, output = scratch / "payload", scratch / "output"
    say(f"{name}: making {payload.size // MB} MB")
    _fill(place, payload)
    shutil.copy(boot / "efi.img", place / EFI_PATH)
    (place / BIOS_PATH).parent.mkdir(parents=True)
    shutil.copy(boot / "core.img", place / BIOS_PATH)
    output.mkdir()
    files = scratch / "files"
    # Our writer adds the boot images itself: it is given the rest.
    shutil.copytree(place, files, copy_function=os.link)
    (files / EFI_PATH).unlink()
    (files / BIOS_PATH).unlink()
    argvs: dict[str, list[str | Path]] = {
        "ours": [sys.executable, "-m", "tests.benches_iso.one", files, boot, output / "image"],
        "xorriso": _xorriso(place, output / "image"),
        "cp": ["cp", "-r", place, output / "copy"],
    }
    runs: dict[str, list[Cost]] = defaultdict(list)
    for number in range(ROUNDS):
        turn = list(argvs)
        for peer in turn[number % len(turn) :] + turn[: number % len(turn)]:
            cost = _run(argvs[peer], output)
            runs[peer].append(cost)
            say(f"{name}: {peer} {cost}")
            shutil.rmtree(output)
            output.mkdir()
    for made in (place, files, output):
        shutil.rmtree(made)
    return {peer: _median(costs) for peer, costs in runs.items()}


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(
        statistics.median(one.wall_seconds for one in costs),
        statistics.median(one.cpu_seconds for one in costs),
        statistics.median(one.peak_mib for one in costs),
    )


def _run(argv: Sequence[str | Path], output: Path) -> Cost:
    """Run a program and force what it wrote to the disk."""
    os.sync()
    started = time.monotonic()
    usages = [_child(argv), _child(["sync", "--file-system", output])]
    wall = time.monotonic() - started
    return Cost(wall, sum(cpu for cpu, _ in usages), max(peak for _, peak in usages))


def _child(argv: Sequence[str | Path]) -> tuple[float, float]:
    """CPU seconds and peak MiB of one program.

    The kernel's ru_maxrss counts what this process had when it forked, so the peak is looked up (VmHWM) while
    the program runs; the last look is at most LOOK_SECONDS before its end.
    """
    words = [str(word) for word in argv]
    quiet = [
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
    ]
    child = os.posix_spawnp(words[0], words, os.environ, file_actions=quiet)
    peak_kib = 0
    ended = os.pidfd_open(child)
    while not select.select([ended], [], [], LOOK_SECONDS)[0]:
        peak_kib = max(peak_kib, _peak_kib(child))
    os.close(ended)
    _, status, usage = os.wait4(child, 0)
    assert status == 0, f"{words} ended with {os.waitstatus_to_exitcode(status)}"
    return usage.ru_utime + usage.ru_stime, peak_kib / 1024


def _peak_kib(child: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{child}/status").read_text(), re.M)
    return int(found[1]) if found else 0


def _fill(place: Path, payload: Payload) -> None:
    """Bytes that nothing can compress; the same sizes each time."""
    pool = place / "pool"
    pool.mkdir(parents=True)
    chance, left, number = random.Random(payload.size), payload.size, 0
    while left > 0:
        wanted = int(chance.lognormvariate(12.3, 1.7)) if payload.packages else left
        size = min(left, max(10_240, wanted))
        _write(pool / f"{number % 256:02x}" / f"{number:064x}.gpkg.tar", size)
        left, number = left - size, number + 1
    say(f"{number} files")


def _write(path: Path, size: int) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("wb") as file:
        while size > 0:
            file.write(os.urandom(min(size, PIECE_BYTES)))
            size -= PIECE_BYTES


def _xorriso(tree: Path, output: Path) -> list[str | Path]:
    """The options of grub-mkrescue, with Joliet."""
    return [
        *("xorriso", "-as", "mkisofs", "-o", output, "-V", "BENCH", "-r", "-J", "-iso-level", "3"),
        *("-c", CATALOG_PATH, "-b", BIOS_PATH, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
        *("--grub2-boot-info", "--grub2-mbr", GRUB / "i386-pc/boot_hybrid.img", "--protective-msdos-label"),
        *("-eltorito-alt-boot", "-e", EFI_PATH, "-no-emul-boot", "-efi-boot-part", "--efi-boot-image"),
        *("--mbr-force-bootable", tree),
    ]
