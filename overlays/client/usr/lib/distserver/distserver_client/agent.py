"""The use cases of the agent: look for an update and make it, go back, say how things are."""

import fcntl
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from distserver_client import (
    bases,
    central,
    configuration,
    durable,
    health,
    index,
    inventory,
    journal,
    keeping,
    policy,
    reporting,
    running,
    timing,
    trials,
    updating,
)
from distserver_client.engine import Engine
from distserver_client.errors import Away, Problem
from distserver_client.fetching import Fetcher, Throttle
from distserver_client.inventory import Inventory
from distserver_client.journal import Journal, State
from distserver_client.kernels import Kernels
from distserver_client.paths import Places
from distserver_client.policy import Policy
from distserver_client.report import Health, Phase, Report
from distserver_client.reporting import Found
from distserver_client.server import Channel, Door, Server, door
from distserver_client.talking import Identity
from distserver_client.trials import Standing
from distserver_client.updating import Go, Nothing, Order


@dataclass(frozen=True)
class Status:
    """How the machine is, without asking the server."""

    state: State
    journal: Journal | None
    mounted: Mapping[str, bool]
    """Place -> is the release's own image there?"""
    inventory: Inventory
    kernel: str = ""
    """What is to be said of kernels: one that is tried, or was given up."""

    @property
    def current(self) -> bool:
        """Is the machine at its release, whole?"""
        return self.journal is None and all(self.mounted.values()) and not self.inventory.differ


