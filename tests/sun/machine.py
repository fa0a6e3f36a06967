"""QEMU's sun4u as a Sun Ultra 10, and what is said to its firmware and on its console."""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from appliance.console import Console, ConsoleClosed, child_console
from appliance.dialogues import PROMPT
from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import Argument
from buildfarm import sun_medium
from buildfarm.inspection import Inspector
from buildfarm.pool import Pool
from buildfarm.signing import Signer

PROFILE = "ultra10"
DISK_BYTES = 8 * 10**9
MEMORY_MIB = 1024
FIRMWARE_SECONDS, INSTALL_SECONDS, BOOT_SECONDS = 300.0, 3600.0, 1200.0
BLOCK = 1 << 20
TRIES = 4
KERNEL = r"Linux version \d"
FROM_DISK = "disk:a root=/dev/sda2 rootfstype=ext2"
AS_ITSELF = '" SUNW,Ultra-5_10" encode-string " name" " /" find-dev drop set-property'
"""What makes an OpenBIOS, which calls itself so, say what an Ultra 10's OpenBoot says.

After `dev /` and `device-end`, which say it in fewer words, OpenBIOS loads nothing any more.
"""
# Each runs programs of packages: busybox, dash, sed, hello with the C library of the stage.
PROOFS = {
    "hello": "Hello, world!",
    "uname -m": "sparc64",
    "echo rust | sed s/rust/disk/": "disk",
}


@dataclass
class Run:
    """Seconds of each phase, as they end."""

    phases: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        before = time.monotonic()
        yield
        self.phases.append((name, time.monotonic() - before))
        print(f"ultra10: {name} {self.phases[-1][1]:.0f} s", flush=True)


@dataclass(frozen=True)
class Machine:
    """What QEMU's sun4u is given: its own disk, perhaps a medium on a second one, and a card."""

    place: Path
    disk: Path
    image: Path
    """What its firmware would load from the network lies in the CD drive: OpenBIOS loads from no network."""
    medium: Path | None = None
    mac: str = ""
    tap: str = ""
    """Of the namespace that `prefix` leads to; empty: no card."""
    prefix: Sequence[Argument] = ()
    memory_mib: int = MEMORY_MIB

    def argv(self) -> list[Argument]:
        drive = "format=raw,if=ide,index"
        card = f"tap,ifname={self.tap},script=no,downscript=no,model=sunhme,mac={self.mac}"
        medium: list[Argument] = ["-drive", f"file={self.medium},{drive}=1,snapshot=on"]
        return [
            *self.prefix,
            *("qemu-system-sparc64", "-M", "sun4u", "-m", str(self.memory_mib), "-nographic", "-no-reboot"),
            *("-prom-env", "auto-boot?=false", "-nic", card if self.tap else "none"),
            *("-drive", f"file={self.disk},{drive}=0"),
            *(medium if self.medium else []),
            *("-drive", f"file={self.image},{drive}=2,media=cdrom"),
        ]

    @contextmanager
    def switched_on(self, name: str, boot: str) -> Iterator[Console]:
        """Power on, and tell the firmware at its prompt what it is and what to boot, until a kernel begins.

        OpenBIOS sometimes finds nothing in its CD drive at first, and has its prompt again.
        """
        with child_console(self.argv(), self.place / f"{name}.log") as console:
            console.wait_for(re.compile(PROMPT), seconds=FIRMWARE_SECONDS)
            console.send(f"{AS_ITSELF}\r")
            console.wait_for(re.compile(PROMPT), seconds=FIRMWARE_SECONDS)
            for _ in range(TRIES):
                console.send(f"boot {boot}\r")
                said = console.wait_for(re.compile(f"{KERNEL}|{PROMPT}"), seconds=FIRMWARE_SECONDS)
                if re.search(KERNEL, said.text):
                    break
            else:
                raise Problem(f"the firmware does not `boot {boot}`", hint=console.tail())
            yield console


def blank_disk(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    return path


def padded(source: Path, target: Path) -> Path:
    """A copy as a drive wants it: whole blocks."""
    shutil.copyfile(source, target)
    with target.open("r+b") as file:
        file.truncate(-(-target.stat().st_size // BLOCK) * BLOCK)
    return target


def made_medium(tree: Tree, release: Path, place: Path) -> tuple[Path, str]:
    """The medium of a release as a disk, and what is typed of its list of hashes."""
    inspector = Inspector(Pool(tree.room("pool").resolve()), Signer(tree.room("keys")))
    plain = place / "medium.tar"
    sums = sun_medium.make(release, inspector.pool, inspector, DISK_BYTES, plain)
    return padded(plain, place / "medium.raw"), sums


def packages_of(release: Path) -> int:
    """How many it has."""
    return sum(1 for line in (release / "manifest").read_text().splitlines() if line.startswith("PACKAGE"))


INSTALLING = {
    "verify": "installer: medium verified",
    "partition": "installer: partitions:",
    "packages": "installer: done",
}
"""Phases of an installation, and what is said when each has ended."""


def install(machine: Machine, sums: str, seen: Run) -> None:
    """From the medium to the disk, until the machine has switched itself off."""
    with machine.switched_on("install", f"cdrom disk=sda medium=sdb sums={sums}") as console:
        for name, end in INSTALLING.items():
            with seen.phase(name):
                awaited = re.compile(f"(?:{end}|installer: failed)[^\n]*\n")
                said = console.wait_for(awaited, seconds=INSTALL_SECONDS)
            if "failed" in said.text:
                raise Problem(f"the Sun machine says: {said.text.strip()}", hint=console.tail())
        _until_switched_off(console, BOOT_SECONDS)


def start_from_disk(machine: Machine) -> None:
    """busybox init, as the packages brought it, says that the machine is up."""
    with machine.switched_on("disk", f"{FROM_DISK} ro") as console:
        console.wait_for("distserver: localhost is up", seconds=BOOT_SECONDS)


def use(machine: Machine, release: str) -> None:
    """Programs of the packages run on it: a shell is its first process, for it has no password yet."""
    proofs = {**PROOFS, "cat /etc/distserver-release": release}
    with machine.switched_on("shell", f"{FROM_DISK} rw init=/bin/dash") as console:
        console.wait_for("# ", seconds=BOOT_SECONDS)
        console.send_line("PATH=/bin:/usr/bin; alias uname='busybox uname' cat='busybox cat'")
        for command, expected in proofs.items():
            console.send_line(f"{command}; echo end-of-it-$?")
            said = console.wait_for(re.compile(r"end-of-it-\d+\s*\n"), seconds=BOOT_SECONDS)
            if expected not in said.before or "end-of-it-0" not in said.text:
                raise Problem(f"on the machine `{command}` says {said.before!r}", hint=console.tail())


def _until_switched_off(console: Console, seconds: float) -> None:
    try:
        console.wait_for("nothing that is ever said", seconds=seconds)
    except ConsoleClosed:
        return
