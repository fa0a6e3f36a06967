"""Makes decided files live: in groups by service, validated, restarted, and put back when it went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distserver_client import replacing, validators
from distserver_client.origins import Origins
from distserver_client.proposals import Proposal
from distserver_client.replacing import Change, Refused
from distserver_client.services import Init, Services
from distserver_client.snapshots import Phase, Record, Store
from distserver_client.triples import Item, Kind, Policy, Settlement, Version
from distserver_client.validators import Verdict


@dataclass(frozen=True)
class Decided:
    """A proposal and what becomes of it."""

    proposal: Proposal
    new: Version
    how: str
    item: Item | None = None
    """Of what was answered."""

    def settlement(self, how: str) -> Settlement:
        answered = self.new.sha256 if self.item else ""
        return Settlement(self.proposal.path, how, self.item, answered)


@dataclass(frozen=True)
class Applied:
    applied: tuple[Settlement, ...] = ()
    failed: tuple[Settlement, ...] = ()


@dataclass(frozen=True)
class Workshop:
    """Where files are replaced, and by which rules."""

    root: Path
    store: Store
    origins: Origins
    policy: Policy
    services: Services

    def refusal(self, decided: Decided) -> str:
        """What a check says against it; empty: nothing."""
        verdict = self.verdict(decided)
        return "" if verdict.good else verdict.why

    def verdict(self, decided: Decided) -> Verdict:
        """What the checks of such a file say to it."""
        proposal, new = decided.proposal, decided.new
        if proposal.obstacle:
            return Verdict(False, proposal.obstacle)
        if new.kind is not Kind.FILE:
            return Verdict(True, "not a file")
        ours = proposal.ours.content if proposal.ours.kind is Kind.FILE else None
        try:
            return validators.judge(self.root, proposal.path, ours, new.content, real=proposal.real)
        except OSError as failure:
            return Verdict(False, f"it cannot be checked: {failure.strerror or failure}")

    def apply(self, decided: Sequence[Decided]) -> Applied:
        """All of them; files without a service stand for themselves, those of a service together."""
        owners = self.services.owners({one.proposal.path: self._restart(one) for one in decided})
        applied: list[Settlement] = []
        failed: list[Settlement] = []
        groups: dict[str, list[Decided]] = {}
        for one in sorted(decided, key=lambda each: each.proposal.path):
            path = one.proposal.path
            groups.setdefault(owners[path] or path, []).append(one)
        for group in groups.values():
            done = self._group(group, owners[group[0].proposal.path])
            applied += done.applied
            failed += done.failed
        return Applied(tuple(applied), tuple(failed))

    def recover(self) -> None:
        """Put right what a crash left; a service that had files of it already gets the old ones again."""
        for record in replacing.recover(self.root, self.store, self.note):
            if record.phase is Phase.BEGUN and record.service and self.services.init is not Init.OTHER:
                self.services.restart(record.service, "")

    def note(self, record: Record) -> None:
        """The questions of a committed record are settled."""
        for step in record.steps:
            self.origins.settle(step.settles, step.base)
        self.origins.save()

    def _restart(self, decided: Decided) -> str:
        return self.policy.rule(decided.proposal.path).restart

    def _group(self, group: Sequence[Decided], service: str) -> Applied:
        left = list(group)
        failed: list[Settlement] = []
        running = service if service and self.services.runs(service) else ""
        while left:
            try:
                changes = [_change(one) for one in left]
                record = replacing.replace(self.root, self.store, changes, service=running)
            except Refused as refused:
                # One that cannot be replaced does not hold the others of its service back.
                failed += [one.settlement(refused.why) for one in left if one.proposal.real == refused.path]
                left = [one for one in left if one.proposal.real != refused.path]
                continue
            complaint = self._restarted(record)
            if complaint:
                failed += [one.settlement(complaint) for one in left]
                return Applied((), tuple(failed))
            replacing.commit(self.root, self.store, record, self.note)
            return Applied(tuple(one.settlement(_how(one)) for one in left), tuple(failed))
        return Applied((), tuple(failed))

    def _restarted(self, record: Record) -> str:
        """Empty when the service took its new files; otherwise it runs with the old ones again."""
        if not record.service:
            return ""
        complaint = self.services.restart(record.service, self.policy.health)
        if not complaint:
            return ""
        replacing.revert(self.root, self.store, record)
        again = self.services.restart(record.service, "")
        return f"{complaint}; the old files are back" + (f", but {again}" if again else "")


def _change(decided: Decided) -> Change:
    proposal = decided.proposal
    return Change(
        proposal.real,
        proposal.ours,
        decided.new,
        proposal.like,
        proposal.path,
        proposal.theirs.sha256,
        proposal.leftovers,
    )


def _how(decided: Decided) -> str:
    """With the permissions that stay, where theirs are others."""
    ours, theirs = decided.proposal.ours, decided.proposal.theirs
    both = ours.kind is theirs.kind is Kind.FILE and bool(decided.proposal.leftovers)
    if both and ours.mode != theirs.mode:
        return f"{decided.how}; its mode stays {ours.mode:04o}, theirs is {theirs.mode:04o}"
    return decided.how
