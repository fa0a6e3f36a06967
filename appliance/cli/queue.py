"""`distserver queue`: what is being built, what waits and why, and when all of it will be done."""

import argparse
from datetime import datetime

from appliance.backlog import span
from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.remote import client
from appliance.desks.backlog import Board


def add(commands: Commands) -> None:
    text = "what is being built, what waits and why, and when all of it will be done"
    commands.add("queue", cmd_queue, text).set_defaults(remote=remote_queue)


def cmd_queue(asked: argparse.Namespace) -> int:
    board = services(asked).backlog.board()
    table = table_of("profile", "state", "since", "expected end", "why")
    for row in rows(board):
        table.add_row(*row)
    print_table(table)
    print(summary(board))
    return 0


def remote_queue(asked: argparse.Namespace) -> int:
    """The same from afar: what runs and waits there."""
    table = table_of("profile", "state", "since", "expected end", "why")
    places = client(asked).get("queue")["items"]
    for one in places:
        table.add_row(
            one["profile"], one["state"], when(one["since"]), when(one["expected_end"]), one["said"]
        )
    print_table(table)
    return 0


def rows(board: Board) -> list[tuple[str, str, str, str, str]]:
    """Running, waiting in their order, failed, replaced."""
    found = []
    for job in board.running:
        took = f"for {span(board.now - job.started_at)}"
        said = f"{job.message}; newer inputs wait" if job.superseded_at else job.message
        found.append((job.profile, "running", took, when(board.ends_at(job.profile)), said))
    for number, one in enumerate(board.waiting, 1):
        waited = f"for {span(board.now - one.task.since)}"
        why = f"next, {one.why}" if one.starts else one.why
        urgent = "security update; " if one.task.security and not one.starts else ""
        end = when(board.ends_at(one.task.profile))
        found.append((one.task.profile, f"waiting {number}", waited, end, f"{urgent}{why}"))
    found += [
        (job.profile, job.state, when(job.ended_at), "", f"{job.failure}: {job.message}".removeprefix(": "))
        for job in (*board.failed, *board.replaced)
    ]
    return found


def summary(board: Board) -> str:
    if not board.running and not board.waiting:
        return "nothing runs and nothing waits"
    left = span(board.drained_at - board.now)
    return f"{len(board.running)} running, {len(board.waiting)} waiting; all done in about {left}"


def when(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at):%a %H:%M}" if at else ""
