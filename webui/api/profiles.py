"""Profiles in the API: where their values come from, and their files, which change only as they were read."""

from appliance.account_model import Role
from appliance.edit_model import MOST_BYTES, Change, Changed, check_path, check_role, digest, encode
from appliance.errors import Problem
from appliance.services import Services
from appliance.whence import as_text
from webui.api import profile_shapes as shapes
from webui.api.operation import Absent, Forbidden, Operation, Page, looking
from webui.context import signed_in

PROFILE = "/profiles/{profile}"
FILE = f"{PROFILE}/file"
MOST_BODY = 8 * MOST_BYTES
"""Of a body with a text: JSON may write a byte as six."""


def show_site(desk: Services) -> shapes.SiteState:
    wrong = desk.live.wrong()
    return shapes.SiteState(desk.live.now().name, wrong.complaints if wrong else ())


def list_values(desk: Services, profile: str) -> Page:
    with looking():
        return Page(shapes.values(desk.profile_desk.look(profile).whence), None)


def list_files(desk: Services, profile: str) -> Page:
    with looking():
        found = desk.edits.files(profile)
    if not found:
        raise Absent(f"the site has no profile {profile}", hint="/api/v1/profiles lists those there are")
    return Page(
        tuple(shapes.ProfileFile(one.name, one.size_bytes, one.role, one.is_link) for one in found), None
    )


def show_file(desk: Services, profile: str, query: shapes.FileQuery) -> shapes.ProfileText:
    with looking():
        content = desk.edits.read(profile, query.name)
    text = as_text(content) if content is not None else None
    if text is None:
        raise Absent(f"profile {profile} has no text {query.name}", hint=f"/api/v1/profiles/{profile}/files")
    return shapes.ProfileText(profile, query.name, text, digest(content))


def list_changes(desk: Services, profile: str) -> Page:
    return Page(tuple(shapes.change(one) for one in desk.edits.last(profile)), None)


def write_file(desk: Services, profile: str, read: str, body: shapes.FileText) -> shapes.ProfileChange:
    return _want(desk, profile, body.name, read, encode(body.text), body.why)


def delete_file(desk: Services, profile: str, read: str, query: shapes.DeleteQuery) -> shapes.ProfileChange:
    return _want(desk, profile, query.name, read, None, query.why)


def _want(
    desk: Services, profile: str, name: str, read: str, content: bytes | None, why: str
) -> shapes.ProfileChange:
    """Let the farm make it of the file that has the hash `read`; empty: there must be none."""
    check_path(profile, name)
    role = signed_in().role
    try:
        check_role(role, name)
    except Problem as problem:
        raise Forbidden(problem.message) from problem
    now = desk.edits.read(profile, name)
    if digest(now) != read:
        said = f"{name} of profile {profile} is not what it was" if now is not None else f"there is no {name}"
        raise Changed(said, hint=f"GET /api/v1/profiles/{profile}/file shows what it is")
    change = Change(profile, name, now, content)
    return shapes.change(desk.edits.want(change, who=desk.audit.who, role=role, why=why))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "showSite", "GET", "/site", Role.VIEWER,
        "The site's name, and its mistakes while the last good one is in force.", show_site, shapes.SiteState,
    ),
    Operation(
        "listProfileValues", "GET", f"{PROFILE}/values", Role.VIEWER,
        "Every value of a profile with the file and line it comes from.", list_values,
        shapes.ProfileValue, listed=True,
    ),
    Operation(
        "listProfileFiles", "GET", f"{PROFILE}/files", Role.VIEWER, "The files of a profile.", list_files,
        shapes.ProfileFile, listed=True,
    ),
    Operation(
        "showProfileFile", "GET", FILE, Role.VIEWER, "The text of one file.", show_file, shapes.ProfileText,
        query=shapes.FileQuery, tag="sha256",
    ),
    Operation(
        "writeProfileFile", "PUT", FILE, Role.OPERATOR,
        "Let the farm write a file, when the whole site reads with it; most files need an admin.", write_file,
        shapes.ProfileChange, body=shapes.FileText, status=202, most_bytes=MOST_BODY, as_read=True,
    ),
    Operation(
        "deleteProfileFile", "DELETE", FILE, Role.OPERATOR, "Let the farm delete a file.", delete_file,
        shapes.ProfileChange, query=shapes.DeleteQuery, status=202, as_read=True,
    ),
    Operation(
        "listProfileChanges", "GET", f"{PROFILE}/changes", Role.VIEWER,
        "What was asked for of a profile's files and what came of it, the newest first.", list_changes,
        shapes.ProfileChange, listed=True,
    ),
)  # fmt: skip
