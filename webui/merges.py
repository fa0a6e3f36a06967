"""Configuration merges: what is asked, the three files side by side, the decision for all machines."""

from collections.abc import Sequence
from dataclasses import dataclass

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.errors import Problem
from appliance.merge_lines import Line, difference, lines_of, panes
from appliance.merge_model import MOST_FILE_BYTES, Choice, Version
from webui.access import Role, needs, takes
from webui.context import services, signed_in, who
from webui.paging import sheet_of

area = Blueprint("merges", __name__)

STATES = {"open": "open", "decided": "decided", "secret": "on machines only"}
MOST_BYTES = 3 * MOST_FILE_BYTES
"""Of a form with a text: its line ends become two bytes, and there is more in it."""
MOST_SHOWN = 2000
"""Lines of one pane."""
SIZE = 20
TITLES = {"base": "as it was shipped", "ours": "on the machines", "theirs": "as it is shipped now"}


@dataclass(frozen=True)
class Pane:
    """One of the three files as the page shows it."""

    name: str
    title: str
    sha256: str
    lines: list[Line]
    more: int
    """Lines that are not shown."""
    said: str
    """Instead of lines: why there are none."""


@area.get("/merges")
@needs(Role.VIEWER)
def merges() -> str:
    desk = services().merges
    state = request.args.get("state", "open")
    state = state if state in STATES else "open"
    counts = {one: desk.count(one) for one in STATES}
    sheet = sheet_of(request.args, counts[state], SIZE)
    return render_template(
        "merges.html",
        state=state,
        states=STATES,
        counts=counts,
        sheet=sheet,
        questions=desk.find(state, limit=sheet.size, offset=sheet.offset),
        may_act=signed_in().role.covers(Role.OPERATOR),
    )


@area.get("/merge/<int:number>")
@needs(Role.OPERATOR)
def merge(number: int) -> str:
    return show(number)


@area.post("/merge/<int:number>/decide")
@needs(Role.OPERATOR)
@takes(MOST_BYTES)
def decide(number: int) -> Response | str | tuple[str, int]:
    """Preview or decide; what was written stays in the form when it is refused."""
    form, desk = request.form, services().merges
    word, why = form.get("choice", ""), form.get("why", "").strip()
    text = as_sent(number, form.get("text", "")) if word == Choice.TEXT.value else None
    try:
        if word not in [one.value for one in Choice]:
            raise Problem("nothing was chosen", hint="ours, theirs, or the text")
        content = b"" if text is None else text.encode()
        if form.get("act") == "preview":
            desk.check(number, content)
            return show(number, chosen=word, text=text, why=why, preview=True)
        made = desk.decide(number, Choice(word), content, who=who(), why=why)
    except Problem as problem:
        return show(number, chosen=word, text=text, why=why, wrong=problem), 409
    flash(f"Decided: {made.choice.value}. Machines get it when they ask the next time.", "done")
    return redirect(url_for("merges.merge", number=number), code=303)


@area.post("/merge/<int:number>/undo")
@needs(Role.OPERATOR)
def undo(number: int) -> Response:
    try:
        told = services().merges.undo(number, who=who(), why=request.form.get("why", "").strip())
    except Problem as problem:
        flash(str(problem), "error")
    else:
        machines = "1 machine is" if told == 1 else f"{told} machines are"
        flash(f"The question is open again; {machines} told to put the old file back.", "done")
    return redirect(url_for("merges.merge", number=number), code=303)


def show(
    number: int,
    *,
    chosen: str = "",
    text: str | None = None,
    why: str = "",
    preview: bool = False,
    wrong: Problem | None = None,
) -> str:
    view = services().merges.view(number)
    proposed = view.proposed
    own = text if text is not None else proposed.text if proposed else ""
    texts = {Choice.OURS.value: view.ours.text, Choice.THEIRS.value: view.theirs.text, Choice.TEXT.value: own}
    result = texts.get(chosen) if preview else view.result.text if view.result else None
    seen = None
    if result is not None and view.ours.text is not None:
        seen = shown(difference(lines_of(view.ours.text), lines_of(result)))
    return render_template(
        "merge.html",
        view=view,
        question=view.question,
        panes=[] if view.question.secret else three((view.base, view.ours, view.theirs)),
        text=own,
        editable=is_editable(own),
        conflicts=proposed.conflicts if proposed and text is None else None,
        chosen=chosen,
        why=why,
        preview=preview,
        seen=seen,
        wrong=wrong,
    )


def three(versions: Sequence[Version]) -> list[Pane]:
    """Base, ours and theirs, each with its differences marked."""
    texts = [one.text for one in versions]
    base, ours, theirs = (lines_of(one or "") for one in texts)
    made = []
    for one, text, own in zip(versions, texts, panes(base, ours, theirs), strict=True):
        said = "" if text else "There is no such file, or nobody knows it." if one.absent else "It is empty."
        if text is None:
            said = "It is no text." if one.content is not None else "Its content is not here: too large."
        cut, more = shown(own)
        made.append(Pane(one.name, TITLES[one.name], one.sha256, [] if said else cut, more, said))
    return made


def shown(lines: list[Line]) -> tuple[list[Line], int]:
    return lines[:MOST_SHOWN], max(0, len(lines) - MOST_SHOWN)


def is_editable(text: str) -> bool:
    """Whether a browser's form can hold it: it knows one kind of line ends only."""
    return "\r" not in text.replace("\r\n", "") and (text.count("\r\n") in (0, text.count("\n")))


def as_sent(number: int, text: str) -> str:
    """A form sends each line end as \\r\\n, WHATWG HTML 4.10.21.7; the machines' own kind is put back."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    ours = services().merges.view(number).ours.text or ""
    return plain.replace("\n", "\r\n") if "\r\n" in ours else plain
