"""Releases: their list, what one holds, what changes from one to another, and where channels name them."""

from typing import TypeVar

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.channels import NAMES, STABLE
from appliance.errors import Problem
from appliance.store.errands import ErrandKind
from webui.access import Role, needs
from webui.context import services, who
from webui.paging import Sheet, sheet_of

Row = TypeVar("Row")

area = Blueprint("releases", __name__)

MOST_NEIGHBOURS = 50
"""Releases that are offered to compare with; the address takes any."""
MOST_LINES = 200
"""Files and options of the kernel that a page of what changes names; the command line names all."""
MOVE = "<any(promote, rollback, pin, unpin, verify):move>"


@area.get("/releases")
@needs(Role.VIEWER)
def releases() -> str:
    desk, profile = services(), request.args.get("profile", "")
    sheet = sheet_of(request.args, desk.release_desk.count(profile))
    return render_template(
        "releases.html",
        profile=profile,
        sheet=sheet,
        releases=desk.release_desk.page(profile, limit=sheet.size, offset=sheet.offset),
        profiles=[one.name for one in desk.profiles()],
    )


@area.get("/release/<release>")
@needs(Role.VIEWER)
def release(release: str) -> str:
    desk = services()
    catalogue = desk.release_desk
    listed = catalogue.listed(release)
    profile = listed.release.profile
    neighbours = catalogue.page(profile, limit=MOST_NEIGHBOURS)
    return render_template(
        "release.html",
        release=release,
        listed=listed,
        kernel=catalogue.kernel(release),
        standing=catalogue.standing(profile),
        errands=desk.errands.last(profile),
        others=[one.release for one in neighbours if one.release.id != release],
        manifest=catalogue.manifest(release),
        images=desk.downloads.of_release(release),
        channels=NAMES,
    )


@area.get("/release/<release>/packages")
@needs(Role.VIEWER)
def packages(release: str) -> str:
    desk, text = services().release_desk, request.args.get("text", "").strip()
    held = desk.held(release, text)
    sheet = sheet_of(request.args, len(held))
    return render_template(
        "release_packages.html", release=release, text=text, sheet=sheet, rows=part(held, sheet)
    )


@area.get("/release/<release>/diff")
@needs(Role.VIEWER)
def diff(release: str) -> str:
    desk, before = services().release_desk, before_of(release)
    found = desk.diff(before, release)
    rows = found.rows()
    sheet = sheet_of(request.args, len(rows))
    return render_template(
        "release_diff.html",
        release=release,
        before=before,
        diff=found,
        sheet=sheet,
        rows=part(rows, sheet),
        most=MOST_LINES,
    )


def before_of(release: str) -> str:
    """What the address names to compare with; else the release before."""
    return request.args.get("before", "").strip() or services().release_desk.older(release)


@area.get("/release/<release>/diff/file")
@needs(Role.VIEWER)
def file_change(release: str) -> str:
    before, path = before_of(release), request.args.get("path", "")
    change = services().release_desk.file_change(before, release, path)
    return render_template("release_file.html", release=release, before=before, change=change)


@area.get("/channels/<profile>")
@needs(Role.VIEWER)
def channels(profile: str) -> str:
    desk = services()
    catalogue = desk.release_desk
    moves = sorted(catalogue.history(profile), key=lambda one: (-one.at, one.channel, -one.serial))
    standing = catalogue.standing(profile)
    if not moves and profile not in {one.name for one in desk.profiles()}:
        raise Problem(f"there is no profile {profile}", hint="the overview shows those there are")
    sheet = sheet_of(request.args, len(moves))
    refusal = catalogue.refusal(profile)
    return render_template(
        "release_channels.html",
        profile=profile,
        standing=standing,
        errands=desk.errands.last(profile),
        refusal=refusal,
        reasons=desk.builds.reasons(refusal) if refusal else [],
        rollouts=desk.clients.rollouts(profile),
        sheet=sheet,
        moves=part(moves, sheet),
    )


@area.post(f"/channels/<profile>/{MOVE}")
@needs(Role.OPERATOR)
def ask(profile: str, move: str) -> Response:
    """The farm does it: a page looks at the channels again when it is done."""
    form = request.form
    try:
        services().errands.want(
            ErrandKind(move),
            profile,
            channel=form.get("channel", STABLE),
            release=form.get("release", "").strip(),
            who=who(),
            why=form.get("why", ""),
        )
    except Problem as problem:
        flash(f"{problem.message}{f': {problem.hint}' if problem.hint else ''}", "error")
    else:
        flash("The farm does it now; this page says what came of it.", "done")
    return redirect(url_for("releases.channels", profile=profile), code=303)


@area.post("/channels/<profile>/go-on")
@needs(Role.OPERATOR)
def go_on(profile: str) -> Response:
    """Let every machine have a release that waits for the first ones, or was stopped."""
    form = request.form
    try:
        made = services().clients.go_on(
            profile, form.get("channel", STABLE), why=form.get("why", ""), who=who()
        )
    except Problem as problem:
        flash(f"{problem.message}{f': {problem.hint}' if problem.hint else ''}", "error")
    else:
        flash(f"Every machine on {made.channel} gets {made.release} when its turn comes.", "done")
    return redirect(url_for("releases.channels", profile=profile), code=303)


def part(rows: list[Row], sheet: Sheet) -> list[Row]:
    return rows[sheet.offset : sheet.offset + sheet.size]
