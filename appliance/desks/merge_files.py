"""Decisions of merges, written into the site's `merges/` and taken from it."""

from dataclasses import dataclass
from pathlib import Path

from appliance import merge_site
from appliance.desks.merges import MergeDesk
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.merge_model import Choice, Item, MergeQuestion
from appliance.merge_site import KeptDecision

PART = 200
SITE = "site"
"""Who decided, in the audit log, what came from a file."""


@dataclass(frozen=True)
class Taken:
    new: int
    known: int
    """Held already, or was taken back here: a file does not decide that again."""
    wrong: list[Problem]


class MergeFilesDesk:
    def __init__(self, live: LiveSite, merges: MergeDesk) -> None:
        self._live = live
        self._merges = merges
        self._store = merges.store

    @property
    def directory(self) -> Path:
        return self._live.path / merge_site.DIRECTORY

    def export(self) -> tuple[list[Path], int]:
        """(files that were written, decisions that were removed since they were taken back here)."""
        kept, last, removed = [], 0, 0
        while part := self._merges.after("", last, limit=PART):
            last = part[-1].id
            for question in part:
                if one := self._kept(question):
                    kept.append(one)
                elif not question.decision and self._store.merges.decisions(question.id, limit=1):
                    removed += merge_site.remove(self.directory, question.triple.key)
        return merge_site.write(self.directory, kept), removed

    def take(self) -> Taken:
        """Decide what the site's files decide and nobody decided here yet."""
        kept, wrong = merge_site.read_all(self.directory)
        new = 0
        for one in kept:
            try:
                new += self._take(one)
            except Problem as problem:
                wrong.append(problem)
        return Taken(new, len(kept) - new, wrong)

    def _kept(self, question: MergeQuestion) -> KeptDecision | None:
        decision = question.decision
        if decision is None or question.secret:
            return None
        content = self._merges.content(decision.result) if decision.choice is Choice.TEXT else None
        if decision.choice is Choice.TEXT and content is None:
            raise Problem(f"the result of merge {question.id} of {question.triple.path} is not here")
        words = decision.who, decision.at, decision.why
        return KeptDecision(question.triple, decision.choice, content, *words)

    def _take(self, one: KeptDecision) -> bool:
        with self._store.database.change():
            question = self._merges.store_item(Item(one.triple), self._merges.now())
            before = self._store.merges.decisions(question.id)
            if question.secret or question.decision or any(one.result == old.result for old in before):
                return False
            if one.content is not None:
                self._merges.keep(one.sha256, one.content)
            why = f"{one.why} (decided by {one.who})" if one.who else one.why
            self._merges.settle(question, one.choice, one.sha256, who=SITE, why=why)
        return True
