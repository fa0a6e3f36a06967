"""What the API takes and answers, one dataclass for each object. Pure."""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from appliance import account_model, compile_host, farm_model, model, profile_model
from appliance.channels import CANARY, STABLE
from appliance.store import errands
from appliance.store.consoles import WatchState
from appliance.store.errands import ErrandKind, ErrandState
from appliance.store.machines import SIGNS
from webui.api.schema import Rule

LEAST, USUAL, MOST = 1, 50, 200
MAC = "([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"
HOST_NAME = "([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?"
Limit = Annotated[int, Rule("how many at most", least=LEAST, most=MOST)]
Number = Annotated[str, Rule("`next` of the page before", pattern="([0-9]{1,18})?")]
HostName = Annotated[str, Rule("a host name of lower-case letters, digits and -", pattern=HOST_NAME)]


class Channel(Enum):
    STABLE = STABLE
    CANARY = CANARY


class Power(Enum):
    """What a controller may be told; PowerDesk.words."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
    STATUS = "status"
    NETBOOT_ONCE = "netboot-once"


# what comes


@dataclass(frozen=True)
class MachineQuery:
    text: Annotated[str, Rule("a part of a name or of a MAC")] = ""
    state: Annotated[str, Rule("only those in this state")] = ""
    profile: Annotated[str, Rule("only those with this profile")] = ""
    release: Annotated[str, Rule("only those with this release")] = ""
    sign: Annotated[str, Rule("only those that reported this", pattern=f"({'|'.join(SIGNS)})?")] = ""
    limit: Limit = USUAL
    cursor: Annotated[str, Rule("`next` of the page before", pattern=f"({MAC})?")] = ""


@dataclass(frozen=True)
class NumberQuery:
    limit: Limit = USUAL
    cursor: Number = ""


@dataclass(frozen=True)
class EventQuery:
    subject: Annotated[str, Rule("only those of this machine's MAC or of `job:NUMBER`")] = ""
    limit: Limit = USUAL
    cursor: Annotated[str, Rule("the number of the last event that is known", pattern="([0-9]{1,18})?")] = ""


@dataclass(frozen=True)
class AuditQuery:
    who: Annotated[str, Rule("only what they did, such as `web ann`")] = ""
    action: Annotated[str, Rule("only this, such as `machine arm`")] = ""
    subject: Annotated[str, Rule("only what was done to this")] = ""
    limit: Limit = USUAL
    cursor: Number = ""


@dataclass(frozen=True)
class NewMachine:
    """A machine that is to be known before it boots."""

    mac: Annotated[str, Rule("six pairs such as 52:54:00:12:34:56", pattern=MAC)]
    name: HostName = ""
    profile: Annotated[str, Rule("empty: none yet")] = ""


@dataclass(frozen=True)
class Assignment:
    """The profile a machine gets; it is disarmed by that."""

    profile: str
    name: HostName = ""


@dataclass(frozen=True)
class NewName:
    """What a machine is called from now on."""

    name: Annotated[str, Rule("a host name that no other machine has; empty: none", pattern=HOST_NAME)]


@dataclass(frozen=True)
class TypedName:
    """Who sends it knows what is lost."""

    name: Annotated[str, Rule("the machine's name, or its MAC when it has none")]


@dataclass(frozen=True)
class ChannelChoice:
    """The channel of its profile that a machine follows."""

    channel: Channel


@dataclass(frozen=True)
class PowerChoice:
    """What a machine's controller is told."""

    action: Power


@dataclass(frozen=True)
class WatchChoice:
    """Whether a machine's console is read for the next 15 minutes."""

    wanted: bool = True


@dataclass(frozen=True)
class RescueChoice:
    """Whether a machine starts into the rescue shell once."""

    wanted: bool = True


@dataclass(frozen=True)
class Move:
    """How a channel of a profile is to be moved."""

    release: Annotated[str, Rule("empty: the one that is next by itself; a pin needs one")] = ""
    channel: Channel = Channel.STABLE
    why: str = ""


# what is answered


@dataclass(frozen=True)
class Fault:
    """What went wrong, as a sentence, and what to do about it."""

    error: str
    hint: str = ""


@dataclass(frozen=True)
class DiskPartition:
    """What a disk had on a part of it, or on all of it when it has no table: the path is the disk's then."""

    path: str
    start_bytes: int
    size_bytes: int
    filesystem: str
    label: str


@dataclass(frozen=True)
class Disk:
    """A disk as the machine saw it; the machine is not trusted. Without a `table`: inside is unknown."""

    path: str
    size_bytes: int
    transport: str
    removable: bool
    serial: str
    model: str
    table: str
    partitions: tuple[DiskPartition, ...]


@dataclass(frozen=True)
class PciDevice:
    """A kind of PCI device in a machine, in hexadecimal digits; bridges have no subsystem."""

    id: str
    class_code: str
    subsystem: str


