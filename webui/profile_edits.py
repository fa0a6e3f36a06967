"""Changes of profiles' files: judged first, shown as a difference, asked of the farm, and followed."""

from dataclasses import dataclass

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.edit_model import (
    MOST_BYTES,
    Change,
    Changed,
    Complaint,
    Judgement,
    check_path,
    check_role,
    digest,
    encode,
    new_profile,
    who_may,
)
from appliance.errors import Problem
from appliance.merge_lines import Line, difference, lines_of
from appliance.text_merge import merge
from appliance.whence import as_text
from webui.access import Role, needs, refuse, takes
from webui.context import services, signed_in, who

area = Blueprint("profile_edits", __name__)

MOST_FORM_BYTES = 8 * MOST_BYTES
"""Two texts, each of whose bytes may take three as a browser sends them."""
AROUND = 2
MOST_MISTAKES = 20
MOST_TURNS = 50
"""Machines for which changed match rules choose otherwise, on the page that asks to confirm."""
Answer = Response | str | tuple[Response | str, int]


@dataclass(frozen=True)
class Draft:
    """What somebody makes of a file, as the form carries it."""

    profile: str
    name: str
    text: str
    base: str
    """The digest of what was read; empty: there was no file."""
    was: str
    """The text that was read."""
    why: str = ""
    deletes: bool = False


@dataclass(frozen=True)
class Mistake:
    """A complaint with the lines around it, numbered."""

    complaint: Complaint
    lines: tuple[tuple[int, str], ...] = ()


@area.get("/profile/<name>/files")
@needs(Role.VIEWER)
def files(name: str) -> str:
    desk = services()
    found, changes = desk.edits.files(name), desk.edits.last(name)
    if not found and not changes:
        raise Problem(f"the site has no profile {name}", hint="the page Profiles has those there are")
    role = signed_in().role
    return render_template("profile_files.html", name=name, files=found, changes=changes, role=role)


@area.get("/profiles/new")
@needs(Role.ADMIN)
def new() -> str:
    return render_template("profile_new.html", profiles=services().edits.names())


@area.get("/profiles/begin")
@needs(Role.ADMIN)
def begin() -> Answer:
    """To the form of a new profile's first file."""
    name, parents = (
        request.args.get("name", "").strip(),
        [one for one in request.args.getlist("parent") if one],
    )
    check_path(name, "profile.toml")
    if name in services().edits.names():
        raise Problem(f"there is a profile {name} already", hint="choose another name")
    return redirect(url_for("profile_edits.edit", name=name, file="profile.toml", parent=parents), code=303)


@area.get("/profile/<name>/edit")
@needs(Role.VIEWER)
def edit(name: str) -> Answer:
    """The form of one file; of a change that was not made, when its number is given."""
    desk, asked = services().edits, request.args
    if number := asked.get("change", ""):
        change = desk.edit(int(number) if number.isdecimal() else 0).change
        texts = as_text(change.content or b"") or "", as_text(change.base or b"") or ""
        lost = Draft(change.profile, change.name, texts[0], digest(change.base), texts[1])
        return _clash(lost) if digest(desk.read(name, change.name)) != lost.base else _form(lost)
    file = asked.get("file", "").strip()
    content = desk.read(name, file)
    text = as_text(content or b"")
    if text is None:
        raise Problem(f"{file} is no text", hint="it is edited on the disk only")
    start = text
    if content is None and file == "profile.toml":
        start = new_profile(tuple(asked.getlist("parent")))
    return _form(Draft(name, file, start, digest(content), text))


@area.post("/profile/<name>/edit")
@needs(Role.OPERATOR)
@takes(MOST_FORM_BYTES)
def check(name: str) -> Answer:
    """Judge it: the form again with what is wrong, or the difference to confirm."""
    draft = _draft(name)
    if refused := _refused(draft):
        return refused
    if "again" in request.form:
        return _form(draft)
    try:
        change = _change(draft)
    except Changed:
        return _clash(draft), 409
    except Problem as problem:
        return _form(draft, (Complaint(str(problem)),)), 422
    judgement = services().edits.judge(change)
    if judgement.refused:
        return _form(draft, judgement.refused), 422
    return _confirm(draft, change, judgement)


