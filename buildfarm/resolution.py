"""What Portage's resolver wants to do in a root, and the questions only a person can answer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from buildfarm.complaints import Question, QuestionKind, masked_question, missing, read_complaints

__all__ = ["Choice", "Question", "QuestionKind", "Resolution", "parse"]


@dataclass(frozen=True)
class Choice:
    """One package the resolver merges."""

    cpv: str
    slot: str
    """With its subslot: `0/1.2`."""
    repository: str
    kind: str
    """ebuild or binary."""
    build_id: int | None = None
    """Of a binary, when the package directory holds several builds of one version."""
    use: tuple[str, ...] = ()
    """Enabled flags of its IUSE."""
    disabled: tuple[str, ...] = ()
    replaces: str = ""
    """The installed cpv it takes the place of."""
    reasons: tuple[str, ...] = ()
    """new, new slot, update, downgrade; or why what is installed is merged again."""
    needs: tuple[str, ...] = ()
    """Choices of the same resolution that are merged before it because it depends on them."""


@dataclass(frozen=True)
class Resolution:
    """An answer of the resolver; without questions and complete: emerge would do just this."""

    portage: str
    """Version of the root's Portage."""
    method: str
    """The private API, or `emerge --pretend` and why."""
    choices: tuple[Choice, ...] = ()
    """In merge order; empty when the resolver gave up."""
    uninstalls: tuple[str, ...] = ()
    needless: tuple[str, ...] | None = None
    """What is installed and nothing of this resolution needs; None: emerge does not say."""
    questions: tuple[Question, ...] = ()
    complete: bool = True
    """The resolver succeeded. It also does when it only skipped a world atom: that is a question."""


def parse(answer: Mapping[str, Any]) -> Resolution:
    """One answer of buildfarm/inside/plan.py."""
    choices = tuple(_choice(row) for row in answer["choices"])
    found = read_complaints(answer["words"])
    # What the second run skips, it skips because of changes nobody has made.
    advice = read_complaints(answer.get("advice", ""))
    found += [one for one in advice if one.kind is not QuestionKind.SKIPPED]
    told = {one.subject for one in found}
    found += [missing(atom) for atom in answer["missing"] if atom not in told]
    found = [_explained(one, answer["missing"]) for one in found]
    if not answer["complete"] and not found:
        found = [Question(QuestionKind.OTHER, "the resolver gave up", answer["words"].strip()[-4000:])]
    return Resolution(
        portage=answer["portage"],
        method=answer["method"],
        choices=choices,
        uninstalls=tuple(answer["uninstalls"]),
        needless=tuple(answer["needless"]) if "needless" in answer else None,
        questions=tuple(_united(found)),
        complete=answer["complete"],
    )


def _choice(row: Mapping[str, Any]) -> Choice:
    plain: dict[str, Any] = {
        name: row[name] for name in ("cpv", "slot", "repository", "kind", "build_id", "replaces")
    }
    lists: dict[str, Any] = {name: tuple(row[name]) for name in ("use", "disabled", "reasons", "needs")}
    return Choice(**plain, **lists)


def _explained(question: Question, atoms: Mapping[str, Any]) -> Question:
    """A world atom that nothing provides: say of each candidate why it is masked."""
    if question.kind is not QuestionKind.MISSING or not atoms.get(question.subject):
        return question
    rows = [
        (one["cpv"], ", ".join(one["masks"]) or "not for this USE or slot") for one in atoms[question.subject]
    ]
    told = masked_question(question.subject, rows)
    lines = "\n".join(f"- {cpv} (masked by: {masks})" for cpv, masks in rows)
    return replace(question, text=f"{question.text}\n{lines}", suggestion=told.suggestion)


def _united(questions: Iterable[Question]) -> list[Question]:
    """One question for each kind and subject, in their order; what says more stays."""
    found: dict[tuple[QuestionKind, str], Question] = {}
    for one in questions:
        before = found.setdefault((one.kind, one.subject), one)
        if before is not one:
            text = before.text if one.text in before.text else f"{before.text}\n\n{one.text}"
            found[one.kind, one.subject] = replace(
                before, text=text, suggestion=one.suggestion or before.suggestion
            )
    return list(found.values())