@dataclass
class Agent:
    places: Places = field(default_factory=Places)
    say: Callable[[str], None] = print
    again_seconds: float | None = None
    """What the server said last of when to ask again."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One at a time changes the machine; the kernel lets go when the holder dies."""
        self.places.lock.parent.mkdir(parents=True, exist_ok=True)
        with self.places.lock.open("w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Problem("another distserver-client is at work", hint="wait for it to end") from None
            yield

    def is_enrolled(self) -> bool:
        """Does the server's door know this machine?"""
        return Identity(self.places.settings).certificate.is_file()

    def is_half_done(self) -> bool:
        """Was an update cut off after it had begun to change the machine?"""
        under_way = journal.read_journal(self.places)
        return under_way is not None and under_way.dirty

    def policy(self) -> Policy:
        """What the server last said; a file that makes no sense is as good as none."""
        try:
            return policy.parse(tomllib.loads(self.places.policy.read_text()))
        except FileNotFoundError:
            return Policy()
        except (tomllib.TOMLDecodeError, ValueError) as wrong:
            self.say(f"{self.places.policy} is not understood and left aside: {wrong}")
            return Policy()

    def mount(self) -> list[str]:
        """At boot: the central files of the release the machine has; needs no server."""
        return central.mount_all(self.places, journal.read_state(self.places).release)

    def update(self, *, again: bool = False) -> str:
        """Ask once and do what is ordered; what came of it, as a sentence."""
        with self.locked():
            state = journal.read_state(self.places)
            fetcher = self._fetcher()
            server = self._server(state, fetcher)
            under_way = journal.read_journal(self.places)
            kernels = Kernels.of(self.places)
            try:
                kernels.look()
            except (Problem, OSError) as failure:
                self.say(f"kernels stay as they are: {failure}")
            order = self._order(server, under_way)
            self._remember(server)
            if order and kernels.standing is Standing.RUNNING and not self._is_well(kernels, server):
                return trials.describe(kernels.record, kernels.standing)
            decided = updating.decide(state, under_way, order, again=again)
            match decided:
                case Nothing(why):
                    if under_way and not under_way.dirty:
                        journal.drop_journal(self.places)
                    if again:
                        kernels.install(central.load(self.places, state.release), again=True)
                    self._stay(state, server, Phase.WAITING if why else Phase.CURRENT, kernels)
                    return why or f"this machine has release {state.release}, which is what it is to have"
                case Go(begun):
                    return self._perform(begun, fetcher, server, order, again=again)

    def follow(self, release: str) -> str:
        """Bring the machine to a release, whatever is ordered."""
        with self.locked():
            state = journal.read_state(self.places)
            fetcher = self._fetcher()
            under_way = journal.read_journal(self.places)
            decided = updating.decide(state, under_way, Order(release), again=True)
            if isinstance(decided, Nothing):
                return f"this machine has release {release} already"
            return self._perform(decided.journal, fetcher, self._server(state, fetcher), None, again=True)

    def _stay(self, state: State, server: Server, phase: Phase, kernels: Kernels) -> None:
        """At the release it has: with its central files in place, and what was answered applied."""
        before = central.is_mounted(self.places, central.load(self.places, state.release))
        wrong: Problem | None = None
        try:
            central.mount_all(self.places, state.release)
        except Problem as problem:
            wrong = problem
        self._settle(state, server)
        if health.last(self.places) is Health.FAILED:
            _, why = health.run(self.places, self.policy().health)
            if why:
                self.say(why)
        # What somebody took away is told even when it is back now.
        if self._report(server, phase, None, mounted=before):
            kernels.heard(central.load(self.places, state.release))
        if wrong:
            raise wrong

    def differences(self, *, whole: bool = False) -> Found:
        """How the machine differs from its release; nothing is changed or remembered by looking."""
        return reporting.look(self.places, journal.read_state(self.places).release, whole=whole, keep=False)

    def status(self) -> Status:
        state = journal.read_state(self.places)
        return Status(
            state=state,
            journal=journal.read_journal(self.places),
            mounted=central.is_mounted(self.places, central.load(self.places, state.release)),
            inventory=inventory.compare(
                inventory.read(self.places.packages), keeping.listed(self.places, state.release)
            ),
            kernel=self._about_kernels(),
        )

    @property
    def is_on_trial(self) -> bool:
        """Does the machine run with a kernel that the server is to hear of?"""
        return Kernels.of(self.places).standing is Standing.RUNNING

    def reboot_is_due(self, now: float) -> bool:
        """May the service start the machine anew, by its policy and by what is under way?"""
        kernels, said = Kernels.of(self.places), self.policy()
        busy = journal.read_journal(self.places) is not None and kernels.standing is not Standing.LEAVING
        return not busy and kernels.is_due(said.reboot, in_window=timing.is_open(said, now))

    def changes(self, release: str) -> list[str]:
        """What an update to a release would bring: `+cpv`, `-cpv` and `cpv -> cpv`, of the two indexes."""
        fetcher = self._fetcher()
        with self.locked():
            keeping.take_files(self.places, fetcher, keeping.take_manifest(self.places, fetcher, release))
        here = journal.read_state(self.places).release
        return differences(keeping.listed(self.places, here), keeping.listed(self.places, release))

    def fetch(self, uri: str, target: Path) -> None:
        """For Portage: one package, as fast as the policy allows."""
        keeping.fetch_package(self.places, self._fetcher(), uri, target)

    def server_address(self) -> str:
        try:
            return self.places.server.read_text().strip()
        except FileNotFoundError:
            raise Problem(f"this machine knows no server: there is no {self.places.server}") from None

    def _about_kernels(self) -> str:
        kernels = Kernels.of(self.places)
        return trials.describe(kernels.record, kernels.standing)

    def _fetcher(self) -> Fetcher:
        return Fetcher(self.server_address(), Throttle(self.policy().bandwidth))

    def _server(self, state: State, fetcher: Fetcher) -> Server:
        return door(self.places) or Channel(
            self.places, fetcher, central.load(self.places, state.release).profile, state.serial
        )

    def _order(self, server: Server, under_way: Journal | None) -> Order | None:
        try:
            order = server.order()
            self.again_seconds = server.again_seconds()
            return order
        except Away as away:
            if under_way is None or not under_way.dirty:
                raise
            # What is half done is finished from what is here already.
            self.say(str(away))
            return None

    def _remember(self, server: Server) -> None:
        said = server.policy()
        if said is not None:
            text = policy.toml(said).encode()
            if not self.places.policy.is_file() or self.places.policy.read_bytes() != text:
                durable.replace(self.places.policy, text)

    def _settle(self, state: State, server: Server) -> None:
        """Between updates: what was answered meanwhile, and what packages shipped that a person installed."""
        bases.record(self.places, state.release)
        recorded = bases.Recorded(self.places, state.release, state.release)
        talk = server.talk if isinstance(server, Door) else None
        try:
            configuration.settle(self.places, recorded, talk, self.policy().raw, news=server.has_news())
        except (OSError, ValueError) as failure:
            self.say(f"configuration files are not settled: {failure}")

    def _is_well(self, kernels: Kernels, server: Server) -> bool:
        """With a kernel on trial: the health command and the server's ear decide about it."""
        command, trial = self.policy().health, kernels.record.trial
        if command and trial and trial.healthy:
            _, why = health.run(self.places, command)
            if why:
                kernels.give_up(why)
                self._report(server, Phase.FAILED, None)
                return False
        if self._report(server, Phase.CURRENT, None):
            kernels.approve()
        return True

    def _perform(
        self, begun: Journal, fetcher: Fetcher, server: Server, order: Order | None, *, again: bool
    ) -> str:
        talk = server.talk if isinstance(server, Door) else None
        self._report(server, Phase.UPDATING, begun)
        engine = Engine(self.places, fetcher, self.policy(), self.say, order=order, talk=talk, again=again)
        try:
            reached = engine.perform(begun)
        except (Problem, OSError) as failure:
            self._report(server, Phase.FAILED, replace(begun, why=str(failure)))
            raise
        state = journal.read_state(self.places)
        given_up = reached.target != begun.target
        Kernels.of(self.places).note_health(healthy=health.last(self.places) is not Health.FAILED)
        phase = Phase.FAILED if given_up else Phase.CURRENT
        reporting.reached(self.places)
        aimed = replace(reached, target=begun.target, why=state.why if given_up else "")
        self._report(server, phase, aimed)
        cost = f"{sum(reached.seconds.values()):.0f} s, {reached.received_bytes} bytes fetched"
        said = f"this machine has release {state.release} now ({cost})"
        if given_up:
            raise Problem(f"release {begun.target} was given up; {said}", hint=state.why)
        return said

    def _report(
        self,
        server: Server,
        phase: Phase,
        about: Journal | None,
        mounted: Mapping[str, bool] | None = None,
    ) -> bool:
        """Tell the server how the machine is; what it does not hear now (False) it hears the next time."""
        if not server.listens:
            return True
        try:
            server.report(self.report(phase, about, mounted))
        except (Problem, OSError) as unheard:
            self.say(f"the report was not taken: {unheard}")
            return False
        return True

    def report(
        self,
        phase: Phase,
        about: Journal | None,
        mounted: Mapping[str, bool] | None = None,
    ) -> Report:
        """`mounted`: how the central files were before they were mounted again."""
        release = journal.read_state(self.places).release
        kernels, target = Kernels.of(self.places), about.target if about else ""
        of_kernels = trials.describe(kernels.record, kernels.standing)
        whole = trials.phase(phase, self.policy().reboot, kernels.record, kernels.standing)
        # While an update is under way every file of it differs.
        again = phase in (Phase.CURRENT, Phase.WAITING)
        found = reporting.look(self.places, release, mounted=mounted, again=again)
        return Report(
            release=release,
            phase=whole,
            target=target or (release if whole is not phase else ""),
            said=(about.why if about else "") or (of_kernels if whole is not phase else ""),
            inventory=found.inventory,
            packages=found.installed,
            drift=found.drift,
            unread=found.unread,
            local=found.local,
            reboot=_why_anew(kernels, of_kernels) if kernels.loader else found.reboot,
            services=found.services,
            kernel=running.kernel().release,
            questions=found.questions,
            health=health.last(self.places) if self.policy().health else Health.NONE,
            facts=(*((("kernel trial", of_kernels),) if of_kernels else ()), *found.facts),
            seconds=tuple(about.seconds.items()) if about else (),
            size_bytes=about.received_bytes if about else 0,
        )


def _why_anew(kernels: Kernels, said: str) -> str:
    """With a boot loader that counts boots it is known what the next start brings."""
    return (said or "the next start brings another kernel") if kernels.is_pending else ""


def differences(before: tuple[index.Listed, ...], after: tuple[index.Listed, ...]) -> list[str]:
    """One line for each package that differs, in the order of names; pure."""
    old, new = ({(inventory.split_name(one.cpv), one.slot): one for one in some} for some in (before, after))
    lines = []
    for place in sorted(old.keys() | new.keys()):
        was, comes = old.get(place), new.get(place)
        if was is None and comes is not None:
            lines.append(f"+{comes.name}")
        elif was is not None and comes is None:
            lines.append(f"-{was.name}")
        elif was is not None and comes is not None and was != comes:
            lines.append(f"{was.name} -> {comes.name}")
    return lines
