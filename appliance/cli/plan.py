"""`distserver plan` and `distserver question`: what a build would do, and what it needs to know."""

import argparse
import json
import sys
from datetime import datetime

from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.remote import client, done_errand
from buildfarm.build import Progress
from buildfarm.complaints import Question, QuestionKind
from buildfarm.decisions import Deed, PlanView, Row, duration, sentence

MOST_SECONDS = 3600.0


def add(commands: Commands) -> None:
    made = commands.add("plan", cmd_plan, "what a build of a profile would do; nothing is changed")
    made.add_argument("profile")
    made.add_argument("--all", action="store_true", help="also the packages that are kept")
    made.add_argument("--json", action="store_true", help="everything, for programs")
    made.set_defaults(remote=remote_plan)
    group = commands.group("question", "what only a person can decide")
    made = commands.add("list", cmd_question_list, "open questions, the oldest first", of=group)
    made.add_argument("profile", nargs="?")
    made.add_argument("--settled", action="store_true", help="those that were asked once and are no more")


def cmd_plan(asked: argparse.Namespace) -> int:
    """Status 0: a build can run; 2: the resolver gave up and has questions."""

    def show(progress: Progress) -> None:
        print(f"{datetime.now():%H:%M:%S} {progress}", file=sys.stderr, flush=True)

    view = services(asked).planning.plan(asked.profile, show)
    if asked.json:
        print(json.dumps(view.document(), indent=1))
    else:
        show_plan(view, kept=asked.all)
    return 0 if view.complete else 2


def remote_plan(asked: argparse.Namespace) -> int:
    """The same, found out by the farm of another host."""
    server, place = client(asked), ("profiles", asked.profile)
    done_errand(server, server.post(*place, "plan")["id"], *place, seconds=MOST_SECONDS)
    said = server.get(*place, "plan")
    if asked.json:
        print(json.dumps(said, indent=1))
        return 0 if said["complete"] else 2
    questions = (Question(QuestionKind(one.pop("kind")), **one) for one in said["questions"])
    rows = (
        Row(Deed(r["deed"]), r["package"], r["before"], tuple(r["reasons"]), r["seconds"])
        for r in said["packages"]
    )
    show_plan(PlanView(tuple(rows), tuple(questions), said["complete"]), kept=asked.all)
    return 0 if said["complete"] else 2


def show_plan(view: PlanView, *, kept: bool = False) -> None:
    table = table_of("action", "package", "from", "expected", "why")
    for row in view.rows:
        if row.deed is not Deed.KEEP or kept:
            expected = duration(row.seconds) if row.seconds is not None else ""
            table.add_row(row.deed.value, row.cpv, row.before, expected, "; ".join(row.reasons))
    if table.row_count:
        print_table(table)
    print(sentence(view) if view.complete else "the resolver gave up: nothing can be built")
    if view.portage:
        print(f"Portage {view.portage}, {view.method}")
    for question in view.questions:
        _show_question(question)


def _show_question(question: Question) -> None:
    print(f"\n? {question.kind.value} {question.subject}")
    if question.suggestion:
        print(f"  this would help: {question.suggestion}")
    print("\n".join(f"  | {line}" for line in question.text.splitlines()))


def cmd_question_list(asked: argparse.Namespace) -> int:
    table = table_of("profile", "kind", "about", "since", "last asked", "this would help")
    for one in services(asked).planning.questions(asked.profile, settled=asked.settled):
        times = (_time(one.first_at), _time(one.last_at))
        table.add_row(one.profile, one.kind, one.subject, *times, one.suggestion)
    print_table(table)
    return 0


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"
