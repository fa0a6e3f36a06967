"""Settles configuration files after an update: decides, asks once, and applies what is decided."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distserver_client import origins, places
from distserver_client.applying import Decided, Workshop
from distserver_client.errors import Problem
from distserver_client.merging import Decision, KeepOurs, Merged, Question, Same, TakeTheirs, decide
from distserver_client.places import Metadata
from distserver_client.proposals import Found, Proposal, Scan
from distserver_client.protection import Protection, is_secret
from distserver_client.services import Services
from distserver_client.snapshots import Store
from distserver_client.threeway import Engine, diff3
from distserver_client.triples import (
    ABSENT,
    Answer,
    Ask,
    Bases,
    Choice,
    Item,
    Kind,
    Policy,
    Settled,
    Settlement,
    State,
    Version,
    digest,
)

SHOWN = (Kind.FILE, Kind.ABSENT)
"""What can be asked on the server: of a link or a directory there is no content to show."""
MOST_ASKED = 500
"""At once, as the server takes them (docs/merges.md); the others wait for these."""
LONGEST_PATH = 1024


@dataclass(frozen=True)
class Kept:
    """Ours stays, and the question is settled with that."""

    proposal: Proposal
    how: str
    item: Item | None = None
    """Of what was answered."""

    def settlement(self) -> Settlement:
        answered = self.proposal.ours.sha256 if self.item else ""
        return Settlement(self.proposal.path, self.how, self.item, answered)


@dataclass(frozen=True)
class Waiting:
    """A question for a person."""

    proposal: Proposal
    item: Item
    here: bool
    """It is answered on the machine."""

    def settlement(self) -> Settlement:
        return Settlement(self.proposal.path, self.item.why, self.item)


Outcome = Decided | Kept | Waiting


@dataclass
class Report:
    """What is known so far."""

    applied: list[Settlement] = field(default_factory=list)
    kept: list[Settlement] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    failed: list[Settlement] = field(default_factory=list)

    def settled(self) -> Settled:
        here, there = (
            [one.settlement() for one in self.waiting if one.here is here] for here in (True, False)
        )
        return Settled(tuple(self.applied), tuple(self.kept), tuple(there), tuple(here), tuple(self.failed))


def settle(
    root: Path,
    bases: Bases,
    ask: Ask,
    policy: Policy,
    state: Path,
    protection: Protection,
    *,
    services: Services | None = None,
    engine: Engine = diff3,
) -> Settled:
    """Settle every configuration file of `root` that waits; `state` is its /var/lib/distserver/client.

    First puts right what a crash left. The server is asked once, with all open questions; without it they
    wait. May be called again at any time, also without an update: what is settled stays.
    Raises OSError when the state directory cannot be written.
    """
    store, known = Store(state), origins.load(state)
    workshop = Workshop(root, store, known, policy, services or Services(root))
    workshop.recover()
    found = Scan(root, bases, protection, store, known).run()
    return _Settling(bases, ask, workshop, engine, found).run()


@dataclass
class _Settling:
    """One run over what was found."""

    bases: Bases
    ask: Ask
    workshop: Workshop
    engine: Engine
    found: Found
    report: Report = field(default_factory=Report)

    def run(self) -> Settled:
        proposals = [one for one in self.found.proposals if not self._never(one.path)]
        outcomes = [self._outcome(one) for one in proposals]
        waiting = [one for one in outcomes if isinstance(one, Waiting)]
        outcomes = [*(one for one in outcomes if not isinstance(one, Waiting)), *self._answered(waiting)]
        self._apply([one for one in outcomes if isinstance(one, Decided)])
        self._keep([one for one in outcomes if isinstance(one, Kept)])
        failed = {one.path: one.how for one in self.report.failed}
        self._hold([self._wait(one, failed[one.path], here=True) for one in proposals if one.path in failed])
        self._hold(self.report.waiting)
        self._rest()
        self.workshop.origins.save()
        self.workshop.store.prune(self.workshop.origins.needed)
        return self.report.settled()

    def _never(self, path: str) -> bool:
        return self.workshop.policy.rule(path).policy is Choice.NEVER

    def _outcome(self, proposal: Proposal) -> Outcome:
        decision = decide(proposal.path, proposal.base, proposal.ours, proposal.theirs, self.engine)
        outcome = self._by_policy(proposal, decision)
        if isinstance(outcome, Decided):
            if proposal.names > 1:
                why = f"the file has {proposal.names} names (hard links), and one of them would be replaced"
                return self._wait(proposal, why)
            verdict = self.workshop.verdict(outcome)
            if not verdict.good:
                return self._wait(proposal, verdict.why)
            if verdict.absent:
                return replace(outcome, how=f"{outcome.how}; {verdict.absent}")
        return outcome

    def _by_policy(self, proposal: Proposal, decision: Decision) -> Outcome:
        choice = self.workshop.policy.rule(proposal.path).policy
        if not isinstance(decision, Same) and choice is Choice.OURS:
            return Kept(proposal, "ours, by policy")
        if not isinstance(decision, Same) and choice is Choice.THEIRS:
            return Decided(proposal, proposal.theirs, "theirs, by policy")
        match decision:
            case Same():
                return Kept(proposal, "the same already")
            case KeepOurs(why):
                return Kept(proposal, f"ours: {why}")
            case TakeTheirs(why):
                return Decided(proposal, proposal.theirs, f"theirs: {why}")
            case Merged(content, how):
                if choice is Choice.ASK:
                    return self._wait(proposal, "the policy says to ask")
                return Decided(proposal, Version(Kind.FILE, content, proposal.ours.mode), how)
            case Question(why):
                return self._wait(proposal, why)

    def _wait(self, proposal: Proposal, why: str, *, here: bool = False) -> Waiting:
        """The question as it is asked; of a secret and of what is no file, on the machine."""
        base, ours, theirs = proposal.base, proposal.ours, proposal.theirs
        rule = self.workshop.policy.rule(proposal.path)
        versions = [ours, theirs] if ours.kind is not Kind.ABSENT else [theirs]
        secret = is_secret(proposal.path, rule, *versions) or is_secret(proposal.real, rule, *versions)
        known = base.sha256 if base else ""
        item = Item(proposal.path, known, ours.sha256, theirs.sha256, versions[0].mode, secret, why)
        shown = all(one.kind in SHOWN for one in (ours, theirs, *([base] if base else [])))
        return Waiting(proposal, item, here or secret or not shown or not _is_sayable(proposal.path))

    def _answered(self, waiting: Sequence[Waiting]) -> list[Decided | Kept]:
        """Ask for all of them; what nobody answered yet is in the report."""
        # Of a secret the server hears the hashes, so that it can say which machine waits for whom.
        sent = [one for one in waiting if (one.item.secret or not one.here) and _is_sayable(one.item.path)]
        sent = sent[:MOST_ASKED]
        answers: Sequence[Answer] = [Answer(State.ASKED)] * len(sent)
        if sent:
            try:
                said = self.ask.known([one.item for one in sent])
                answers = said if len(said) == len(sent) else answers
            except (OSError, Problem):
                pass
        self.report.waiting += [one for one in waiting if one not in sent]
        found = []
        for one, answer in zip(sent, answers, strict=True):
            outcome = None if one.here else self._taken(one, answer)
            if outcome:
                found.append(outcome)
            elif one.proposal.path not in {failed.path for failed in self.report.failed}:
                self.report.waiting.append(one)
        return found

    def _taken(self, one: Waiting, answer: Answer) -> Decided | Kept | None:
        proposal = one.proposal
        if answer.state is State.ASKED:
            self._give(one, answer)
            return None
        if answer.state is State.KEEP:
            return Kept(proposal, "ours, as it was answered", one.item)
        new = proposal.theirs
        if answer.state is State.DECIDED:
            try:
                content = self.ask.get(answer.result)
            except (OSError, Problem) as failure:
                self._fail(proposal, f"the answer could not be fetched: {failure}")
                return None
            if digest(content) != answer.result:
                self._fail(proposal, "the answer is not the content that was decided")
                return None
            mode = one.item.mode
            new = Version(Kind.FILE, content, mode)
        decided = Decided(proposal, new, "as it was answered", one.item)
        if why := self.workshop.refusal(decided):
            self.report.failed.append(decided.settlement(f"the answer was refused: {why}"))
            return None
        return decided

    def _give(self, one: Waiting, answer: Answer) -> None:
        """What the server shows to who decides; never anything of a secret."""
        versions = (one.proposal.base or ABSENT, one.proposal.ours, one.proposal.theirs)
        for version in versions:
            if version.kind is Kind.FILE and version.sha256 in answer.wants and not one.item.secret:
                try:
                    self.ask.give(version.sha256, version.content)
                except (OSError, Problem):
                    return

    def _fail(self, proposal: Proposal, why: str) -> None:
        self.report.failed.append(Settlement(proposal.path, why))

    def _apply(self, decided: Sequence[Decided]) -> None:
        done = self.workshop.apply(decided)
        self.report.applied += done.applied
        self.report.failed += done.failed

    def _keep(self, kept: Sequence[Kept]) -> None:
        for one in kept:
            self.workshop.origins.settle(one.proposal.path, one.proposal.theirs.sha256)
            self.report.kept.append(one.settlement())
        # First that it is settled, then that nothing waits: killed between them, it is seen once more.
        self.workshop.origins.save()
        for leftover in (name for one in kept for name in one.proposal.leftovers):
            self._remove(leftover)

    def _hold(self, waiting: Sequence[Waiting]) -> None:
        """What waits is seen by its newest `._cfg*`, and keeps its base."""
        for one in waiting:
            self.workshop.origins.wait(one.item, here=one.here)
            base, theirs = one.proposal.base, one.proposal.theirs
            for version in (base, theirs):
                if version and version.kind is Kind.FILE:
                    self.workshop.store.keep(version.content)
            for leftover in one.proposal.leftovers[:-1]:
                self._remove(leftover)
            if not one.proposal.leftovers and theirs.kind is Kind.FILE and not one.proposal.obstacle:
                self._show(one)

    def _show(self, one: Waiting) -> None:
        """As Portage would, where it was silent because it had offered the same before."""
        root = self.workshop.root
        directory, _, name = one.proposal.path.rpartition("/")
        place = places.inside(root, f"{places.resolve(root, directory)}/._cfg0000_{name}")
        mode = 0o600 if one.item.secret else 0o644
        try:
            places.write(place, one.proposal.theirs.content, Metadata(mode, 0, 0))
        except OSError as failure:
            self._fail(one.proposal, f"its new version cannot be laid beside it: {failure.strerror}")

    def _rest(self) -> None:
        """What needs no decision: masks, what cannot be read, policies, files that are no longer shipped."""
        for leftover in self.found.useless:
            self._remove(leftover)
        self.report.failed += [Settlement(path, why) for path, why in self.found.unreadable]
        never = [one.path for one in self.found.proposals if self._never(one.path)]
        self.report.kept += [Settlement(path, "never touched, by policy") for path in never]
        for path in self.found.dropped:
            how = "no package ships it any more; it stays, since something may read it"
            self.report.kept.append(Settlement(path, how))

    def _remove(self, leftover: str) -> None:
        try:
            places.inside(self.workshop.root, leftover).unlink(missing_ok=True)
        except OSError as failure:
            self.report.failed.append(Settlement(leftover, f"cannot be removed: {failure.strerror}"))


def _is_sayable(path: str) -> bool:
    """Whether the server takes it: a name may be any octets, and one that it refuses holds all others up."""
    return path.isprintable() and len(path) <= LONGEST_PATH
