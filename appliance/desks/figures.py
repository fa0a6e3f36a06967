"""What a monitoring system asks every few seconds: counts of the store, and nothing that reads a release."""

from collections import Counter
from collections.abc import Callable, Sequence

from appliance.channels import NAMES, Channels
from appliance.client_report import Phase
from appliance.compile_host import HostState
from appliance.desks.cluster import ClusterDesk
from appliance.figures import Family
from appliance.live import LiveSite
from appliance.model import MachineState
from appliance.store import Store
from appliance.store.figures import Counts

SHARE_SECONDS = 86400.0


class FigureDesk:
    """It writes nothing, so that looking never waits for who writes."""

    def __init__(
        self,
        live: LiveSite,
        store: Store,
        channels: Channels,
        *,
        cluster: ClusterDesk,
        clock: Callable[[], float],
    ) -> None:
        self.live = live
        self.channels = channels
        self.store = store
        self.cluster = cluster
        self.clock = clock

    def families(self) -> Sequence[Family]:
        return [*self._machines(), *self._clients(), *self._farm(), *self._hosts(), *self._own()]

    def _machines(self) -> list[Family]:
        """Every state of every profile, so that a state that is left shows 0 and its line does not end."""
        tallies = self.store.machines.tallies()
        profiles = {one.profile for one in tallies} or {""}
        counts: Counts = {(profile, state.value): 0.0 for profile in profiles for state in MachineState}
        for one in tallies:
            counts[one.profile, one.state.value] += one.count
        text = "Machines by profile (empty: none yet) and state."
        return [Family("machines", text, ("profile", "state"), counts)]

    def _clients(self) -> list[Family]:
        """Every profile of the site, so that a line does not end when nothing is wrong any more."""
        site = self.live.now()
        names = [(profile,) for profile in site.profiles]
        counts: dict[str, Counts] = {
            name: dict.fromkeys(names, 0.0)
            for name in ("clients", "behind", "failed", "silent", "drifted", "reboot", "stale", "merges")
        }
        for profile, channel, release, how, count in self.store.clients.tallies():
            said = self.channels.of_machine(profile, channel) if profile else None
            kinds = ["clients"]
            kinds += ["behind"] if said and said.release != release else []
            kinds += ["failed"] if how == Phase.FAILED.value else []
            for kind in kinds:
                counts[kind][(profile,)] = counts[kind].get((profile,), 0.0) + count
        silent_since = self.clock() - site.clients.silent_seconds
        for profile, count in self.store.clients.count_silent(before=silent_since):
            counts["silent"][(profile,)] = float(count)
        for profile, *wants in self.store.clients.wants():
            for name, count in zip(("drifted", "reboot", "stale", "merges"), wants, strict=True):
                counts[name][(profile,)] = float(count)
        stopped: Counts = {(profile, channel): 0.0 for profile in site.profiles for channel in NAMES}
        stopped |= {(one.profile, one.channel): 1.0 for one in self.store.rollouts.stopped()}
        texts = {
            "clients": "Installed machines that came to their door.",
            "behind": "Installed machines that have another release than their channel names.",
            "failed": "Installed machines whose last update or its health check failed.",
            "silent": "Installed machines that were not heard of for long.",
            "drifted": "Installed machines of which files, packages or mounts differ from their release.",
            "reboot": "Installed machines that have to start anew.",
            "stale": "Installed machines with services that run with files that were replaced since.",
            "merges": "Configuration files of installed machines that wait for an answer.",
        }
        families = [
            Family(name if name == "clients" else f"clients_{name}", text, ("profile",), counts[name])
            for name, text in texts.items()
        ]
        stop = "1 where a rollout was stopped and waits for a person."
        return [*families, Family("rollout_stopped", stop, ("profile", "channel"), stopped)]

    def _farm(self) -> list[Family]:
        figures = self.store.figures
        jobs = {("build", state): 0.0 for state in ("waiting", "running", "done", "failed")}
        share = self.store.packages.remote_share(since=self.clock() - SHARE_SECONDS)
        return [
            Family("jobs", "Jobs of the farm by kind and state.", ("kind", "state"), jobs | figures.jobs()),
            Family("releases", "Releases that are kept.", ("profile",), figures.releases()),
            Family(
                "release_newest_timestamp_seconds",
                "When a profile's newest release was sealed.",
                ("profile",),
                figures.newest_releases(),
            ),
            Family("releases_faulty", "Releases that do not verify.", (), {(): figures.faults()}),
            Family(
                "packages_failing",
                "Packages that do not build, by why.",
                ("profile", "kind"),
                figures.failures(),
            ),
            Family(
                "questions_open",
                "Questions of plans that wait for a person.",
                ("profile",),
                figures.questions(),
            ),
            Family(
                "repository_synchronised_timestamp_seconds",
                "When a repository was last synchronised without a problem; 0: never.",
                ("repository",),
                figures.synchronised(),
            ),
            Family(
                "remote_share_ratio",
                "The part of the building time of one day that ran on compile hosts.",
                (),
                {} if share is None else {(): share},
            ),
        ]

    def _hosts(self) -> list[Family]:
        hosts = self.cluster.look()
        states = Counter(host.state for host in hosts)
        ready = [host for host in hosts if host.state is HostState.READY]
        load = sum(host.report.load for host in ready if host.report)
        return [
            Family(
                "compile_hosts",
                "Compile hosts by state.",
                ("state",),
                {(state.value,): float(states[state]) for state in HostState},
            ),
            Family(
                "compile_slots",
                "Compilations at a time on the hosts that are ready.",
                (),
                {(): float(sum(host.jobs for host in ready))},
            ),
            Family("compile_load", "The load of the hosts that are ready, together.", (), {(): load}),
        ]

    def _own(self) -> list[Family]:
        return [Family("store_bytes", "The size of the store.", (), {(): self.store.figures.size_bytes()})]
