"""Configuration merges in the API: listed, shown, decided and taken back."""

from appliance.account_model import Role
from appliance.merge_model import MOST_FILE_BYTES
from appliance.services import Services
from webui.api.merge_shapes import (
    Merge,
    MergeChoice,
    MergeQuery,
    MergeShown,
    MergeUndo,
    decision,
    merge,
)
from webui.api.operation import Absent, Operation, Page, cut, looking

MOST_BYTES = 8 * MOST_FILE_BYTES
"""Of a body with a text: JSON may write a byte as six."""
PATH = "/merges/{merge}"


def list_merges(desk: Services, query: MergeQuery) -> Page:
    found = desk.merges.after(query.state, int(query.cursor or 0), limit=query.limit + 1)
    return cut([merge(one) for one in found], query.limit, lambda one: str(one.id))


def show_merge(desk: Services, number: str) -> MergeShown:
    view = desk.merges.view(find(desk, number))
    secret = view.question.secret
    base, ours, theirs = (None if secret else one.text for one in (view.base, view.ours, view.theirs))
    proposed = None if secret or view.proposed is None else view.proposed.text
    history = tuple(decision(one) for one in view.history)
    return MergeShown(merge(view.question), base, ours, theirs, proposed, history)


def decide_merge(desk: Services, number: str, body: MergeChoice) -> Merge:
    found = find(desk, number)
    desk.merges.decide(found, body.choice, body.text.encode(), why=body.why)
    return merge(desk.merges.question(found))


def undo_merge(desk: Services, number: str, body: MergeUndo) -> Merge:
    found = find(desk, number)
    desk.merges.undo(found, why=body.why)
    return merge(desk.merges.question(found))


def find(desk: Services, number: str) -> int:
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise Absent(f"there is no merge {number[:40]}", hint="/api/v1/merges lists those there are")
    with looking():
        return desk.merges.question(int(number)).id


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listMerges", "GET", "/merges", Role.VIEWER,
        "Questions about configuration files, each asked once for all machines.", list_merges,
        Merge, listed=True, query=MergeQuery,
    ),
    Operation(
        "showMerge", "GET", PATH, Role.OPERATOR, "One question with its contents.", show_merge, MergeShown,
    ),
    Operation(
        "decideMerge", "POST", f"{PATH}/decide", Role.OPERATOR, "Answer it for every machine that asks it.",
        decide_merge, Merge, body=MergeChoice, most_bytes=MOST_BYTES,
    ),
    Operation(
        "undoMerge", "POST", f"{PATH}/undo", Role.OPERATOR,
        "Take a decision back; machines put their old files back.", undo_merge, Merge, body=MergeUndo,
    ),
)  # fmt: skip
