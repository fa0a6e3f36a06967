"""The words of the project as frozen values, and the table of what a machine may do next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from appliance.dhcp_settings import DhcpSettings
from appliance.dns_settings import DnsSettings
from appliance.errors import Problem
from appliance.machine_settings import MachineSettings
from appliance.net_settings import NetSettings
from appliance.secure_boot import SecureBootSettings
from appliance.tftp_settings import TftpSettings


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
class StageSource:
    """Where a profile's stage comes from.

    `location` is a path, a URL, or `reference:build` / `reference:install`. For a URL, `digests` and
    `signature` name the URLs (default: the location with .DIGESTS and .asc added) and `keyring` the file
    of public keys that may have signed it. `sha256` pins a local file.
    """

    location: str
    sha256: str = ""
    digests: str = ""
    signature: str = ""
    keyring: Path | None = None


@dataclass(frozen=True)
class Partition:
    name: str
    size_bytes: int | None
    """None: the rest of the disk."""
    filesystem: str = ""
    """ext4, vfat, swap, or empty for none."""
    mount: str = ""
    firmware: Firmware | None = None
    """Only made on machines with this firmware."""


@dataclass(frozen=True)
class DiskLayout:
    partitions: tuple[Partition, ...]
    min_size_bytes: int
    """A disk smaller than this does not match."""
    transport: str = ""
    model: str = ""
    serial: str = ""
    """Glob patterns a disk must match; empty matches any."""


@dataclass(frozen=True)
class MatchRule:
    """All given glob patterns must match a machine's facts. `arm`: a match also allows one installation."""

    mac: str = ""
    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""
    arm: bool = False
    source: str = ""
    """file and table, for messages."""

    @property
    def patterns(self) -> Mapping[str, str]:
        names = ("mac", "vendor", "product", "serial", "uuid")
        return {name: value for name in names if (value := getattr(self, name))}


@dataclass(frozen=True)
class Profile:
    """One kind of machine, its parents already folded in."""

    name: str
    description: str
    arch: str
    chost: str
    portage_profile: str
    """`repository:path`, as a make.profile names it, e.g. `distserver:amd64`."""
    stage: StageSource
    install_stage: StageSource
    """What is unpacked on the machine; the same as `stage` unless the profile says otherwise."""
    kernel_package: str
    kernel_arguments: str
    kernel_config: str
    """Kconfig fragment text, parents first."""
    portage: Mapping[str, bytes]
    """Files of /etc/portage by relative path."""
    world: tuple[str, ...]
    disk: DiskLayout
    authorized_keys: str = ""
    """Public keys that may log in as root by ssh, one a line."""
    match: tuple[MatchRule, ...] = ()
    kernel_source: str = ""
    """Atom of a package that installs /usr/src/linux-VERSION; the farm then makes `kernel_package` of it."""
    kernel_base: str = ""
    """Of a kernel from sources: a target such as `defconfig`, or the text of a whole configuration."""
    lineage: tuple[str, ...] = ()
    """The profiles it was folded from, most distant parent first, itself last."""
    channel: str = "stable"
    """Where new releases go first."""
    promote_after_seconds: float | None = None
    """How long a release is on canary before it goes to stable by itself; None: a person promotes it."""
    hold: bool = True
    """A package that does not build stays at its version, so that the others are published."""
    boot: bool = False
    """A virtual machine must install a release and boot it before it is published."""


class SyncKind(Enum):
    LOCAL = "local"
    GIT = "git"
    RSYNC = "rsync"
    SNAPSHOT = "snapshot"
    """A tarball, as emerge-webrsync fetches it."""
    SQUASHFS = "squashfs"


@dataclass(frozen=True)
class Repository:
    name: str
    location: Path | None = None
    """The directory of a local one; the others live in the state."""
    sync: SyncKind = SyncKind.LOCAL
    uri: str = ""
    branch: str = ""
    """A git branch or tag; empty: what the remote side calls HEAD."""
    depth: int = 1
    """Git commits to fetch; 0: all."""
    keyring: Path | None = None
    """Public keys; what none of them signed is refused."""
    priority: int | None = None
    """Portage's: of equal versions the repository with the higher one wins. The main one has -1000."""

    @property
    def source(self) -> str:
        """Where its trees come from, as one text: another text is another line of history."""
        return f"{self.sync.value} {self.location or self.uri} {self.branch}".rstrip()


