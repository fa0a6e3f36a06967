"""Machines, what they boot, and where state lies; frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from appliance.errors import Problem


class Firmware(Enum):
    BIOS = "bios"
    UEFI = "uefi"


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


TRANSITIONS: Mapping[MachineState, frozenset[MachineState]] = {
    MachineState.DISCOVERED: frozenset({MachineState.ASSIGNED, MachineState.ARMED}),
    MachineState.ASSIGNED: frozenset({MachineState.ASSIGNED, MachineState.ARMED}),
    MachineState.ARMED: frozenset(
        {MachineState.ARMED, MachineState.ASSIGNED, MachineState.INSTALLING, MachineState.FAILED}
    ),
    # A machine that was switched off half-way starts again: INSTALLING -> INSTALLING.
    MachineState.INSTALLING: frozenset(
        {MachineState.INSTALLING, MachineState.INSTALLED, MachineState.FAILED, MachineState.ASSIGNED}
    ),
    MachineState.INSTALLED: frozenset({MachineState.ARMED, MachineState.ASSIGNED}),
    MachineState.FAILED: frozenset({MachineState.ARMED, MachineState.ASSIGNED, MachineState.FAILED}),
}


def check_transition(mac: str, before: MachineState, after: MachineState) -> None:
    """Raise Problem when a machine may not go from `before` to `after`."""
    if after not in TRANSITIONS[before]:
        allowed = ", ".join(sorted(state.value for state in TRANSITIONS[before]))
        raise Problem(
            f"machine {mac} is {before.value} and cannot become {after.value}",
            hint=f"from {before.value} it can become: {allowed}",
        )


@dataclass(frozen=True)
class Disk:
    """One disk as the installer sees it."""

    path: str
    size_bytes: int
    transport: str = ""
    removable: bool = False
    serial: str = ""
    model: str = ""


@dataclass(frozen=True)
class Facts:
    """What a machine says of itself. Any text may be empty; the machine is not trusted."""

    mac: str
    firmware: Firmware
    memory_bytes: int = 0
    uuid: str = ""
    cpu: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    disks: tuple[Disk, ...] = ()


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
