"""What becomes of each package, and the questions that stay open until a plan asks them no more."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.cli.plan import show_plan
from appliance.desks.planning import PlanningDesk
from appliance.desks.sync import SyncDesk
from appliance.farm_model import Package
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.store import Store
from buildfarm.complaints import Question, QuestionKind
from buildfarm.decisions import BUILT_OTHERWISE, Deed, PlanView, Row, decide, duration, sentence
from buildfarm.key import Recipe
from buildfarm.portage import Installed
from buildfarm.preview import Preview
from buildfarm.resolution import Choice, Resolution

MASKED = Question(QuestionKind.MASK, "app-misc/m", "masked", "package.unmask: =app-misc/m-1")


def choice(
    cpv: str, *, kind: str = "ebuild", replaces: str = "", reasons: tuple[str, ...] = ("new",)
) -> Choice:
    return Choice(cpv, "0/0", "tree", kind, replaces=replaces, reasons=reasons)


def installed(*cpvs: str) -> list[Installed]:
    return [Installed(cpv, 1, 100, "0") for cpv in cpvs]


RESOLUTION = Resolution(
    portage="3.0.83",
    method="private API",
    choices=(
        choice("a/new-1"),
        choice("a/up-2", replaces="a/up-1", reasons=("update",)),
        choice("a/known-1"),
        choice("a/offered-3", kind="binary", replaces="a/offered-2-r1", reasons=("update",)),
    ),
    uninstalls=("a/blocked-1",),
    needless=("a/orphan-1",),
    questions=(MASKED,),
)
THERE = installed("a/up-1", "a/offered-2-r1", "a/blocked-1", "a/stays-1", "a/orphan-1", "a/stale-1")


def decided() -> PlanView:
    return decide(
        RESOLUTION,
        THERE,
        {"a/known-1"},
        again=["a/stale-1"],
        why={"a/up-2": ["ebuild changed"]},
        seconds={"a/up-2": 100.0, "a/known-1": 7.0},
    )


def test_every_package_has_one_deed_and_its_reason() -> None:
    assert decided().rows == (
        Row(Deed.BUILD, "a/new-1", "", ("new",)),
        Row(Deed.BUILD, "a/up-2", "1", ("update", "ebuild changed"), 100.0),
        Row(Deed.REUSE, "a/known-1", "", ("new",)),
        Row(Deed.REUSE, "a/offered-3", "2-r1", ("update",)),
        Row(Deed.BUILD, "a/stale-1", "", (BUILT_OTHERWISE,)),
        Row(Deed.REMOVE, "a/blocked-1", reasons=("another package blocks it",)),
        Row(Deed.REMOVE, "a/orphan-1", reasons=("nothing needs it any more",)),
        Row(Deed.KEEP, "a/stays-1"),
    )


def test_totals_and_time() -> None:
    view = decided()
    assert view.totals == {Deed.BUILD: 3, Deed.REUSE: 2, Deed.KEEP: 1, Deed.REMOVE: 2}
    assert sentence(view) == "3 to build (2 min of building), 2 to reuse, 2 to remove, 1 kept"
    assert [duration(seconds) for seconds in (45, 720, 12600)] == ["45 s", "12 min", "3.5 h"]


def test_nothing_is_said_to_be_removed_when_the_resolver_did_not_say() -> None:
    view = decide(replace(RESOLUTION, needless=None), THERE, set())
    assert [row.cpv for row in view.of(Deed.REMOVE)] == ["a/blocked-1"]
    gave_up = decide(Resolution("3.0.83", "private API", complete=False), THERE, set())
    assert not gave_up.complete
    assert gave_up.totals[Deed.KEEP] == len(THERE)


def test_the_document_is_plain() -> None:
    document = decided().document()
    assert document["totals"] == {"build": 3, "reuse": 2, "keep": 1, "remove": 2}
    assert document["packages"][1]["deed"] == "build"
    assert document["questions"] == [
        {
            "kind": "mask",
            "subject": "app-misc/m",
            "text": "masked",
            "suggestion": "package.unmask: =app-misc/m-1",
        }
    ]


def test_what_is_shown_has_every_row_but_the_kept_ones_and_the_question(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_plan(decided())
    said = capsys.readouterr().out
    assert "a/up-2" in said
    assert "update; ebuild changed" in said
    assert "a/stays-1" not in said
    assert "? mask app-misc/m\n  this would help: package.unmask: =app-misc/m-1\n  | masked\n" in said
    show_plan(decided(), kept=True)
    assert "a/stays-1" in capsys.readouterr().out


def test_a_question_is_open_until_a_plan_asks_it_no_more(tmp_path: Path) -> None:
    questions = Store(tmp_path / "store.sqlite").questions
    mask, use = ("mask", "a/m", "text", ""), ("use", "a/u", "text", "package.use: a/u x")
    questions.update("vm", [mask, use], now=100.0)
    questions.update("other", [mask], now=150.0)
    # A clock that goes backwards must not close what is still asked.
    questions.update("vm", [("use", "a/u", "newer text", "")], now=90.0)
    (still,) = questions.open("vm")
    assert (still.subject, still.text, still.first_at, still.last_at) == ("a/u", "newer text", 100.0, 90.0)
    (gone,) = questions.closed("vm")
    assert (gone.subject, gone.closed_at) == ("a/m", 90.0)
    assert [(one.profile, one.subject) for one in questions.open()] == [("vm", "a/u"), ("other", "a/m")]
    # Asked again later it is a new question.
    questions.update("vm", [mask], now=300.0)
    assert [(one.subject, one.first_at) for one in questions.open("vm")] == [("a/m", 300.0)]


def test_a_rebuild_of_the_same_version_says_what_changed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    live, tree = LiveSite(tmp_path / "site"), Tree(tmp_path / "state")
    desk = PlanningDesk(live, tree, store, lambda: 0.0, SyncDesk(live, tree, store, lambda: 0.0))
    package = Package("5" * 64, "a/stale-1", 1, 100, "k1", 50.0, "")
    store.packages.remember(package, {"variable CFLAGS": "-O2", "USE": "x"})
    recipe = Recipe("a/stale-1", {"variable CFLAGS": "-O3", "USE": "x"})
    found = Preview(
        Resolution("3.0.83", "private API"),
        tuple(installed("a/stale-1")),
        {"a/stale-1": recipe},
        again=("a/stale-1",),
        packages=(package,),
    )
    assert desk.view(found).rows == (
        Row(Deed.BUILD, "a/stale-1", "", (BUILT_OTHERWISE, "CFLAGS: -O2 -> -O3")),
    )
