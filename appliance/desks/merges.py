"""Configuration merges: what clients ask and are told, and what a person decides once for all of them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.desks.audit import AuditDesk
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.merge_checks import check
from appliance.merge_lines import Merged, merge
from appliance.merge_model import (
    HASH,
    LONGEST_SAID,
    MOST_FILE_BYTES,
    Asker,
    Asking,
    Choice,
    Decision,
    Ending,
    Full,
    Item,
    MergeQuestion,
    Posting,
    Report,
    Triple,
    Version,
    answer_of,
    result_of,
)
from appliance.merge_secrets import Rules, is_withheld, rules_of
from appliance.model import Tree

MOST_BYTES = 64 * 2**20
"""Of all contents together."""
MOST_BYTES_OF_ONE = 4 * 2**20
"""Of what one machine sent: a machine that went mad does not fill the place of the others."""
MOST_OPEN = 1000
"""Questions one machine may wait with."""
KEPT_SECONDS = 30 * 86400.0
"""A question that nobody asks any more and nobody decided is forgotten after this time."""
MOST_ASKERS = 50
Answer = dict[str, object]


@dataclass(frozen=True)
class View:
    """A question with everything a person decides by."""

    question: MergeQuestion
    base: Version
    ours: Version
    theirs: Version
    result: Version | None
    """Of the decision that holds."""
    history: list[Decision]
    askers: list[Asker]
    """The first of those that have to do with it."""
    tally: dict[Asking, int]

    @property
    def proposed(self) -> Merged | None:
        """Both changes in one text, for a person to go on with; None when one of the three is not shown."""
        texts = self.base.text, self.ours.text, self.theirs.text
        base, ours, theirs = texts
        return None if base is None or ours is None or theirs is None else merge(base, ours, theirs)


class MergeDesk:
    def __init__(self, live: LiveSite, tree: Tree, audit: AuditDesk, clock: Callable[[], float]) -> None:
        self._live = live
        self._heeded: Rules | None = None
        self._tree = tree
        self._audit = audit
        self.store = audit.store
        self._clock = clock

    # the clients' side; `machine` is the MAC that its certificate says

    def ask(self, machine: str, posting: Posting) -> list[Answer]:
        """One answer for each item. Raises Problem for a machine that is not known, or asks too much."""
        now = self._clock()
        self.heed()
        with self.store.database.change():
            known = self.store.machines.get(machine)
            if known is None:
                raise Problem(f"there is no machine {machine}")
            one = _Client(self, known.mac, known.profile or "", now)
            answers = [one.tell(item) for item in posting.items]
            if posting.whole:
                self.store.merges.settle_others(machine, one.open, now=now)
            if self.store.merges.count_of(machine) > MOST_OPEN:
                raise Full(f"{machine} asks more than {MOST_OPEN} questions")
        return answers

    def news(self, machine: str) -> list[Answer]:
        """What was decided or taken back since a machine was told."""
        found: list[Answer] = []
        for question, how in self.store.merges.news_for(machine):
            said = {"state": "undo", "result": self._result_at(question, machine)}
            if how is not Asking.UNDO and question.decision:
                said = answer_of(question.decision)
            triple = question.triple
            hashes = {"base": triple.base, "ours": triple.ours, "theirs": triple.theirs}
            found.append({"path": triple.path, **hashes, **said})
        return found

    def waits(self, machine: str) -> int:
        """How many answers wait for a machine; for its order."""
        return len(self.store.merges.news_for(machine))

    def give(self, machine: str, sha256: str, content: bytes) -> None:
        """Keep a content that an open question of this machine names. Raises Problem; Full: no place."""
        if len(content) > MOST_FILE_BYTES:
            raise Full(f"{len(content)} bytes came, a content has at most {MOST_FILE_BYTES}")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Problem(f"what came is not the content {sha256[:40]}")
        contents = self.store.contents
        self.heed()
        with self.store.database.change():
            if sha256 not in self._wanted(machine):
                raise Problem(f"no open question of this machine wants the content {sha256}")
            if contents.has(sha256):
                return
            self._make_room(len(content))
            if contents.bytes_of(machine) + len(content) > MOST_BYTES_OF_ONE:
                raise Full(f"{machine} sent {MOST_BYTES_OF_ONE} bytes of contents already")
            contents.put(sha256, content, machine=machine, now=self._clock())

    def content_for(self, machine: str, sha256: str) -> bytes | None:
        """A result of a question this machine asks; its own old file when it is to put that back, and the
        two beside it, by which it asks again; and what packages ship, which is in the pool for everybody.
        """
        may = {
            one
            for question, how in self.store.merges.news_for(machine)
            for one in (question.triple.hashes if how is Asking.UNDO else _results(question))
        }
        return self.content(sha256) if sha256 in may else self._shipped(sha256)

    def now(self) -> float:
        return self._clock()

    # a person's side

    def find(self, state: str, *, limit: int, offset: int = 0, machine: str = "") -> list[MergeQuestion]:
        """A part of those that are open, decided or secret; `machine`: only those it waits with."""
        self.heed()
        return self.store.merges.find(state, limit=limit, offset=offset, machine=machine)

    def count(self, state: str, machine: str = "") -> int:
        self.heed()
        return self.store.merges.count(state, machine)

    def after(self, state: str, number: int, *, limit: int) -> list[MergeQuestion]:
        """Some in the order of their numbers; `state` empty: of any."""
        self.heed()
        return self.store.merges.after(state, number, limit=limit)

    def question(self, number: int) -> MergeQuestion:
        self.heed()
        found = self.store.merges.get(number)
        if found is None:
            raise Problem(f"there is no merge {number}", hint="`distserver merge list` shows those there are")
        return found

    def view(self, number: int, *, offset: int = 0) -> View:
        question = self.question(number)
        triple, merges = question.triple, self.store.merges
        decision = question.decision
        states = (Asking.ASKED, Asking.REFUSED, Asking.APPLIED, Asking.UNDO)
        return View(
            question,
            self._version("base", triple.base),
            self._version("ours", triple.ours),
            self._version("theirs", triple.theirs),
            self._version("result", decision.result) if decision else None,
            merges.decisions(number),
            merges.askers(number, states, limit=MOST_ASKERS, offset=offset),
            merges.tally(number),
        )

    def content(self, sha256: str) -> bytes | None:
        """From what machines sent, or from the pristine files of this server's own releases."""
        found = self.store.contents.get(sha256)
        return found if found is not None else self._shipped(sha256)

    def _shipped(self, sha256: str) -> bytes | None:
        """A configuration file as a package of this server's releases has it."""
        if not HASH.fullmatch(sha256):
            return None
        file = self._tree.path / "etc-base" / sha256
        try:
            return file.read_bytes() if file.stat().st_size <= MOST_FILE_BYTES else None
        except FileNotFoundError:
            return None

    def check(self, number: int, content: bytes) -> None:
        """Raises Problem for what no machine may get."""
        if len(content) > MOST_FILE_BYTES:
            raise Problem(f"the text has {len(content)} bytes, at most {MOST_FILE_BYTES} are kept")
        check(self.question(number).triple.path, content)

    def decide(
        self, number: int, choice: Choice, content: bytes = b"", *, who: str | None = None, why: str = ""
    ) -> Decision:
        """Answer a question for every machine that asks it, now and later; `content`: of Choice.TEXT.

        Raises Problem for one that is secret or decided, and for a content that cannot be.
        """
        with self.store.database.change():
            question = self.question(number)
            if question.secret:
                hint = "`distserver-client merge` on the machine answers it"
                raise Problem(f"{question.triple.path} is secret: it is decided on its machine", hint=hint)
            if choice is Choice.TEXT:
                self.check(number, content)
            sha256 = hashlib.sha256(content).hexdigest()
            if choice is Choice.TEXT:
                choice = _plain(question.triple, sha256)
            if choice is Choice.TEXT:
                self.keep(sha256, content)
            return self.settle(question, choice, sha256, who=who, why=why)

    def keep(self, sha256: str, content: bytes) -> None:
        """Keep a result, inside a change. Raises Full."""
        if not self.store.contents.has(sha256):
            self._make_room(len(content))
            self.store.contents.put(sha256, content, machine="", now=self._clock())

    def settle(
        self, question: MergeQuestion, choice: Choice, text: str, *, who: str | None, why: str
    ) -> Decision:
        """The decision itself, inside a change; `text`: the hash of a content that is here."""
        person, path = who or self._audit.who, question.triple.path
        result = result_of(choice, question.triple, text)
        made = self.store.merges.decide(
            question.id, choice, result, who=person, why=why[:LONGEST_SAID], now=self._clock()
        )
        if made is None:
            raise Problem(
                f"merge {question.id} of {path} is decided already", hint="take that decision back first"
            )
        self._audit.note(who, "merge decide", path, f"merge {question.id}: {choice.value}. {why}".strip())
        return made

    def undo(self, number: int, *, who: str | None = None, why: str = "") -> int:
        """Take a decision back; machines that applied it are told to put their old file back: how many."""
        with self.store.database.change():
            question = self.question(number)
            decision, now = question.decision, self._clock()
            by = who or self._audit.who
            if decision is None or not self.store.merges.end(
                decision, Ending.UNDONE, by=by, why=why[:LONGEST_SAID], now=now
            ):
                raise Problem(f"merge {number} of {question.triple.path} is not decided")
            told = self.store.merges.tell_to_undo(decision, now=now)
            self._audit.note(who, "merge undo", question.triple.path, f"merge {number}. {why}".strip())
        return told

    # keeping order

    def heed(self) -> None:
        """What a profile calls secret since is so from now on, before anybody sees it or sends more of it."""
        rules = rules_of(self._live.now())
        if rules == self._heeded:
            return
        with self.store.database.change():
            for triple, profiles in self.store.merges.plain() if rules else ():
                if is_withheld(triple.path, profiles, rules):
                    self.store_item(Item(triple, secret=True), self._clock())
        self._heeded = rules

    def is_withheld(self, path: str, profile: str) -> bool:
        """Do contents of that file stay on machines of that profile?"""
        return is_withheld(path, [profile], self._heeded or {})

    def tidy(self) -> None:
        """Forget what nobody asks any more, and contents that nothing names."""
        with self.store.database.change():
            self.store.merges.forget(before=self._clock() - KEPT_SECONDS)
            self.store.contents.sweep()

    def lacks(self, triple: Triple) -> list[str]:
        """Contents of a question that are not here."""
        return [one for one in dict.fromkeys(triple.hashes) if one and not self._has(one)]

    def _has(self, sha256: str) -> bool:
        return self.store.contents.has(sha256) or (self._tree.path / "etc-base" / sha256).exists()

    def _wanted(self, machine: str) -> set[str]:
        merges = self.store.merges
        open_ = merges.find("open", limit=MOST_OPEN, machine=machine)
        return {one for question in open_ for one in question.triple.hashes}

    def _make_room(self, size: int) -> None:
        contents = self.store.contents
        if contents.bytes_of() + size <= MOST_BYTES:
            return
        self.tidy()
        if contents.bytes_of() + size > MOST_BYTES:
            raise Full(f"contents of questions take {MOST_BYTES} bytes already; decide some of the open ones")

    def _result_at(self, question: MergeQuestion, machine: str) -> str:
        asker = self.store.merges.asking(question.id, machine)
        return asker.result if asker else ""

    def _version(self, name: str, sha256: str) -> Version:
        return Version(name, sha256, self.content(sha256) if sha256 else None)

    def store_item(self, item: Item, now: float) -> MergeQuestion:
        """The question of an item. Contents of one that turns out to be secret are removed at once."""
        question = self.store.merges.ensure(item, now=now)
        if question.secret:
            if question.decision:
                why = "it is secret"
                self.store.merges.end(question.decision, Ending.UNDONE, by="server", why=why, now=now)
            self.store.contents.sweep()
        return question

    def reopen(self, question: MergeQuestion, machine: str, said: str, now: float) -> None:
        """A machine's own validators refused what was decided."""
        decision = question.decision
        if decision and self.store.merges.end(
            decision, Ending.REFUSED, by=f"machine {machine}", why=said, now=now
        ):
            detail = f"merge {question.id}: {machine} refused it: {said}"
            self._audit.note(f"machine {machine}", "merge refused", question.triple.path, detail)


