"""What the API takes and answers of configuration merges. Pure."""

from dataclasses import dataclass
from typing import Annotated

from appliance import merge_model
from appliance.merge_model import Choice
from webui.api.schema import Rule
from webui.api.shapes import USUAL, Limit, Number


@dataclass(frozen=True)
class MergeQuery:
    state: Annotated[str, Rule("only those: open, decided or secret", pattern="(open|decided|secret)?")] = ""
    limit: Limit = USUAL
    cursor: Number = ""


@dataclass(frozen=True)
class MergeChoice:
    """The answer to a question."""

    choice: Choice
    text: Annotated[str, Rule("the other content, when the choice is `text`")] = ""
    why: str = ""


@dataclass(frozen=True)
class MergeUndo:
    """Why a decision is taken back."""

    why: str = ""


@dataclass(frozen=True)
class MergeDecision:
    """A decision; `ended` is empty while it holds. Times are seconds since the epoch."""

    choice: Choice
    result: str
    who: str
    at: float
    why: str
    ended: str
    ended_at: float | None
    ended_by: str
    ended_why: str


@dataclass(frozen=True)
class Merge:
    """A question of all machines with the same three hashes of a path; empty: there is no such file."""

    id: int
    path: str
    base: str
    ours: str
    theirs: str
    state: str
    mode: int
    why: str
    first_at: float
    waiting: Annotated[int, Rule("machines that wait for an answer or did not take it yet")]
    profiles: tuple[str, ...]
    decision: MergeDecision | None


@dataclass(frozen=True)
class MergeShown:
    """A question with its contents; null: not here, secret, or no text."""

    merge: Merge
    base: str | None
    ours: str | None
    theirs: str | None
    proposed: Annotated[str | None, Rule("both changes in one text, with markers where they clash")]
    history: tuple[MergeDecision, ...]


def decision(one: merge_model.Decision) -> MergeDecision:
    ended = one.ended.value if one.ended else ""
    made = one.choice, one.result, one.who, one.at, one.why
    return MergeDecision(*made, ended, one.ended_at, one.ended_by, one.ended_why)


def merge(one: merge_model.MergeQuestion) -> Merge:
    triple = one.triple
    hashes = triple.path, triple.base, triple.ours, triple.theirs
    held = decision(one.decision) if one.decision else None
    machines = one.first_at, one.waiting, one.profiles
    return Merge(one.id, *hashes, one.state, one.mode, one.why, *machines, held)
