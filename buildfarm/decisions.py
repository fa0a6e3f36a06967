"""What will become of every package of a profile, and why: built, reused, kept or removed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from buildfarm.complaints import Question, QuestionKind
from buildfarm.index import split_cpv
from buildfarm.portage import Installed
from buildfarm.resolution import Choice, Resolution

BUILT_OTHERWISE = "what is installed was built another way"


class Deed(Enum):
    BUILD = "build"
    REUSE = "reuse"
    """A package with the same build key is in the pool."""
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True)
class Row:
    """One package and what becomes of it."""

    deed: Deed
    cpv: str
    before: str = ""
    """The version it takes the place of."""
    reasons: tuple[str, ...] = ()
    seconds: float | None = None
    """What its build will probably take; None: nothing like it was ever built."""


@dataclass(frozen=True)
class PlanView:
    """What a person sees before anything runs."""

    rows: tuple[Row, ...]
    """In merge order, then what is removed, then what is kept."""
    questions: tuple[Question, ...] = ()
    complete: bool = True
    """The resolver succeeded; otherwise nothing would be built."""
    portage: str = ""
    method: str = ""

    def of(self, deed: Deed) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.deed is deed)

    @property
    def totals(self) -> Mapping[Deed, int]:
        return {deed: len(self.of(deed)) for deed in Deed}

    @property
    def seconds(self) -> float:
        """Of all builds, as far as anything is known of them."""
        return sum(row.seconds or 0.0 for row in self.of(Deed.BUILD))

    def document(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "portage": self.portage,
            "method": self.method,
            "complete": self.complete,
            "totals": {deed.value: count for deed, count in self.totals.items()},
            "seconds": self.seconds,
            "packages": [{**asdict(row), "deed": row.deed.value} for row in self.rows],
            "questions": [{**asdict(one), "kind": one.kind.value} for one in self.questions],
        }


def read(document: Mapping[str, Any]) -> PlanView:
    """What document() made, back again."""
    rows = [
        Row(Deed(row["deed"]), row["cpv"], row["before"], tuple(row["reasons"]), row["seconds"])
        for row in document["packages"]
    ]
    questions = [
        Question(QuestionKind(one["kind"]), one["subject"], one["text"], one["suggestion"])
        for one in document["questions"]
    ]
    made_by = document["portage"], document["method"]
    return PlanView(tuple(rows), tuple(questions), document["complete"], *made_by)


def decide(
    resolution: Resolution,
    installed: Iterable[Installed],
    known: Collection[str],
    *,
    again: Collection[str] = (),
    why: Mapping[str, Sequence[str]] | None = None,
    seconds: Mapping[str, float] | None = None,
) -> PlanView:
    """`known`: cpvs of which there is a package under the wanted key.

    `again`: cpvs that are installed and stay, but were built another way. `why`: cpv -> which parts of its
    key changed. `seconds`: cpv -> what its build probably takes.
    """
    reasons, expected = why or {}, seconds or {}
    rows = [_row(choice, known, reasons) for choice in resolution.choices]
    rows += [Row(Deed.BUILD, cpv, reasons=(BUILT_OTHERWISE, *reasons.get(cpv, ()))) for cpv in sorted(again)]
    rows = [replace(row, seconds=expected.get(row.cpv)) if row.deed is Deed.BUILD else row for row in rows]
    going = dict.fromkeys(resolution.needless or (), "nothing needs it any more")
    going |= dict.fromkeys(resolution.uninstalls, "another package blocks it")
    rows += [Row(Deed.REMOVE, cpv, reasons=(reason,)) for cpv, reason in sorted(going.items())]
    told = {choice.replaces for choice in resolution.choices} | going.keys() | set(again)
    rows += [Row(Deed.KEEP, one.cpv) for one in installed if one.cpv not in told]
    return PlanView(
        tuple(rows), resolution.questions, resolution.complete, resolution.portage, resolution.method
    )


def _row(choice: Choice, known: Collection[str], why: Mapping[str, Sequence[str]]) -> Row:
    before = split_cpv(choice.replaces)[1] if choice.replaces else ""
    if choice.kind == "binary" or choice.cpv in known:
        return Row(Deed.REUSE, choice.cpv, before, choice.reasons)
    return Row(Deed.BUILD, choice.cpv, before, (*choice.reasons, *why.get(choice.cpv, ())))


def sentence(view: PlanView) -> str:
    """The totals in one line: `3 to build (about 2 min), 10 to reuse, 1 to remove, 20 kept`."""
    names = {Deed.BUILD: "to build", Deed.REUSE: "to reuse", Deed.REMOVE: "to remove", Deed.KEEP: "kept"}
    parts = [f"{view.totals[deed]} {name}" for deed, name in names.items()]
    if view.seconds:
        parts[0] += f" ({duration(view.seconds)} of building)"
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
