"""Questions that wait on this machine, answered here."""

from dataclasses import dataclass
from pathlib import Path

from distserver_client import origins, places, replacing
from distserver_client.applying import Decided, Workshop
from distserver_client.errors import Problem
from distserver_client.proposals import Proposal, Scan
from distserver_client.protection import Protection
from distserver_client.services import Services
from distserver_client.snapshots import Phase, Store
from distserver_client.triples import Item, Kind, Policy, Version


@dataclass(frozen=True)
class Nothing:
    """Bases of a machine that was settled: what waits has its contents in the store."""

    def installed(self) -> dict[str, str]:
        return {}

    def shipped(self) -> dict[str, str]:
        return {}

    def content(self, sha256: str) -> bytes | None:
        return None


@dataclass(frozen=True)
class Counter:
    """Where a person answers on the machine."""

    root: Path
    state: Path
    policy: Policy
    protection: Protection
    services: Services

    def waiting(self) -> list[tuple[Proposal, Item]]:
        """What settle() left open: all of it, also what is asked on the server."""
        known = origins.load(self.state)
        scan = Scan(self.root, Nothing(), self.protection, Store(self.state), known)
        found = {one.path: one for one in scan.run().proposals}
        return [(found[path], one.item) for path, one in sorted(known.open.items()) if path in found]

    def keep(self, proposal: Proposal) -> None:
        """Ours stays; the new version goes to the snapshots."""
        known, store = origins.load(self.state), Store(self.state)
        store.make()
        if proposal.theirs.kind is Kind.FILE:
            store.keep(proposal.theirs.content)
        known.settle(proposal.path, proposal.theirs.sha256)
        known.save()
        for leftover in proposal.leftovers:
            places.inside(self.root, leftover).unlink(missing_ok=True)

    def replace(self, proposal: Proposal, new: Version) -> str:
        """Make it live, checked, with its service restarted; returns why that failed, else nothing."""
        workshop = self._workshop()
        decided = Decided(proposal, new, "as it was answered here")
        if why := workshop.refusal(decided):
            return why
        failed = workshop.apply([decided]).failed
        return failed[0].how if failed else ""

    def undo(self, path: str) -> list[str]:
        """Put back what a path was before its last replacement, with all files of its service; those paths.

        Raises Problem when there is none, or a file is not what was made of it any more.
        """
        store = Store(self.state)
        done = [one for one in store.records() if one.phase is Phase.FINISHED]
        record = next(
            (one for one in reversed(done) if any(step.settles == path for step in one.steps)), None
        )
        if record is None:
            raise Problem(f"{path} was not replaced, or too long ago")
        for step in record.steps:
            if not step.new.is_at(places.inside(self.root, step.path)):
                raise Problem(f"{step.path} was changed since, and stays")
        replacing.revert(self.root, store, record)
        paths = [step.settles for step in record.steps]
        owners = self.services.owners({one: self.policy.rule(one).restart for one in paths})
        for service in sorted({*owners.values()} - {""}):
            runs = self.services.runs(service)
            if runs and (complaint := self.services.restart(service, self.policy.health)):
                raise Problem(f"the old files are back, but {complaint}")
        return paths

    def _workshop(self) -> Workshop:
        known = origins.load(self.state)
        return Workshop(self.root, Store(self.state), known, self.policy, self.services)
