"""The audit log, for admins: filtered and paged by the store."""

from flask import Blueprint, render_template, request

from webui.access import Role, needs
from webui.context import services

area = Blueprint("audit", __name__)

LINES = 100


@area.get("/audit")
@needs(Role.ADMIN)
def audit() -> str:
    wanted = {name: request.args.get(name, "").strip() for name in ("who", "action", "subject")}
    desk = services().audit
    before = request.args.get("before", type=int)
    notes = desk.page(**wanted, before=before, limit=LINES + 1)
    older = notes[LINES - 1].id if len(notes) > LINES else None
    return render_template(
        "audit.html", notes=notes[:LINES], older=older, before=before, wanted=wanted, actions=desk.actions()
    )
