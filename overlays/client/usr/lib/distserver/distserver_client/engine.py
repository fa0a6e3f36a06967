"""Takes the steps of an update; each may be cut off anywhere and is then taken again."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distserver_client import (
    bases,
    central,
    configuration,
    durable,
    emerge,
    health,
    index,
    inventory,
    journal,
    keeping,
    programs,
    protection,
    satisfied,
    torn,
    updating,
    worlds,
)
from distserver_client.emerge import Limits
from distserver_client.errors import Away, Damaged, Problem
from distserver_client.fetching import Fetcher
from distserver_client.journal import Journal
from distserver_client.kernels import Kernels
from distserver_client.manifest import Manifest
from distserver_client.paths import Places
from distserver_client.policy import Policy
from distserver_client.talking import Talk
from distserver_client.telling import Teller
from distserver_client.triples import Settled
from distserver_client.updating import Order, Step

PROGRAM = "/usr/sbin/distserver-client"
ENTER = ("unshare", "--mount", "--propagation", "private", "--")
TAIL_BYTES = 1 << 16


@dataclass
class Engine:
    """One update of this machine, under the agent's lock."""

    places: Places
    fetcher: Fetcher
    policy: Policy
    say: Callable[[str], None] = print
    limits: Limits = field(default_factory=Limits)
    order: Order | None = None
    talk: Talk | None = None
    """None: nobody can be asked about configuration files."""
    again: bool = False
    """A person wants it: also a kernel that was given up."""
    settled: Settled | None = None
    _worlds: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """Release -> its world files: each look at a release starts a program."""

    def perform(self, begun: Journal) -> Journal:
        """Take all steps that are left; raises what the failing one raised, how far it came is written down.

        Returns the journal of the last release that was aimed at: another one when the first was given up.
        """
        at, teller = updating.resumed(begun), Teller(self.talk)
        while step := updating.next_step(at):
            at = updating.begun(at, step)
            journal.write_journal(self.places, at)
            self.say(f"{at.target}: {step.value}")
            teller.begun(step)
            started, bytes_before = time.monotonic(), self._received()
            try:
                self._take(step, at)
            except Away as failure:
                journal.write_journal(self.places, replace(at, at="", why=str(failure)))
                raise
            except (Problem, OSError) as failure:
                os.sync()
                teller.failed(step, str(failure))
                at = updating.failed(at, step, str(failure))
                journal.write_journal(self.places, at)
                if at.failures < updating.MOST_FAILURES or at.target == at.before:
                    raise
                at = self._give_up(at)
                continue
            # What Portage wrote is on the disk before the journal says that this step is done.
            os.sync()
            seconds = time.monotonic() - started
            came = max(0, self._received() - bytes_before)
            at = updating.ended(at, step, seconds=seconds, received_bytes=came)
            journal.write_journal(self.places, at)
            teller.ended(step, seconds=seconds, received_bytes=came)
        journal.drop_journal(self.places)
        return at

    def _received(self) -> int:
        return self.fetcher.received_bytes + keeping.received(self.places)

    def _give_up(self, at: Journal) -> Journal:
        self.say(f"{at.target}: given up after {at.failures} failures ({at.why}); back to {at.before}")
        state = journal.read_state(self.places)
        journal.write_state(self.places, replace(state, refused=at.target, why=at.why))
        return updating.back(at)

    def _take(self, step: Step, at: Journal) -> None:
        if step is Step.MANIFEST:
            keeping.take_manifest(self.places, self.fetcher, at.target)
            return
        wanted = central.load(self.places, at.target)
        steps: Mapping[Step, Callable[[], None]] = {
            Step.FILES: lambda: self._files(wanted),
            Step.PACKAGES: lambda: self._packages(wanted, at),
            Step.BASES: lambda: bases.record(self.places, at.before),
            Step.CONFIGURATION: lambda: self._configuration(at),
            Step.WORLD: lambda: self._world(wanted, at),
            Step.LOADER: Kernels.of(self.places).hold,
            Step.EMERGE: lambda: self._emerge(wanted, at),
            Step.CLEAN: lambda: self._clean(wanted, at),
            Step.INVENTORY: lambda: self._inventory(wanted),
            Step.KERNEL: lambda: Kernels.of(self.places).install(wanted, again=self.again),
            Step.SWITCH: lambda: self._switch(wanted, at),
            Step.HEALTH: self._health,
            Step.TIDY: lambda: self._tidy(at),
        }
        steps[step]()

    def _files(self, wanted: Manifest) -> None:
        more = Kernels.of(self.places).further_files
        keeping.take_files(self.places, self.fetcher, wanted, *more)

    def _packages(self, wanted: Manifest, at: Journal) -> None:
        """Every package that the update needs, by Portage's own choice, and compared with the manifest."""
        scratch = self.places.release(wanted.id) / "fetch"
        keeping.write_index(self.places, wanted.id, scratch, self.fetcher.server)
        for name, text in self._next_worlds(wanted, at).items():
            durable.replace(scratch / name, text)
        keeping.drop_strangers(self.places, wanted)
        self._inside(
            wanted, scratch, emerge.update(limits=self.limits, only_fetch=True), "cannot fetch packages"
        )
        if wrong := keeping.drop_strangers(self.places, wanted):
            raise Damaged(f"{wrong[0]} is not of release {wanted.id}", hint="it was removed unused")

    def _world(self, wanted: Manifest, at: Journal) -> None:
        worlds_now = self._next_worlds(wanted, at)
        # Until both are written they may be either's.
        owners = {*journal.world_owners(self.places, at.before), wanted.id}
        journal.write_world_owners(self.places, sorted(owners))
        for name, text in worlds_now.items():
            durable.replace(self.places.world / name, text)
        journal.write_world_owners(self.places, [wanted.id])

    def _next_worlds(self, wanted: Manifest, at: Journal) -> dict[str, bytes]:
        """The world files of the machine at this release, with what was added here."""
        names = {inventory.split_name(one.cpv) for one in keeping.listed(self.places, wanted.id)}
        owners = journal.world_owners(self.places, at.before)
        kept = [one for one in owners if (self.places.release(one) / "manifest").is_file()]
        found = {}
        for name in central.WORLDS:
            path = self.places.world / name
            here = worlds.lines(path.read_text()) if path.is_file() else []
            before = [atom for one in kept for atom in self._world_of(one, name)] if kept else here
            atoms = worlds.merge(before, here, self._world_of(wanted.id, name), names)
            found[name] = "".join(f"{atom}\n" for atom in atoms).encode()
        return found

    def _world_of(self, release: str, name: str) -> list[str]:
        if release not in self._worlds:
            paths = [f"{central.PORTAGE}/distserver/{one}" for one in central.WORLDS]
            found = self._run_inside(release, None, ["tail", "-v", "-n", "+1", *paths], seconds=60.0)
            if found.status:
                raise Problem(f"the world of release {release} cannot be read: {found.last_line}")
            text = found.output.decode(errors="replace")
            self._worlds[release] = {Path(path).name: lines for path, lines in worlds.files(text).items()}
        return self._worlds[release][name]

    def _emerge(self, wanted: Manifest, at: Journal) -> None:
        """Nothing is fetched: Portage has every package in the pool of this machine."""
        if at.torn:
            torn.sweep(self.places.root)
        scratch = self.places.release(wanted.id) / "merge"
        keeping.write_index(self.places, wanted.id, scratch, f"file://{self.places.cache}")
        self._inside(wanted, scratch, emerge.update(limits=self.limits), "emerge failed")
        listed = keeping.listed(self.places, wanted.id)
        again = inventory.to_merge_again(inventory.read(self.places.packages), listed)
        if again:
            self._merge_again(wanted, scratch, again)
        if at.torn:
            shield = protection.protection(index.header((scratch / "Packages").read_text()))
            ours = {one.cpv for one in listed}
            if broken := [one for one in torn.torn(self.places.root, shield) if one in ours]:
                self._merge_again(wanted, scratch, broken)

    def _merge_again(self, wanted: Manifest, scratch: Path, cpvs: Sequence[str]) -> None:
        self.say(f"{wanted.id}: merging again {' '.join(cpvs)}")
        self._inside(wanted, scratch, emerge.again(cpvs, limits=self.limits), "emerge failed")

    def _clean(self, wanted: Manifest, at: Journal) -> None:
        if at.torn:
            torn.sweep(self.places.root)
        if self.policy.depclean:
            scratch = self.places.release(wanted.id) / "merge"
            self._inside(wanted, scratch, emerge.depclean(limits=self.limits), "emerge --depclean failed")

    def _inventory(self, wanted: Manifest) -> None:
        """Is every package that the release has for its slot the very one that is installed?"""
        found = inventory.compare(
            inventory.read(self.places.packages), keeping.listed(self.places, wanted.id)
        )
        if found.differ:
            raise Problem(f"not the packages of release {wanted.id}: {' '.join(found.differ[:10])}")
        names = self.places.release(wanted.id) / "names"
        durable.replace(names, "\n".join(sorted(wanted.packages)).encode())
        argv = [sys.executable, "-IB", str(Path(satisfied.__file__)), str(names)]
        scratch = self.places.release(wanted.id) / "merge"
        done = self._run_inside(wanted.id, scratch, argv, seconds=emerge.CHECK_SECONDS)
        said = done.output.decode(errors="replace")
        if done.status or not said.endswith(f"{satisfied.COMPLETE}\n"):
            raise Problem(f"what is installed cannot be compared: {done.last_line}")
        if wrong := emerge.unsatisfied(said):
            raise Problem("; ".join(wrong[:5]))

    def _switch(self, wanted: Manifest, at: Journal) -> None:
        """From here on this is the machine's release: by one rename, and by its mounts."""
        keeping.write_index(self.places, wanted.id, self.places.index, self.fetcher.server)
        keeping.forget_indexes(self.places)
        state = journal.read_state(self.places)
        journal.write_state(self.places, updating.reached(state, at, self.order))
        durable.replace(self.places.installed_release, f"{wanted.id}\n".encode())
        central.mount_all(self.places, wanted.id)

    def _configuration(self, at: Journal) -> None:
        """Merge what packages ship anew into what is here; what cannot be settled now waits."""
        bases.record(self.places, at.target)
        recorded = bases.Recorded(self.places, at.before, at.target)
        try:
            self.settled = configuration.settle(self.places, recorded, self.talk, self.policy.raw)
        except (OSError, ValueError) as failure:
            # The packages are there: a file that cannot be merged is no reason to take them back.
            self.say(f"configuration files are not settled: {failure}")

    def _tidy(self, at: Journal) -> None:
        keeping.tidy(self.places, at.target, at.before)
        bases.prune(self.places, at.target, at.before)

    def _health(self) -> None:
        _, why = health.run(self.places, self.policy.health)
        if why:
            self.say(why)

    def _inside(self, wanted: Manifest, scratch: Path, argv: Sequence[str], what: str) -> None:
        keeping.forget_indexes(self.places)
        self.places.binhost.mkdir(parents=True, exist_ok=True)
        done = self._run_inside(wanted.id, scratch, argv, seconds=self.limits.seconds, log=self.places.log)
        if done.status:
            why = done.cut or emerge.explain(done.output.decode(errors="replace"))
            raise Problem(f"{what}: {why}", hint=f"all of it is in {self.places.log}")

    def _run_inside(
        self,
        release: str,
        index: Path | None,
        argv: Sequence[str],
        *,
        seconds: float,
        log: Path | None = None,
    ) -> programs.Finished:
        """A program that sees this release mounted; nobody else does, and it ends with the program."""
        there = str(index) if index else "-"
        return programs.run(
            [*ENTER, PROGRAM, "inside", release, there, "--", *argv],
            seconds=seconds,
            most_bytes=TAIL_BYTES,
            environment=emerge.environment(),
            log=log,
        )
