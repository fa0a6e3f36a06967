"""Machines, what they boot, and where state lies; frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from appliance.errors import Problem


class Firmware(Enum):
    BIOS = "bios"
    UEFI = "uefi"
    OPENFIRMWARE = "openfirmware"
    """OpenBoot of SPARC machines, Open Firmware of PowerPC ones (IEEE 1275)."""


PC_FIRMWARE = (Firmware.BIOS, Firmware.UEFI)
"""What the installer makes boot."""


class MachineState(Enum):
    DISCOVERED = "discovered"
    """It reported what it is; nobody said yet what it should be."""
    ASSIGNED = "assigned"
    """It has a profile; nothing may be written to its disks."""
    ARMED = "armed"
    """A person or a rule allowed one installation."""
    INSTALLING = "installing"
    """It fetched its plan and reports steps."""
    INSTALLED = "installed"
    """It boots from its own disk."""
    FAILED = "failed"
    """A step failed or the plan was refused; a person has to look."""


# INSTALLED may follow anything: a machine was installed from a medium, and its server hears of it afterwards.
TRANSITIONS: Mapping[MachineState, frozenset[MachineState]] = {
    MachineState.DISCOVERED: frozenset({MachineState.ASSIGNED, MachineState.ARMED, MachineState.INSTALLED}),
    MachineState.ASSIGNED: frozenset({MachineState.ASSIGNED, MachineState.ARMED, MachineState.INSTALLED}),
    MachineState.ARMED: frozenset(
        {
            MachineState.ARMED,
            MachineState.ASSIGNED,
            MachineState.INSTALLING,
            MachineState.INSTALLED,
            MachineState.FAILED,
        }
    ),
    # A machine that was switched off half-way starts again: INSTALLING -> INSTALLING.
    MachineState.INSTALLING: frozenset(
        {MachineState.INSTALLING, MachineState.INSTALLED, MachineState.FAILED, MachineState.ASSIGNED}
    ),
    MachineState.INSTALLED: frozenset({MachineState.ARMED, MachineState.ASSIGNED, MachineState.INSTALLED}),
    MachineState.FAILED: frozenset(
        {MachineState.ARMED, MachineState.ASSIGNED, MachineState.FAILED, MachineState.INSTALLED}
    ),
}


def check_transition(mac: str, before: MachineState, after: MachineState) -> None:
    """Raise Problem when a machine may not go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(state.value for state in TRANSITIONS[before]))
        raise Problem(
            f"machine {mac} is {before.value} and cannot become {after.value}",
            hint=f"from {before.value} it can become: {allowed}",
        )


NO_TABLE = "none"
"""Of a disk that was looked at and has no partition table."""


@dataclass(frozen=True)
class DiskPartition:
    """What is on a part of a disk, or on all of it when it has no partition table: its path is the disk's."""

    path: str
    start_bytes: int
    size_bytes: int
    filesystem: str = ""
    """In blkid's words; empty: none that it knows."""
    label: str = ""


@dataclass(frozen=True)
class Disk:
    """One disk as the installer sees it."""

    path: str
    size_bytes: int
    transport: str = ""
    removable: bool = False
    serial: str = ""
    model: str = ""
    table: str = ""
    """In blkid's words, or NO_TABLE; empty: the machine did not say what is on the disk."""
    partitions: tuple[DiskPartition, ...] = ()
    place: str = ""
    """Where it is plugged in, such as pci-0000:00:1f.2-ata-1; empty: not said."""
    rotational: bool | None = None
    """None: not said."""


@dataclass(frozen=True)
class PciDevice:
    """One kind of PCI device in a machine; all in lower-case hexadecimal digits."""

    id: str
    """`VENDOR:DEVICE`."""
    class_code: str
    """Class, subclass and programming interface, six digits."""
    subsystem: str = ""
    """`VENDOR:DEVICE` of who made the board; empty: bridges have none."""


@dataclass(frozen=True)
class Facts:
    """What a machine says of itself. Any text may be empty; the machine is not trusted."""

    mac: str
    firmware: Firmware
    memory_bytes: int = 0
    """What Linux may use of it, some percent less than what is built in."""
    uuid: str = ""
    cpu: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    disks: tuple[Disk, ...] = ()
    arch: str = ""
    """Of the kernel that ran there, as `uname -m` says it: x86_64, i686, aarch64, sparc64."""
    cpus: int = 0
    """Processors as Linux counts them; 0: it did not say."""
    cpu_flags: tuple[str, ...] = ()
    """In Linux' words (/proc/cpuinfo), sorted."""
    secure_boot: bool | None = None
    """None: it did not say."""
    family: str = ""
    sku: str = ""
    board_vendor: str = ""
    board: str = ""
    bios_vendor: str = ""
    bios_version: str = ""
    pci: tuple[PciDevice, ...] = ()
    """Each kind once, sorted."""


@dataclass(frozen=True)
class Machine:
    mac: str
    """Lower case, colons."""
    state: MachineState
    name: str = ""
    profile: str | None = None
    facts: Facts | None = None
    release: str | None = None
    """The release it is being installed from or was installed from."""
    problem: str = ""
    """Why it is FAILED."""
    channel: str = "stable"
    """The channel of its profile that it follows."""
    lends: bool = False
    """It boots from the network as a compile host unless it is to be installed; writes no disk."""
    wipes: bool = False
    """What it is ARMED for or INSTALLING is that its disk is wiped; then it is retired."""
    rescue: int = 0
    """So many times more its boot script starts the rescue shell; one that tells of itself was the last."""


@dataclass(frozen=True)
class Event:
    """One entry of a machine's or a job's timeline."""

    subject: str
    """A machine's MAC, or `job:<id>`."""
    at: float
    """Seconds since the epoch."""
    stage: str
    status: str = "done"
    """begin, done, failed, note."""
    seconds: float | None = None
    size_bytes: int | None = None
    message: str = ""


@dataclass(frozen=True)
class LocalBoot:
    """Boot from the machine's own disk."""

    reason: str


@dataclass(frozen=True)
class NetBoot:
    """Boot a release's kernel and installer."""

    release: str
    arguments: str
    """Kernel command line."""
    reason: str
    narrow: str = ""
    """The release to boot instead where the processor is an x86 of 32 bits; empty: the same."""
    arm64: str = ""
    """The same for an arm64."""


@dataclass(frozen=True)
class Silence:
    """Send nothing: the firmware goes on with its next boot device."""

    reason: str


BootTarget = LocalBoot | NetBoot | Silence


@dataclass(frozen=True)
class Tree:
    """The layout of the state directory."""

    path: Path
    store: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", self.path / "store" / "store.sqlite")

    def room(self, name: str) -> Path:
        """A directory of the state, made when missing: snapshots, distfiles, stages, roots, pool, ..."""
        place = self.path / name
        place.mkdir(parents=True, exist_ok=True)
        return place
