"""The backlog's decisions: order, who runs side by side, memory, retries, and when all is done."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backlog import (
    GIB,
    SECURITY_HEAD_START,
    Expected,
    Rules,
    Running,
    Task,
    build_seconds,
    critical_path,
    fewer_jobs,
    gives_way,
    leading_kind,
    order,
    retry_at,
    schedule,
    span,
)
from appliance.forecast import drained_at, forecast

HOUR = 3600.0
DAY = 24 * HOUR
NOW = 100 * DAY
RULES = Rules(workers=2, memory_bytes=8 * GIB, staleness_seconds=DAY, jobs=4)


def task(
    profile: str,
    *,
    hours: float = 1.0,
    age: float = 0.0,
    gib: float = 1.0,
    work: str = "",
    security: bool = False,
    not_before: float = 0.0,
) -> Task:
    expected = Expected(hours * HOUR, int(gib * GIB))
    labels = frozenset(work.split())
    return Task(profile, "now", NOW - age, expected, security, labels, not_before)


def starts(tasks: list[Task], running: list[Task] | None = None, rules: Rules = RULES) -> list[str]:
    inside = [Running(one, NOW) for one in running or []]
    return [one.task.profile for one in schedule(tasks, inside, rules, NOW) if one.starts]


def why(tasks: list[Task], running: list[Task], profile: str, rules: Rules = RULES) -> str:
    inside = [Running(one, NOW) for one in running]
    (found,) = [one.why for one in schedule(tasks, inside, rules, NOW) if one.task.profile == profile]
    return found


def ordered(*tasks: Task) -> str:
    return "".join(one.profile for one in order(tasks, RULES, NOW))


def test_a_security_update_goes_first_then_what_waited_too_long_then_the_longest() -> None:
    a, b = task("a", hours=1), task("b", hours=5)
    c, d = task("c", hours=2, age=2 * DAY), task("d", hours=0.1, security=True)
    assert ordered(a, b, c, d) == "dcba"


def test_ties_go_to_the_older_one_and_then_by_name() -> None:
    assert ordered(task("b"), task("a"), task("c", age=60)) == "cab"


def test_a_security_update_does_not_pass_what_waited_longer_than_its_head_start() -> None:
    ancient = task("ancient", age=(SECURITY_HEAD_START + 1) * DAY)
    recent = task("recent", age=(SECURITY_HEAD_START - 1) * DAY)
    assert [one.profile for one in order([recent, ancient, task("s", security=True)], RULES, NOW)] == [
        "ancient",
        "s",
        "recent",
    ]


def test_profiles_that_would_build_the_same_packages_do_not_run_side_by_side() -> None:
    first, same, other = task("a", work="x y", hours=3), task("b", work="y", hours=2), task("c", work="z")
    assert starts([first, same, other]) == ["a", "c"]
    assert why([same], [first], "b") == "a builds the same packages, which it then reuses"


def test_a_later_task_with_the_same_packages_does_not_pass_an_earlier_one() -> None:
    running = [task("r", work="x")]
    earlier, later = task("a", work="x y", hours=3), task("b", work="y")
    assert starts([earlier, later], running) == []
    assert "a comes first" in why([earlier, later], running, "b")


def test_never_more_builds_than_workers() -> None:
    tasks = [task(name) for name in "abcd"]
    assert starts(tasks) == ["a", "b"]
    assert why(tasks, [], "c") == "all 2 workers are busy"
    assert why(tasks, [], "b", replace(RULES, workers=1)) == "the worker is busy"


def test_one_profile_is_never_built_twice_at_once() -> None:
    assert starts([task("a")], [task("a")]) == []
    assert why([task("a")], [task("a")], "a") == "an older build of it still runs"


def test_a_build_waits_until_its_memory_is_free_and_a_smaller_one_may_go_before() -> None:
    big, small = task("big", gib=6, hours=9), task("small", gib=1)
    assert starts([big, small], [task("r", gib=4)]) == ["small"]
    assert why([big], [task("r", gib=4)], "big") == "it needs 6.0 GiB of memory, 4.0 GiB are left"


def test_nothing_passes_an_urgent_build_that_waits_for_memory() -> None:
    big, small = task("big", gib=6, age=2 * DAY), task("small", gib=1)
    assert starts([big, small], [task("r", gib=4)]) == []
    assert why([big, small], [task("r", gib=4)], "small") == "big waits for memory and comes first"


def test_a_build_that_never_fits_runs_alone_with_fewer_jobs() -> None:
    huge, small = task("huge", gib=16, hours=9), task("small")
    (first, second) = schedule([huge, small], [], RULES, NOW)
    assert first.starts
    assert first.jobs == 2
    assert not second.starts
    assert starts([huge], [small]) == []
    assert fewer_jobs(task("huge", gib=1000), RULES) == 1


def test_after_running_out_of_memory_a_task_has_fewer_jobs() -> None:
    (decision,) = schedule([replace(task("a"), jobs=2)], [], RULES, NOW)
    assert decision.jobs == 2


def test_what_failed_waits_for_its_time_and_stands_in_nobodys_way() -> None:
    failed, other = task("a", work="x", not_before=NOW + 600), task("b", work="x")
    assert starts([failed, other]) == ["b"]
    assert why([failed], [], "a") == "it failed and is tried again in 10 min"


def test_a_running_build_is_finished_unless_newer_inputs_wait_longer_than_the_bound() -> None:
    running = Running(task("a"), NOW - 3 * DAY)
    assert not gives_way(running, RULES, NOW)
    assert not gives_way(replace(running, superseded_at=NOW - DAY), RULES, NOW)
    stale = replace(running, superseded_at=NOW - DAY - 1)
    assert gives_way(stale, RULES, NOW)
    # Its successor is finished, whatever comes: a profile that is slower than its tree publishes, too.
    assert not gives_way(replace(stale, successor=True), RULES, NOW + 100 * DAY)


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        ("compile", [DAY, 2 * DAY, 4 * DAY, 7 * DAY, 7 * DAY]),
        ("fetch", [900, 1800, 3600]),
        ("interrupted", [0, 0, 0, 60, 120, 240]),
        ("something new", [DAY]),
    ],
)
def test_retries_come_later_and_later(kind: str, waits: list[float]) -> None:
    assert [retry_at(kind, times, NOW) - NOW for times in range(1, len(waits) + 1)] == waits
    assert retry_at(kind, 10_000, NOW) - NOW <= 7 * DAY


def test_a_build_is_tried_again_when_the_first_of_its_failures_may_be() -> None:
    assert leading_kind(["compile", "fetch", "test"]) == "fetch"
    assert leading_kind(["test", "compile"]) == "compile"
    assert leading_kind([]) == "resolver"


def test_the_critical_path_is_the_longest_chain() -> None:
    seconds = {"libc": 10.0, "gcc": 30.0, "sed": 5.0, "app": 1.0}
    needs = {"gcc": ["libc"], "app": ["gcc", "sed", "elsewhere"]}
    assert critical_path(seconds, needs) == 41
    assert build_seconds(seconds, needs, 1) == 46
    assert build_seconds(seconds, needs, 8) == 41
    assert critical_path({}, {}) == 0


def test_a_cycle_has_a_critical_path_too() -> None:
    assert critical_path({"a": 1.0, "b": 2.0}, {"a": ["b"], "b": ["a"]}) == 3


def test_the_forecast_follows_the_workers() -> None:
    tasks = [task("a", hours=3), task("b", hours=2), task("c", hours=1)]
    found = {one.profile: (one.starts_at - NOW, one.ends_at - NOW) for one in forecast(tasks, [], RULES, NOW)}
    assert found == {"a": (0, 3 * HOUR), "b": (0, 2 * HOUR), "c": (2 * HOUR, 3 * HOUR)}
    assert drained_at(forecast(tasks, [], RULES, NOW), NOW) == NOW + 3 * HOUR


def test_a_build_over_its_time_is_expected_to_end_soon() -> None:
    (found,) = forecast([], [Running(task("a", hours=1), NOW - 2 * HOUR)], RULES, NOW)
    assert found.ends_at == NOW + 360


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (12000, "3 h 20 min"), (190000, "2 d 4 h")],
)
def test_spans_read_well(seconds: float, text: str) -> None:
    assert span(seconds) == text


LABELS = st.frozensets(st.sampled_from("uvwxyz"), max_size=3)


@st.composite
def backlogs(draw: st.DrawFn) -> list[Task]:
    names = draw(st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=8))
    return [
        Task(
            name,
            "now",
            NOW - draw(st.floats(0, 30 * DAY)),
            Expected(draw(st.floats(0, 30 * DAY)), draw(st.integers(0, 40 * GIB))),
            draw(st.booleans()),
            draw(LABELS),
            draw(st.sampled_from([0.0, NOW + 60, NOW + DAY])),
        )
        for name in names
    ]


RULE_SETS = st.builds(
    Rules,
    workers=st.integers(1, 4),
    memory_bytes=st.integers(GIB, 64 * GIB),
    staleness_seconds=st.floats(60, 10 * DAY),
    jobs=st.integers(1, 16),
)


@given(backlogs(), RULE_SETS, st.randoms(use_true_random=False))
def test_every_task_ends_up_running_and_the_order_of_asking_changes_nothing(
    tasks: list[Task], rules: Rules, shuffler: Random
) -> None:
    found = forecast(tasks, [], rules, NOW)
    assert sorted(one.profile for one in found) == sorted(one.profile for one in tasks)
    assert all(one.ends_at > one.starts_at >= NOW for one in found)
    shuffled = list(tasks)
    shuffler.shuffle(shuffled)
    assert forecast(shuffled, [], rules, NOW) == found


@given(backlogs(), backlogs(), RULE_SETS)
def test_what_starts_never_breaks_a_rule(tasks: list[Task], inside: list[Task], rules: Rules) -> None:
    running = [Running(one, NOW) for one in inside[: rules.workers]]
    decisions = schedule(tasks, running, rules, NOW)
    started = [one.task for one in decisions if one.starts]
    everyone = [one.task for one in running] + started
    assert len(everyone) <= rules.workers
    for number, one in enumerate(started, len(running)):
        before = everyone[:number]
        assert one.not_before <= NOW
        assert not any(one.work & other.work or one.profile == other.profile for other in before)
        if before:
            assert sum(t.expected.memory_bytes for t in [*before, one]) <= rules.memory_bytes
    if not running and any(one.not_before <= NOW for one in tasks):
        assert started


@given(backlogs(), RULE_SETS, st.data())
def test_nothing_starves_although_new_work_never_ends(
    tasks: list[Task], rules: Rules, data: st.DataObject
) -> None:
    """Every finished profile comes back at once with new inputs, as a security update or with any length."""
    now, inside = NOW, list[tuple[float, Task]]()
    waiting = list(tasks)
    left = {one.profile for one in tasks}
    longest = max([rules.staleness_seconds, *(one.expected.seconds for one in tasks)])
    bound = NOW + (SECURITY_HEAD_START + 40) * (longest * 16 + DAY) * (len(tasks) + 1)
    while left and now < bound:
        for decision in schedule(waiting, [Running(one, now) for _, one in inside], rules, now):
            if decision.starts:
                waiting.remove(decision.task)
                left.discard(decision.task.profile)
                inside.append((now + max(60.0, longest * 0.9), decision.task))
        ends = [end for end, _ in inside] + [one.not_before for one in waiting if one.not_before > now]
        now = min(ends, default=bound)
        for end, done in [one for one in inside if one[0] <= now]:
            inside.remove((end, done))
            again = replace(done, since=now, not_before=0.0, security=data.draw(st.booleans()))
            waiting.append(again)
    assert not left