@dataclass(frozen=True)
class Schedule:
    """When repositories are synchronised: so often, or once a day at a time of day (local)."""

    every_seconds: float = 24 * 3600.0
    at_minute: int | None = None


@dataclass(frozen=True)
class RepositoryState:
    """What became of a repository's synchronisations."""

    name: str
    source: str = ""
    revision: str = ""
    """Of the current snapshot; empty when there never was one."""
    image: str = ""
    """File name of the current snapshot in state/snapshots."""
    validator: str = ""
    """What the source said of itself then: the same again means that nothing changed."""
    tried_at: float = 0.0
    succeeded_at: float = 0.0
    changed_at: float = 0.0
    problem: str = ""
    """Why the last synchronisation changed nothing; empty when it went well."""


@dataclass(frozen=True)
class Snapshot:
    """One immutable state of an ebuild repository; a build takes one per repository, the main one first."""

    repository: str
    revision: str
    """A git commit, or hexadecimal digits of a hash of the content."""
    image: Path


@dataclass(frozen=True)
class FarmSettings:
    """How much the farm does at a time, and where its queue is."""

    workers: int = 1
    """Builds side by side on this machine."""
    memory_bytes: int = 0
    """What all builds together may need; 0: most of what the machine has."""
    queue: str = "sqlite"
    """`sqlite`, or the URL of a Redis that workers on other hosts share."""
    staleness_seconds: float = 24 * 3600.0
    """Newer inputs wait at most so long for a build of older ones."""
    port: int = 0
    """TCP port where workers on other hosts fetch and push; 0: there are none."""
    strict: bool = False
    """A package is built again when anything that it was built with is another."""
    fetch: bool = True
    """Whether the farm fetches the distfiles that builds need."""
    mirrors: tuple[str, ...] = ()
    """GENTOO_MIRRORS of the farm."""


@dataclass(frozen=True)
class SiteHost:
    """A compile host as the site names it."""

    name: str
    address: str
    slots: int = 0
    arch: str = ""


@dataclass(frozen=True)
class Site:
    """All an admin says, read and checked."""

    path: Path
    name: str
    repositories: tuple[Repository, ...]
    """The main repository first."""
    profiles: Mapping[str, Profile]
    http_port: int = 80
    http_front: int = 0
    """The port machines are told instead, on which a web server in front of ours listens; 0: none."""
    web_host: str = "127.0.0.1"
    web_port: int = 8080
    address: str = ""
    """IPv4 address to serve from; empty: the interface's own."""
    jobs: int = 0
    """Packages built at a time; 0: one for each processor."""
    compile_hosts: tuple[SiteHost, ...] = ()
    builders: tuple[str, ...] = ()
    """Addresses of further hosts that build and may use the compile hosts."""
    ccache_bytes: int = 10 * 2**30
    """What the compiler caches of all toolchains may take together; 0: there are none."""
    dhcp: DhcpSettings = field(default_factory=DhcpSettings)
    farm: FarmSettings = field(default_factory=FarmSettings)
    tftp: TftpSettings = field(default_factory=TftpSettings)
    keep_releases: int = 5
    """The newest releases of each profile, and of each channel's history, that gc leaves."""
    keep_seconds: float = 14 * 86400.0
    """gc leaves whatever is younger."""
    schedule: Schedule = Schedule()
    net: NetSettings = field(default_factory=NetSettings)
    machines: Mapping[str, MachineSettings] = field(default_factory=dict)
    """By MAC: what the site says of one machine."""
    dns: DnsSettings = field(default_factory=DnsSettings)
    secure_boot: SecureBootSettings = field(default_factory=SecureBootSettings)


@dataclass(frozen=True)
class Package:
    """One binary package in the pool."""

    sha256: str
    cpv: str
    build_id: int
    size_bytes: int
    build_key: str
    built_at: float
    index_entry: str
    """Its paragraph of a Packages index, without PATH."""
    neutral_key: str = ""
    """The key without compiler and flags; empty when it holds compiled code, or flags in its files."""
    profile: str = ""
    """The one it was built for."""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    hosts: str = ""
    """Compile hosts that took part, separated by spaces."""
    remote_share: float = 0.0
    """The part of its compilations that ran on them, 0 to 1."""