@dataclass(frozen=True)
class Facts:
    """What a machine says of itself; it is not trusted. What an older installer did not say is empty."""

    firmware: model.Firmware
    memory_bytes: int
    uuid: str
    cpu: str
    vendor: str
    product: str
    serial: str
    disks: tuple[Disk, ...]
    arch: str
    cpus: int
    cpu_flags: tuple[str, ...]
    secure_boot: bool | None
    family: str
    sku: str
    board_vendor: str
    board: str
    bios_vendor: str
    bios_version: str
    pci: tuple[PciDevice, ...]


@dataclass(frozen=True)
class Machine:
    """A machine, what it should be and how far it is."""

    mac: str
    name: str
    state: model.MachineState
    profile: str | None
    channel: str
    release: str | None
    problem: str
    wipes: bool
    """What it is armed for is that its disk is wiped; then it is retired."""
    rescue: bool
    """It starts into the rescue shell next."""
    facts: Facts | None


@dataclass(frozen=True)
class MachineNow:
    """A machine, and what it does at its next boot."""

    machine: Machine
    boots: str
    plan: str
    """The fingerprint of its last plan."""


@dataclass(frozen=True)
class Profile:
    """A profile of the site, its parents folded in."""

    name: str
    description: str
    arch: str
    lineage: tuple[str, ...]
    channel: str
    portage_profile: str
    kernel_package: str
    world: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A job of the farm; times are seconds since the epoch."""

    id: int
    kind: str
    profile: str
    state: str
    started_at: float
    ended_at: float | None
    message: str
    failure: str
    security: bool


@dataclass(frozen=True)
class Console:
    """A machine's serial console; `until` is in seconds since the epoch."""

    watched: bool
    until: float
    state: WatchState
    said: str
    size_bytes: int
    """Of all that was read."""
    text: str
    """The last of it, without what would order a terminal."""


@dataclass(frozen=True)
class Host:
    """A compile host."""

    name: str
    address: str
    state: compile_host.HostState
    arch: str
    jobs: int
    load: float | None
    reason: str
    seen_at: float


@dataclass(frozen=True)
class Found:
    """What the doctor found on an interface, and what to do about it; the level is green, yellow or red."""

    interface: str
    level: str
    subject: str
    said: str
    fix: str


@dataclass(frozen=True)
class Event:
    """An entry of the timeline of a machine or a job; `at` is in seconds since the epoch."""

    id: int
    subject: str
    at: float
    stage: str
    status: str
    seconds: float | None
    size_bytes: int | None
    message: str


@dataclass(frozen=True)
class Note:
    """A line of the audit log; `at` is in seconds since the epoch."""

    id: int
    at: float
    who: str
    action: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Errand:
    """What the farm was asked to do, and what came of it; times are seconds since the epoch."""

    id: int
    kind: ErrandKind
    profile: str
    channel: str
    release: str
    machine: str
    """Its MAC, when it is about one; empty otherwise, as are those that do not matter."""
    who: str
    why: str
    state: ErrandState
    wanted_at: float
    ended_at: float | None
    said: str


def errand(one: errands.Errand) -> Errand:
    asked = one.id, one.kind, one.profile, one.channel, one.release, one.machine, one.who, one.why
    return Errand(*asked, one.state, one.wanted_at, one.ended_at, one.said)


def machine(one: model.Machine) -> Machine:
    said = facts(one.facts) if one.facts else None
    is_now = one.profile, one.channel, one.release, one.problem, one.wipes, one.rescue > 0
    return Machine(one.mac, one.name, one.state, *is_now, said)


def facts(one: model.Facts) -> Facts:
    disks = tuple(disk(each) for each in one.disks)
    words = one.uuid, one.cpu, one.vendor, one.product, one.serial
    pci = tuple(PciDevice(each.id, each.class_code, each.subsystem) for each in one.pci)
    cpu = one.arch, one.cpus, one.cpu_flags
    boards = one.family, one.sku, one.board_vendor, one.board, one.bios_vendor, one.bios_version
    return Facts(one.firmware, one.memory_bytes, *words, disks, *cpu, one.secure_boot, *boards, pci)


def disk(one: model.Disk) -> Disk:
    inside = ((p.path, p.start_bytes, p.size_bytes, p.filesystem, p.label) for p in one.partitions)
    words = one.transport, one.removable, one.serial, one.model, one.table
    return Disk(one.path, one.size_bytes, *words, tuple(DiskPartition(*each) for each in inside))


def profile(one: profile_model.Profile) -> Profile:
    made_of = one.portage_profile, one.kernel_package, one.world
    return Profile(one.name, one.description, one.arch, one.lineage, one.channel, *made_of)


def job(one: farm_model.Job) -> Job:
    times = one.started_at, one.ended_at
    return Job(one.id, one.kind, one.profile, one.state, *times, one.message, one.failure, one.security)


def host(one: compile_host.CompileHost) -> Host:
    load = one.report.load if one.report else None
    return Host(one.name, one.address, one.state, one.machine, one.jobs, load, one.reason, one.seen_at)


def event(number: int, one: model.Event) -> Event:
    took = one.seconds, one.size_bytes
    return Event(number, one.subject, one.at, one.stage, one.status, *took, one.message)


def note(one: account_model.Note) -> Note:
    return Note(one.id, one.at, one.who, one.action, one.subject, one.detail)
