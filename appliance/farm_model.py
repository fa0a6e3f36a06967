"""What the farm makes and remembers; frozen."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


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


class MaskKind(Enum):
    """What a person keeps out of a profile."""

    HOLD = "hold"
    """Everything newer than what machines have."""
    SKIP = "skip"
    """One version; the next one is taken when it comes."""


@dataclass(frozen=True)
class Mask:
    """Versions of a package that a person keeps out of a profile until they say otherwise."""

    profile: str
    subject: str
    """`category/name` that is held, or the `category/name-version` that is skipped."""
    kind: MaskKind
    atoms: tuple[str, ...]
    """Lines of package.mask."""
    stays: str
    """The versions that machines have; empty when none of it is known."""
    at: float
    who: str
    why: str


@dataclass(frozen=True)
class BuildRequest:
    """A person wants a profile built, whether or not anything changed."""

    profile: str
    at: float
    who: str
    why: str


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
class JobPackage:
    """What a build did with one package."""

    job: int
    cpv: str
    reused: bool
    """It was taken from the pool and not compiled."""
    state: str
    """running, done or failed."""
    begun_at: float
    seconds: float | None
    sha256: str
    """Of the package; empty when none came of it."""
    said: str
    """Why it failed."""


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
    """Its failure's kind: fetch, unpack, compile, memory, distcc, test, resolver, disk, gate, unknown."""
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
    reasons: tuple[str, ...] = ()
    """Why nothing of it was published, each of the gate's reasons."""