@dataclass(frozen=True)
class Figures:
    """What the build of one package took, as far as it was measured."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    hosts: str = ""
    remote_share: float = 0.0


class FailureKind(Enum):
    """Why a package did not build."""

    FETCH = "fetch"
    UNPACK = "unpack"
    PREPARE = "prepare"
    CONFIGURE = "configure"
    COMPILE = "compile"
    TEST = "test"
    INSTALL = "install"
    MERGE = "merge"
    """It was built and could not be put into the root: a collision, a failing pkg_preinst."""
    SETUP = "setup"
    """The ebuild refuses: pkg_pretend or pkg_setup."""
    MEMORY = "memory"
    DISK = "disk"
    DISTCC = "distcc"
    """Only on a compile host."""
    RESOLVER = "resolver"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class FailureRecord:
    """How often and why one package failed under one build key."""

    profile: str
    cpv: str
    build_key: str
    kind: FailureKind
    evidence: str
    """The line of the log that shows it."""
    log: str
    tail: str
    count: int
    first_at: float
    last_at: float


@dataclass(frozen=True)
class OpenQuestion:
    """Something a plan asks a person, as it is remembered."""

    profile: str
    kind: str
    subject: str
    text: str
    """Portage's own words."""
    suggestion: str
    first_at: float
    last_at: float
    closed_at: float | None = None
    """When a plan no longer asked it."""


@dataclass(frozen=True)
class Held:
    """A package that stays at an older version, because the new one does not build."""

    cpv: str
    """The version that fails."""
    at: str
    """The one that stays."""


@dataclass(frozen=True)
class Release:
    id: str
    profile: str
    created_at: float
    snapshot: str
    """`NAME:REVISION` of each repository, the main one first, with spaces between."""
    packages: int
    size_bytes: int

    @property
    def repositories(self) -> tuple[str, ...]:
        """Names of the repositories; the release has a file `tree-NAME.sqfs` for each."""
        return tuple(word.partition(":")[0] for word in self.snapshot.split())


@dataclass(frozen=True)
class Origin:
    """A package of a release: built for it, or reused from what `profile` had built."""

    sha256: str
    cpv: str
    origin: str
    """built or reused."""
    profile: str


@dataclass(frozen=True)
class Move:
    """One move of a channel; its serial is in the channel's file."""

    profile: str
    channel: str
    serial: int
    release_before: str | None
    release: str
    kind: str
    """publish, promote, rollback, pin, restore (the file was lost) or found (the history was lost)."""
    state: str
    """begun, done, or abandoned: it never reached the file."""
    at: float
    who: str
    why: str


@dataclass(frozen=True)
class Pin:
    """A channel that stays where it is whatever is published."""

    profile: str
    channel: str
    release: str
    at: float
    who: str
    why: str


@dataclass(frozen=True)
class Job:
    id: int
    kind: str
    profile: str
    state: str
    """waiting, running, done, failed, replaced (by newer inputs), interrupted (its process died)."""
    started_at: float
    """Of one that waits: when it came."""
    ended_at: float | None = None
    message: str = ""
    """Of one that runs: how far it is; else what came of it."""
    log: str = ""
    """Path of its log, relative to the state directory."""
    inputs: str = ""
    """Hash of what it was made from; another hash is a reason for another job."""
    owner: str = ""
    """Who runs it: `PID@START` of a process here, or `NAME@NONCE` of a worker elsewhere."""
    wanted_at: float = 0.0
    """Since when the profile has something to build; older than the job when that replaced another one."""
    security: bool = False
    expected_seconds: float = 0.0
    expected_bytes: int = 0
    work: tuple[str, ...] = ()
    """Labels of what it builds: two jobs with a common one would build the same packages."""
    failure: str = ""
    """The kind of its failure: fetch, unpack, compile, memory, distcc, test, resolver, disk, unknown."""
    superseded_at: float | None = None
    """When newer inputs were first seen while it ran."""
    successor: bool = False
    """It stands in the place of a build that was stopped for newer inputs."""
    not_before: float = 0.0
    """When it may be tried again."""
    max_jobs: int = 0
    """At most so many packages at a time; 0: as the site says."""
    peak_bytes: int = 0
    """The most memory it used at one time; 0: not measured."""


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
