"""`distserver merge`: questions about configuration files, asked once and decided once for all machines."""

import argparse
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.remote import client
from appliance.desks.merge_files import MergeFilesDesk
from appliance.desks.merges import View
from appliance.errors import Problem
from appliance.merge_lines import Line, Mark, difference, lines_of
from appliance.merge_model import MOST_FILE_BYTES, Choice, Decision, serves
from appliance.store.merges import STATES
from appliance.timeline import clean

SIGNS = {Mark.GONE: "-", Mark.NEW: "+", Mark.SAME: " "}
PART = 200
REMOTE = "merges"


def add(commands: Commands) -> None:
    merge = commands.group("merge", "questions about configuration files: decided once for all machines")
    made = commands.add("list", cmd_list, "what is open, decided, or answered on machines only", of=merge)
    made.add_argument("which", nargs="?", choices=sorted(STATES), default="open")
    made.set_defaults(remote=list_remote)
    made = commands.add("show", cmd_show, "one question: who asks, what differs", of=merge)
    made.add_argument("number", type=int, metavar="NUMBER")
    text = "only print both changes in one text, to be edited and given to decide --file"
    made.add_argument("--proposed", action="store_true", help=text)
    made.set_defaults(remote=show_remote)
    made = commands.add("decide", cmd_decide, "answer it for all machines that ask it", of=merge)
    made.add_argument("number", type=int, metavar="NUMBER")
    made.add_argument("choice", nargs="?", choices=("ours", "theirs"))
    made.add_argument("--file", type=Path, help="neither of the two but this text; - reads it from stdin")
    made.add_argument("--why", default="", help="for those who look at it later")
    made.set_defaults(remote=decide_remote)
    text = "take a decision back; machines put their old files back"
    made = commands.add("undo", cmd_undo, text, of=merge)
    made.add_argument("number", type=int, metavar="NUMBER")
    made.add_argument("--why", default="")
    made.set_defaults(remote=undo_remote)
    commands.add("export", cmd_export, "write decisions into the site's merges/, for git", of=merge)
    commands.add("import", cmd_import, "take decisions from the site's merges/", of=merge)


def cmd_list(asked: argparse.Namespace) -> int:
    desk = services(asked).merges
    table = table_of("number", "path", "serves", "since", "decision")
    last = 0
    while part := desk.after(asked.which, last, limit=PART):
        last = part[-1].id
        for one in part:
            said = _decided(one.decision) if one.decision else ""
            who = serves(one.waiting, one.profiles)
            table.add_row(str(one.id), one.triple.path, who, _time(one.first_at), said)
    print_table(table)
    return 0


def cmd_show(asked: argparse.Namespace) -> int:
    view = services(asked).merges.view(asked.number)
    if asked.proposed:
        return _propose(view.proposed.text if view.proposed else None)
    question = view.question
    print(f"merge {question.id}: {clean(question.triple.path)}, {question.state}")
    for name, sha256 in zip(("base", "ours", "theirs"), question.triple.hashes, strict=True):
        print(f"  {name:6} {sha256 or 'no such file'}")
    if question.why:
        print(f"  why: {clean(question.why)}")
    print(f"  waits: {serves(question.waiting, question.profiles)}, since {_time(question.first_at)}")
    for asker in view.askers:
        print(f"  {asker.machine} {asker.name} {asker.state.value} {clean(asker.said)}".rstrip())
    for decision in view.history:
        print(f"  {_decided(decision)}")
    if not question.secret:
        _differences(view)
    return 0


def cmd_decide(asked: argparse.Namespace) -> int:
    choice, content = _choice(asked)
    desk = services(asked).merges
    made = desk.decide(asked.number, choice, content, why=asked.why)
    question = desk.question(asked.number)
    print(f"merge {question.id} of {question.triple.path}: {_decided(made)}")
    return 0


def cmd_undo(asked: argparse.Namespace) -> int:
    told = services(asked).merges.undo(asked.number, why=asked.why)
    print(f"merge {asked.number} is open again; {told} machines are told to put their old files back")
    return 0