class _Client:
    """One machine that posts its items, inside a change."""

    def __init__(self, desk: MergeDesk, machine: str, profile: str, now: float) -> None:
        self.desk = desk
        self.machine = machine
        self.profile = profile
        self.now = now
        self.merges = desk.store.merges
        self.open: set[int] = set()

    def tell(self, item: Item) -> Answer:
        secret = item.secret or self.desk.is_withheld(item.triple.path, self.profile)
        question = self.desk.store_item(replace(item, secret=secret), self.now)
        match item.report:
            case Report.OPEN:
                return self._open(question)
            case Report.APPLIED:
                return self._applied(question, item.result)
            case Report.REFUSED:
                if question.decision and question.decision.result == item.result:
                    self.desk.reopen(question, self.machine, item.said, self.now)
                self._note(question, Asking.REFUSED, item.result, item.said)
            case Report.REVERTED:
                self._note(question, Asking.ASKED)
            case Report.CHANGED:
                self._note(question, Asking.GONE)
        return {"state": "noted"}

    def _open(self, question: MergeQuestion) -> Answer:
        self.open.add(question.id)
        self.merges.supersede(self.machine, question.triple.path, question.id, now=self.now)
        known = self.merges.asking(question.id, self.machine)
        # Until the question is decided again, its page says who refused the last answer and why.
        if not (known and known.state is Asking.REFUSED and not question.decision):
            self._note(question, Asking.ASKED)
        if question.secret:
            return {"state": "asked", "question": question.id}
        if question.decision:
            return {**answer_of(question.decision), "question": question.id}
        return {"state": "asked", "question": question.id, "wants": self.desk.lacks(question.triple)}

    def _applied(self, question: MergeQuestion, result: str) -> Answer:
        if question.decision is None or question.decision.result != result:
            last = next((one for one in self.merges.decisions(question.id) if one.result == result), None)
            if last and last.ended is Ending.UNDONE:
                self._note(question, Asking.UNDO, result)
                return {"state": "undo", "result": result}
        self._note(question, Asking.APPLIED, result)
        return {"state": "noted"}

    def _note(self, question: MergeQuestion, state: Asking, result: str = "", said: str = "") -> None:
        self.merges.note(
            question.id, self.machine, self.profile, state, result=result, said=said, now=self.now
        )


def _results(question: MergeQuestion) -> tuple[str, ...]:
    return (question.decision.result,) if question.decision else ()


def _plain(triple: Triple, sha256: str) -> Choice:
    """A text that is one of the two is that choice."""
    if sha256 == triple.ours:
        return Choice.OURS
    return Choice.THEIRS if sha256 == triple.theirs else Choice.TEXT
