"""A thousand machines at once: a few fetch, the others wait their turn, all arrive."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxe.admission import GRACE_SECONDS, LEAST, MOST, Admission, Turn, places


def admission() -> Admission:
    return Admission(lambda: 0.5)


def test_as_many_as_there_are_places_go_on_and_the_others_wait() -> None:
    queue = admission()
    turns = [queue.ask(f"m{number}", 0.0, of=2) for number in range(4)]
    assert [turn.admitted for turn in turns] == [True, True, False, False]
    assert [turn.before for turn in turns[2:]] == [0, 1]
    assert turns[2].wait_seconds <= turns[3].wait_seconds


def test_who_waited_longest_goes_first() -> None:
    queue = admission()
    for number in range(3):
        queue.ask(f"m{number}", float(number), of=1)
    queue.ended("m0", 5.0, last=True)
    assert not queue.ask("m2", 5.0, of=1).admitted
    assert queue.ask("m1", 5.0, of=1).admitted


def test_a_free_place_does_not_wait_for_the_very_first() -> None:
    queue = admission()
    for number in range(5):
        queue.ask(f"m{number}", float(number), of=2)
    queue.ended("m0", 5.0, last=True)
    assert not queue.ask("m4", 5.0, of=2).admitted
    assert queue.ask("m3", 5.0, of=2).admitted
    assert not queue.ask("m2", 5.0, of=2).admitted


def test_one_that_has_its_place_keeps_it_while_it_fetches() -> None:
    queue = admission()
    assert queue.ask("m0", 0.0, of=1).admitted
    queue.began("m0", 1.0)
    assert not queue.ask("m1", 1000.0, of=1).admitted
    assert queue.ask("m0", 1000.0, of=1).admitted
    queue.ended("m0", 1001.0, last=True)
    assert queue.ask("m1", 1001.0, of=1).admitted


def test_a_machine_that_vanishes_frees_its_place_and_its_turn() -> None:
    queue = admission()
    queue.ask("gone", 0.0, of=1)
    queue.ask("gone too", 0.1, of=1)
    assert not queue.ask("m", 1.0, of=1).admitted
    assert queue.ask("m", 1.0 + GRACE_SECONDS + 30, of=1).admitted


def test_a_server_that_was_killed_believes_who_says_since_when_it_waits() -> None:
    before, after = admission(), admission()
    before.ask("holder", 0.0, of=1)
    first, second = before.ask("m1", 1.0, of=1), before.ask("m2", 2.0, of=1)
    after.ask("holder", 10.0, of=1)
    assert after.ask("m2", 10.0, of=1, since=second.since).before == 0
    assert after.ask("m1", 11.0, of=1, since=first.since).before == 0
    assert after.ask("m2", 12.0, of=1, since=second.since).before == 1
    assert after.ask("liar", 13.0, of=1, since=9e9).before == 2


def test_strangers_cannot_make_it_grow() -> None:
    queue = Admission(lambda: 0.5, limit=50)
    for number in range(5000):
        queue.ask(f"s{number}", 0.0, of=3)
    assert queue.taken == 3
    assert queue.ask("m", 1.0, of=3).before <= 50


@pytest.mark.parametrize(
    ("speeds", "processors", "expected"),
    [
        ((), 4, 32),
        ((100,), 4, LEAST),
        ((1000,), 4, 25),
        ((1000, 1000), 4, 50),
        ((10000,), 4, MOST),
        ((0,), 1, 32),
    ],
)
def test_the_number_of_places_follows_the_network(
    speeds: tuple[int, ...], processors: int, expected: int
) -> None:
    assert places(speeds, processors=processors) == expected


def simulate(machines: int, of: int, seed: int, vanish: float) -> dict[int, float]:
    """When each machine got its files; every one follows what it is told."""
    chance = random.Random(seed)
    queue = Admission(chance.random)
    events = [(chance.random(), number, "ask") for number in range(machines)]
    done: dict[int, float] = {}
    gone = {number for number in range(machines) if chance.random() < vanish}
    while events:
        now, number, what = min(events)
        events.remove((now, number, what))
        if what == "end":
            queue.ended(str(number), now, last=True)
            done[number] = now
            continue
        turn = queue.ask(str(number), now, of=of)
        assert queue.taken <= of
        if turn.admitted and number not in gone:
            queue.began(str(number), now)
            events.append((now + 0.5 + chance.random(), number, "end"))
        elif not turn.admitted:
            events.append((now + turn.wait_seconds, number, "ask"))
    assert set(done) == set(range(machines)) - gone
    return done


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 150), st.integers(1, 20), st.integers(0, 2**32), st.sampled_from([0.0, 0.1]))
def test_all_arrive_whoever_vanishes(machines: int, of: int, seed: int, vanish: float) -> None:
    simulate(machines, of, seed, vanish)


def test_a_thousand_arrive_in_not_much_more_than_the_time_their_files_take() -> None:
    done = simulate(1000, 25, 1, 0.0)
    assert max(done.values()) < 2.0 * 1000 * 1.0 / 25


def test_turns_are_of_whole_seconds_and_spread() -> None:
    queue = Admission(random.Random(1).random)
    waits = {queue.ask(f"m{number}", 0.0, of=1).wait_seconds for number in range(500)}
    assert Turn().admitted and min(waits - {0}) >= 1 and len(waits) > 10