def cmd_export(asked: argparse.Namespace) -> int:
    desk = services(asked)
    written, removed = MergeFilesDesk(desk.live, desk.merges).export()
    for file in written:
        print(file)
    print(f"{len(written)} files written, {removed} decisions removed that were taken back")
    return 0


def cmd_import(asked: argparse.Namespace) -> int:
    desk = services(asked)
    taken = MergeFilesDesk(desk.live, desk.merges).take()
    print(f"{taken.new} decisions taken, {taken.known} were known")
    for problem in taken.wrong:
        print(f"distserver: {problem}", file=sys.stderr)
    return 1 if taken.wrong else 0


def list_remote(asked: argparse.Namespace) -> int:
    table = table_of("number", "path", "serves", "since", "decision")
    for one in client(asked).all(REMOTE):
        if one["state"] == asked.which:
            who = serves(one["waiting"], one["profiles"])
            decided = one["decision"]
            said = f"{decided['choice']} by {decided['who']}" if decided else ""
            table.add_row(str(one["id"]), one["path"], who, _time(one["first_at"]), said)
    print_table(table)
    return 0


def show_remote(asked: argparse.Namespace) -> int:
    said: dict[str, Any] = client(asked).get(REMOTE, str(asked.number))
    if asked.proposed:
        return _propose(said["proposed"])
    one = said["merge"]
    print(f"merge {one['id']}: {clean(one['path'])}, {one['state']}")
    print(f"  waits: {serves(one['waiting'], one['profiles'])}, since {_time(one['first_at'])}")
    for decision in said["history"]:
        print(f"  {decision['choice']} by {decision['who']}, {_time(decision['at'])}")
    _print_difference(said["ours"], said["theirs"], "from ours to theirs")
    return 0


def decide_remote(asked: argparse.Namespace) -> int:
    choice, content = _choice(asked)
    try:
        body = {"choice": choice.value, "text": content.decode(), "why": asked.why}
    except UnicodeDecodeError as odd:
        raise Problem(f"{asked.file} is no text", hint="decide it on the server itself") from odd
    one = client(asked).post(REMOTE, str(asked.number), "decide", body=body)
    print(f"merge {one['id']} of {clean(one['path'])}: {one['decision']['choice']}")
    return 0


def undo_remote(asked: argparse.Namespace) -> int:
    one = client(asked).post(REMOTE, str(asked.number), "undo", body={"why": asked.why})
    print(f"merge {one['id']} is open again")
    return 0


def _choice(asked: argparse.Namespace) -> tuple[Choice, bytes]:
    if (asked.choice is None) == (asked.file is None):
        raise Problem("say one answer", hint="ours, theirs, or --file FILE")
    if asked.choice:
        return Choice(asked.choice), b""
    if str(asked.file) == "-":
        return Choice.TEXT, sys.stdin.buffer.read(MOST_FILE_BYTES + 1)
    try:
        with asked.file.open("rb") as file:
            return Choice.TEXT, file.read(MOST_FILE_BYTES + 1)
    except OSError as failed:
        raise Problem(f"{asked.file} cannot be read: {failed.strerror}") from failed


def _propose(text: str | None) -> int:
    if text is None:
        raise Problem("nothing can be proposed: not all three contents are here, or one is no text")
    print(text, end="")
    return 0


def _differences(view: View) -> None:
    _print_difference(view.base.text, view.ours.text, "what the machines changed")
    _print_difference(view.base.text, view.theirs.text, "what the release changes")
    if view.result:
        _print_difference(view.ours.text, view.result.text, "what machines get")


def _print_difference(before: str | None, after: str | None, said: str) -> None:
    print(f"\n{said}:")
    if before is None or after is None:
        print("  not shown: a content is not here, or is no text")
        return
    for one in difference(lines_of(before), lines_of(after)):
        print(_line(one))


def _line(one: Line) -> str:
    return f"  … {one.text} lines" if one.mark is Mark.FOLD else f"  {SIGNS[one.mark]} {one.text}"


def _decided(one: Decision) -> str:
    ended = f"; {one.ended.value} by {one.ended_by}: {clean(one.ended_why)}" if one.ended else ""
    why = f", {clean(one.why)}" if one.why else ""
    return f"{one.choice.value} by {one.who}, {_time(one.at)}{why}{ended}"


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