@area.post("/profile/<name>/write")
@needs(Role.OPERATOR)
@takes(MOST_FORM_BYTES)
def write(name: str) -> Answer:
    """Let the farm write what was confirmed."""
    draft = _draft(name)
    if refused := _refused(draft):
        return refused
    try:
        made = services().edits.want(_change(draft), who=who(), role=signed_in().role, why=draft.why)
    except Changed:
        return _clash(draft), 409
    except Problem as problem:
        return _form(draft, (Complaint(str(problem)),)), 422
    return redirect(url_for("profile_edits.change", name=name, number=made.id), code=303)


@area.get("/profile/<name>/change/<int:number>")
@needs(Role.VIEWER)
def change(name: str, number: int) -> str:
    found = services().edits.edit(number)
    return render_template("profile_change.html", name=name, edit=found, wrong=services().live.wrong())


def _draft(profile: str) -> Draft:
    form = request.form
    texts = [form.get(name, "").replace("\r\n", "\n") for name in ("text", "was")]
    return Draft(
        profile,
        form.get("file", "").strip(),
        texts[0],
        form.get("base", ""),
        texts[1],
        form.get("why", ""),
        deletes="delete" in form,
    )


def _refused(draft: Draft) -> Answer | None:
    """403 for a file that needs a higher role."""
    check_path(draft.profile, draft.name)
    try:
        check_role(signed_in().role, draft.name)
    except Problem as problem:
        return refuse(problem.message)
    return None


def _change(draft: Draft) -> Change:
    """Raises Changed when the file is not what it was, Problem for a text that cannot be."""
    now = services().edits.read(draft.profile, draft.name)
    if digest(now) != draft.base:
        raise Changed("somebody else changed it")
    content = None if draft.deletes else encode(draft.text)
    if digest(content) == digest(now):
        raise Problem("nothing is changed")
    return Change(draft.profile, draft.name, now, content)


def _form(draft: Draft, complaints: tuple[Complaint, ...] = ()) -> str:
    return render_template(
        "profile_edit.html",
        draft=draft,
        mistakes=[_mistake(one, draft) for one in complaints[:MOST_MISTAKES]],
        more=max(len(complaints) - MOST_MISTAKES, 0),
        may=signed_in().role.covers(who_may(draft.name)),
        needed=who_may(draft.name).value,
    )


def _mistake(one: Complaint, draft: Draft) -> Mistake:
    if (one.profile, one.name) != (draft.profile, draft.name) or not one.line:
        return Mistake(one)
    numbered = list(enumerate(draft.text.splitlines(), 1))
    return Mistake(one, tuple(numbered[max(one.line - 1 - AROUND, 0) : one.line + AROUND]))


def _confirm(draft: Draft, change: Change, judgement: Judgement) -> str:
    texts = [as_text(content or b"") or "" for content in (change.base, change.content)]
    return render_template(
        "profile_confirm.html",
        draft=draft,
        change=change,
        lines=_difference(*texts),
        judgement=judgement,
        foreseen=services().matching.foresee(change) if change.name == "profile.toml" else None,
        most_turns=MOST_TURNS,
        obstacle=services().edits.obstacle(change),
    )


def _difference(before: str, after: str) -> list[Line]:
    return difference(lines_of(before), lines_of(after))


def _clash(draft: Draft) -> str:
    """Somebody else was quicker: his text, what both changed, and both together to go on with."""
    content = services().edits.read(draft.profile, draft.name)
    now = as_text(content or b"") or ""
    merged = merge(draft.was, draft.text, now)
    return render_template(
        "profile_clash.html",
        draft=Draft(draft.profile, draft.name, merged.text, digest(content), now, draft.why),
        mine=draft.text,
        theirs=now,
        gone=content is None,
        their_lines=_difference(draft.was, now),
        my_lines=_difference(draft.was, draft.text),
        clashes=merged.clashes,
        may=signed_in().role.covers(who_may(draft.name)),
    )
