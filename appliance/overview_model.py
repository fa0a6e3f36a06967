"""What the first page shows: counts and the first few of each, never all there is; frozen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from appliance.backlog import Decision
from appliance.client_order import Rollout
from appliance.compile_host import CompileHost
from appliance.farm_model import FailureRecord, Job, OpenQuestion, Release
from appliance.merge_model import MergeQuestion
from appliance.model import Machine, MachineState
from appliance.store.clients import Client, ClientTally

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Some(Generic[Kind]):
    """The first of something, and how many there are."""

    first: Sequence[Kind]
    count: int

    @property
    def more(self) -> int:
        return self.count - len(self.first)


@dataclass(frozen=True)
class Following:
    """A profile, what it publishes, and how far its machines are."""

    name: str
    description: str
    release: Release | None
    """What stable names."""
    canary: Release | None
    """What canary names, when that is another one."""
    machines: int
    current: int
    """Installed with what the channel names that they follow."""


@dataclass(frozen=True)
class Run:
    """A job under way."""

    job: Job
    where: str
    """Empty: on this host."""
    ends_at: float | None
    """When it will be done; None when nobody knows."""


@dataclass(frozen=True)
class Queued:
    """A build that waits."""

    decision: Decision
    starts_at: float
    ends_at: float


@dataclass(frozen=True)
class Cluster:
    hosts: Sequence[CompileHost]
    """That may be used."""
    ready: int
    slots: int
    """Of those that are ready."""
    load: float
    """Theirs together: how many processes wanted to run."""
    remote_share: float | None
    """Of the building time of the last days; None when nothing was built."""


@dataclass(frozen=True)
class Waiting:
    """What waits for a person."""

    unknown: Some[Machine]
    failed: Some[Machine]
    """Their problem says why, also when it was a plan that was refused."""
    questions: Some[OpenQuestion]
    merges: Some[MergeQuestion]
    """Configuration files, those that only their machine can answer included."""
    packages: Some[FailureRecord]
    builds: Some[Job]
    hosts: Some[CompileHost]
    """Those nobody let in yet, and those that are kept out."""
    releases: Some[tuple[str, str]]
    """(id, what is wrong with it)."""
    silent: Some[Client]
    """Installed machines that were not heard of for long."""
    unwell: Some[Client]
    """Installed machines whose last update failed, or its health check."""
    rollouts: Some[Rollout]
    """Those that stopped: no machine begins."""

    @property
    def count(self) -> int:
        parts = (self.unknown, self.failed, self.questions, self.packages, self.builds, self.hosts)
        clients = self.silent.count + self.unwell.count + self.rollouts.count + self.merges.count
        return sum(one.count for one in parts) + self.releases.count + clients


@dataclass(frozen=True)
class Overview:
    now: float
    machines: Mapping[MachineState, int]
    """Every state, also of none."""
    clients: ClientTally
    """What installed machines said of themselves."""
    profiles: Sequence[Following]
    running: Sequence[Run]
    queued: Sequence[Queued]
    drained_at: float
    cluster: Cluster
    waiting: Waiting
