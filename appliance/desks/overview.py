"""Everything at a glance: counts and the first few of each, never all there is."""

from collections.abc import Callable, Sequence

from appliance.channels import CANARY, STABLE, Channels
from appliance.compile_host import CompileHost, HostState
from appliance.desks.backlog import BacklogDesk, Board
from appliance.desks.cluster import ClusterDesk
from appliance.desks.planning import PlanningDesk
from appliance.farm_model import Release
from appliance.live import LiveSite
from appliance.merge_model import MergeQuestion
from appliance.model import MachineState
from appliance.overview_model import Cluster, Following, Kind, Overview, Queued, Run, Some, Waiting
from appliance.store import Store
from appliance.store.jobs import place_of
from appliance.store.machines import Search, Tally

FEW = 5
SHARE_SECONDS = 7 * 86400.0
"""The remote share is that of what was built so long ago at most."""


class OverviewDesk:
    """It writes nothing, so that looking never waits for who writes."""

    def __init__(
        self,
        live: LiveSite,
        store: Store,
        channels: Channels,
        *,
        backlog: BacklogDesk,
        planning: PlanningDesk,
        cluster: ClusterDesk,
        clock: Callable[[], float],
    ) -> None:
        self.live = live
        self.store = store
        self.channels = channels
        self.backlog = backlog
        self.planning = planning
        self.cluster = cluster
        self.clock = clock

    def look(self) -> Overview:
        tallies = self.store.machines.tallies()
        board = self.backlog.board()
        hosts = self.cluster.look()
        return Overview(
            now=self.clock(),
            machines=by_state(tallies),
            clients=self.store.clients.tally(),
            profiles=self._profiles(tallies),
            running=self._running(board),
            queued=_queued(board),
            drained_at=board.drained_at,
            cluster=self._cluster(hosts),
            waiting=self._waiting(board, hosts),
        )

    def _profiles(self, tallies: Sequence[Tally]) -> list[Following]:
        found = []
        for profile in self.live.now().profiles.values():
            own = [one for one in tallies if one.profile == profile.name]
            stable = self._published(profile.name, STABLE)
            canary = self._published(profile.name, CANARY)
            wanted = {
                channel: self._published(profile.name, channel) for channel in {one.channel for one in own}
            }
            current = sum(
                one.count
                for one in own
                if one.state is MachineState.INSTALLED
                and (release := wanted[one.channel])
                and one.release == release.id
            )
            other = canary if canary != stable else None
            machines = sum(one.count for one in own)
            found.append(Following(profile.name, profile.description, stable, other, machines, current))
        return found

    def _published(self, profile: str, channel: str) -> Release | None:
        said = self.channels.of_machine(profile, channel)
        return self.store.releases.get(said.release) if said else None

    def _running(self, board: Board) -> list[Run]:
        elsewhere = [job for job in self.backlog.warming().values() if job.state == "running"]
        ends = {(one.profile, one.starts_at): one.ends_at for one in board.forecasts}
        builds = [
            Run(job, place_of(job.owner), ends.get((job.profile, job.started_at))) for job in board.running
        ]
        return builds + [Run(job, place_of(job.owner), None) for job in elsewhere]

    def _cluster(self, hosts: Sequence[CompileHost]) -> Cluster:
        ready = [host for host in hosts if host.state is HostState.READY]
        return Cluster(
            hosts=[host for host in hosts if host.state is not HostState.UNKNOWN],
            ready=len(ready),
            slots=sum(host.jobs for host in ready),
            load=sum(host.report.load for host in ready if host.report),
            remote_share=self.store.packages.remote_share(since=self.clock() - SHARE_SECONDS),
        )

    def _waiting(self, board: Board, hosts: Sequence[CompileHost]) -> Waiting:
        machines = self.store.machines
        failed = Search(state=MachineState.FAILED.value)
        silent_since = self.clock() - self.live.now().clients.silent_seconds
        odd = [host for host in hosts if host.state in (HostState.UNKNOWN, HostState.QUARANTINED)]
        return Waiting(
            unknown=Some(*machines.unknown(FEW)),
            failed=Some(machines.find(failed, limit=FEW), machines.count(failed)),
            questions=_some(list(self.planning.questions())),
            merges=self._merges(),
            packages=Some(*self.store.failures.newest(FEW)),
            builds=_some(board.failed),
            hosts=_some(odd),
            releases=_some(self.store.releases.faults()),
            silent=Some(*self.store.clients.silent(before=silent_since, limit=FEW)),
            unwell=Some(*self.store.clients.failed(limit=FEW)),
            rollouts=_some(self.store.rollouts.stopped()),
        )

    def _merges(self) -> Some[MergeQuestion]:
        merges = self.store.merges
        first = [one for state in ("open", "secret") for one in merges.find(state, limit=FEW)]
        return Some(first[:FEW], merges.count("open") + merges.count("secret"))


def by_state(tallies: Sequence[Tally]) -> dict[MachineState, int]:
    """How many machines are in each state."""
    counts = dict.fromkeys(MachineState, 0)
    for one in tallies:
        counts[one.state] += one.count
    return counts


def _queued(board: Board) -> list[Queued]:
    planned = {one.profile: one for one in board.forecasts}
    return [
        Queued(one, planned[one.task.profile].starts_at, planned[one.task.profile].ends_at)
        for one in board.waiting
    ]


def _some(all_: Sequence[Kind]) -> Some[Kind]:
    return Some(all_[:FEW], len(all_))
