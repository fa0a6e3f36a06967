"""Portage's resolver through its private API and through emerge: several releases, one answer."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from buildfarm import inside, planning, portage
from buildfarm.planning import Method
from buildfarm.reference_recipes import PORTAGE
from buildfarm.resolution import Choice, Question, QuestionKind, Resolution
from buildfarm.stage import Stage
from tests.integration import portages, puzzles
from tests.integration.puzzles import Puzzles

OWN = PORTAGE.partition("==")[2]
OTHERS = ("3.0.77", "3.0.69.1", "3.0.63")
ONE = [*portage.RESOLVE, "--oneshot"]
A = "app-misc/"
SOLVABLE = (
    *("chain", "colors", "any", "wants-thing", "so", "user", "shifting", "tuned", "grown", "shrunk", "leaf"),
    *("both", "own", "slots:1", "slots:2", "new-name"),
)
PLANS: Mapping[str, list[str]] = {
    "solvable": [*ONE, *(A + name for name in SOLVABLE)],
    "from nothing": [*portage.RESOLVE, "--emptytree", "--usepkg=n", "--oneshot", A + "user", A + "chain"],
    "only binaries": [*ONE, "--usepkgonly", A + "user", A + "leaf", A + "grown"],
    "from afar": [*ONE, "--getbinpkgonly", "--emptytree", A + "user", A + "leaf"],
    "world": [*portage.RESOLVE, "@world"],
    "skipped": [*ONE, A + "needs-one", A + "lib"],
    "conflict": [*ONE, A + "needs-one", A + "needs-two"],
    "hard": [*ONE, A + "hard", A + "victim"],
    "soft": [*ONE, A + "soft", A + "victim"],
    "no such set": [*ONE, "@nosuch"],
    **{
        name: [*ONE, A + name]
        for name in (
            *(
                "masked",
                "wants-masked",
                "wants-testing",
                "alien",
                "wants-evil",
                "wants-no-flag",
                "wants-much",
            ),
            *("required", "wants-required", "egg", "wants-absent"),
        )
    },
}
UNANSWERED: Mapping[str, list[tuple[str, str, str]]] = {
    "world": [
        ("missing", "app-misc/absent", ""),
        ("missing", "app-misc/masked", "package.unmask: =app-misc/masked-1"),
        ("missing", "app-misc/testing", "package.accept_keywords: =app-misc/testing-1 ~amd64"),
    ],
    "skipped": [("skipped", "app-misc/lib:0", "")],
    "conflict": [
        (
            "slot-conflict",
            "app-misc/lib:0",
            "package.mask: =app-misc/lib-2 or package.mask: =app-misc/lib-1",
        )
    ],
    "no such set": [("set", "nosuch", "")],
    "masked": [("mask", "app-misc/masked", "package.unmask: =app-misc/masked-1")],
    "wants-masked": [("mask", "app-misc/masked", "package.unmask: =app-misc/masked-1")],
    "wants-testing": [("keyword", "app-misc/testing", "package.accept_keywords: =app-misc/testing-1 ~amd64")],
    "alien": [("keyword", "app-misc/alien", "package.accept_keywords: =app-misc/alien-1 **")],
    "wants-evil": [("license", "app-misc/evil", "package.license: >=app-misc/evil-1 Evil")],
    "wants-no-flag": [("unsatisfied", "app-misc/flag[nosuch]", "")],
    "wants-much": [
        ("use", "app-misc/flag", "package.use: >=app-misc/flag-1 fast"),
        ("keyword", "app-misc/testing", "package.accept_keywords: =app-misc/testing-1 ~amd64"),
        ("license", "app-misc/evil", "package.license: >=app-misc/evil-1 Evil"),
    ],
    "required": [("required-use", "app-misc/required", "package.use: app-misc/required two")],
    "wants-required": [("required-use", "app-misc/required", "package.use: app-misc/required two")],
    "egg": [("cycle", "app-misc/egg app-misc/hen", "package.use: =app-misc/egg-1 -hatch")],
    "wants-absent": [("unsatisfied", "app-misc/absent", "")],
}


@pytest.fixture(scope="module")
def riddles(tmp_path_factory: pytest.TempPathFactory, build_stage: Stage) -> Puzzles:
    return puzzles.make(tmp_path_factory.mktemp("puzzles"), build_stage)


def answers(riddles: Puzzles, version: str, method: Method) -> dict[str, Resolution]:
    laid = [portages.layer(version, riddles.stage)] if version else []
    sandbox = riddles.sandbox(f"{version}-{method}", *laid)
    return planning.parse(inside.ask(sandbox, {"plan": planning.question(PLANS, method=method)})["plan"])


@pytest.fixture(scope="module")
def own(riddles: Puzzles) -> dict[str, Resolution]:
    return answers(riddles, "", "private")


def plain(resolution: Resolution) -> Resolution:
    """Without what only one of the two ways can say."""
    return replace(resolution, method="", needless=None)


def without_words(resolution: Resolution) -> Resolution:
    """What has to be the same whatever the release: only its wording differs."""
    questions = tuple(replace(one, text="") for one in resolution.questions)
    return replace(resolution, portage="", method="", questions=questions)


def shown(questions: tuple[Question, ...]) -> list[tuple[str, str, str]]:
    return [(one.kind.value, one.subject, one.suggestion) for one in questions]


def test_the_private_api_of_the_stage_is_used(own: dict[str, Resolution]) -> None:
    assert {one.method for one in own.values()} == {"private API"}
    assert {one.portage for one in own.values()} == {OWN}


def test_what_is_chosen_and_why(own: dict[str, Resolution]) -> None:
    found = own["solvable"]
    assert found.complete
    assert found.questions == ()
    assert found.uninstalls == ("app-misc/old-name-1",)
    choices = {one.cpv: one for one in found.choices}
    assert {cpv: one.reasons for cpv, one in choices.items()} == {
        **{f"app-misc/{name}": ("new",) for name in ("chain-1", "twig-1", "plain-1", "colors-1", "any-1")},
        **{f"app-misc/{name}": ("new",) for name in ("wants-thing-1", "both-2", "own-1", "new-name-1")},
        **{f"app-misc/{name}": ("new",) for name in ("slots-1", "slots-2")},
        "virtual/thing-0": ("new",),
        "app-misc/so-2": ("update",),
        "app-misc/user-1": ("rebuilt for app-misc/so-2",),
        "app-misc/shifting-1": ("changed dependencies",),
        "app-misc/tuned-1": ("USE +extra",),
        "app-misc/grown-2": ("update",),
        "app-misc/shrunk-1": ("downgrade",),
    }
    assert choices["app-misc/colors-1"] == Choice(
        cpv="app-misc/colors-1",
        slot="0/0",
        repository="puzzles",
        kind="ebuild",
        use=("colors_blue",),
        disabled=("colors_red",),
        reasons=("new",),
    )
    assert choices["app-misc/both-2"].repository == "overlay"
    assert choices["app-misc/so-2"].slot == "0/2"
    assert choices["app-misc/so-2"].replaces == "app-misc/so-1"
    assert choices["app-misc/chain-1"].needs == ("app-misc/plain-1", "app-misc/twig-1")
    assert choices["app-misc/wants-thing-1"].needs == ("virtual/thing-0",)
    order = list(choices)
    assert all(order.index(need) < order.index(one.cpv) for one in found.choices for need in one.needs)


def test_from_nothing_means_ebuilds_only(own: dict[str, Resolution]) -> None:
    assert {one.kind for one in own["from nothing"].choices} == {"ebuild"}
    names = {one.cpv for one in own["from nothing"].choices}
    assert names == {f"app-misc/{name}" for name in ("so-2", "user-1", "chain-1", "plain-1", "twig-1")}


def test_everything_unsolved_is_a_question_with_its_way_out(own: dict[str, Resolution]) -> None:
    asked = {name: shown(one.questions) for name, one in own.items() if name not in ("hard", "soft")}
    assert {name: questions for name, questions in asked.items() if questions} == UNANSWERED
    ends = {name for name, one in own.items() if one.complete}
    assert ends == {"solvable", "from nothing", "only binaries", "from afar", "world", "skipped"}


def test_binaries_have_build_ids_and_the_flags_they_were_built_with(own: dict[str, Resolution]) -> None:
    found = own["from afar"]
    assert [(one.cpv, one.kind, one.build_id) for one in found.choices] == [
        ("app-misc/so-1", "binary", 1),
        ("app-misc/leaf-1", "binary", 1),
        ("app-misc/user-1", "binary", 1),
    ]
    assert found.choices[2].needs == ("app-misc/so-1",)


@pytest.mark.parametrize("how", ["hard", "soft"])
def test_a_blocker_names_both_sides(own: dict[str, Resolution], how: str) -> None:
    (question,) = own[how].questions
    assert question.kind is QuestionKind.BLOCKER
    assert question.subject == "app-misc/victim"
    assert question.text.startswith(f"app-misc/victim is {how} blocking app-misc/{how}-1\n")
    assert "pulled in by\n    app-misc/victim" in question.text


@pytest.mark.parametrize("version", ["", *OTHERS])
def test_other_releases_and_the_fallback_answer_the_same(
    riddles: Puzzles, own: dict[str, Resolution], version: str
) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(answers, riddles, version, "private") if version else None
        public = answers(riddles, version, "public")
        private = asked.result() if asked else own
    assert {one.method for one in private.values()} == {"private API"}
    assert {one.method for one in public.values()} == {"emerge --pretend"}
    assert {one.portage for one in (*private.values(), *public.values())} == {version or OWN}
    assert {n: plain(one) for n, one in public.items()} == {n: plain(one) for n, one in private.items()}
    expected = {name: without_words(one) for name, one in own.items()}
    assert {name: without_words(one) for name, one in private.items()} == expected


def test_a_private_api_that_is_gone_is_not_needed(riddles: Puzzles, own: dict[str, Resolution]) -> None:
    """Another name for a function of actions.py that only emerge itself uses, besides us."""
    changed = riddles.path / "changed"
    module = changed / "usr/lib/python3/dist-packages/_emerge/actions.py"
    module.parent.mkdir(parents=True)
    source = (riddles.stage.root / module.relative_to(changed)).read_text()
    assert "ensure_required_sets" in source
    module.write_text(source.replace("ensure_required_sets", "have_required_sets"))
    found = planning.resolve(riddles.sandbox("changed-private", changed), PLANS["solvable"])
    assert found.method.startswith("emerge --pretend, because of ImportError")
    assert plain(found) == plain(own["solvable"])
