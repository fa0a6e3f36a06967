"""What installed machines are told: who goes first, when each one's turn comes, and what stops a rollout."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.client_order import (
    AGAIN_SECONDS,
    Order,
    Rollout,
    RolloutState,
    Standing,
    advance,
    begin,
    first_ones,
    go_on,
    order,
    order_to_json,
)
from appliance.client_settings import Canaries, ClientPolicy, Following, Window
from appliance.statement import Statement

README = Path(__file__).resolve().parents[2] / "README.md"
OLD, NEW = "20260101-000000000000", "20260201-111111111111"
SAID = Statement("vm", "stable", NEW, 7, "2026-02-01T00:00:00Z")
NOW = 1_000_000.0
DAY = 86400.0
TWO = Following(canaries=Canaries(count=2))


def fleet(count: int, channel: str = "stable") -> list[Standing]:
    return [Standing(f"52:54:00:00:{n >> 8:02x}:{n & 255:02x}", channel, NOW, NOW, OLD) for n in range(count)]


def begun(machines: list[Standing], following: Following, said: Statement = SAID) -> Rollout:
    return begin(said, machines, following, older=False, silent_seconds=DAY, now=NOW)


def told(
    machine: Standing,
    rollout: Rollout | None,
    following: Following = TWO,
    *,
    now: float = NOW,
    minute: int = 0,
    fault: str = "",
) -> Order:
    return order(machine, SAID, rollout, following, profile="vm", fault=fault, now=now, minute=minute)


def runs(one: Standing) -> Standing:
    return replace(one, release=NEW, target="", current=True, reported_at=NOW + 10)


def test_those_on_the_channel_canary_go_first_and_nobody_is_chosen_then() -> None:
    machines = fleet(10)
    machines[3] = replace(machines[3], channel="canary")
    rollout = begun(machines, TWO)
    assert rollout.state is RolloutState.CANARY and rollout.canaries == (machines[3].mac,)


def test_the_same_machines_are_chosen_for_one_release_and_others_for_the_next() -> None:
    machines = fleet(50)
    first = begun(machines, TWO).canaries
    assert len(first) == 2 and begun(list(reversed(machines)), TWO).canaries == first
    assert begun(machines, TWO, replace(SAID, release=OLD)).canaries != first


@pytest.mark.parametrize(("canaries", "count"), [(Canaries(), 0), (Canaries(3), 3), (Canaries(percent=10), 5),
                                                  (Canaries(percent=1), 1), (Canaries(99), 50)])  # fmt: skip
def test_so_many_go_first_as_the_profile_says(canaries: Canaries, count: int) -> None:
    rollout = begun(fleet(50), Following(canaries=canaries))
    assert len(rollout.canaries) == count
    assert rollout.state is (RolloutState.CANARY if count else RolloutState.SPREADING)


def test_a_machine_that_is_switched_off_is_not_chosen() -> None:
    machines = [replace(one, seen_at=NOW - 2 * DAY) for one in fleet(5)]
    said = first_ones(SAID, machines, TWO, silent_seconds=DAY, now=NOW)
    assert said == () and begun(machines, TWO).state is RolloutState.SPREADING


def test_a_channel_that_went_back_waits_for_nobody() -> None:
    rollout = begin(SAID, fleet(5), TWO, older=True, silent_seconds=DAY, now=NOW)
    assert rollout.state is RolloutState.SPREADING and not rollout.canaries


def test_all_canaries_well_lets_it_go_on_and_one_that_failed_stops_it() -> None:
    machines = {one.mac: one for one in fleet(5)}
    rollout = begun(list(machines.values()), TWO)
    one, two = rollout.canaries
    assert advance(rollout, machines, TWO, now=NOW + 60) == rollout
    well = machines | {one: runs(machines[one])}
    assert advance(rollout, well, TWO, now=NOW + 60).state is RolloutState.CANARY
    both = well | {two: runs(machines[two])}
    on = advance(rollout, both, TWO, now=NOW + 60)
    assert (on.state, on.spread_at) == (RolloutState.SPREADING, NOW + 60)
    bad = replace(machines[two], target=NEW, failed=True, said="no sshd", reported_at=NOW + 5)
    stopped = advance(rollout, well | {two: bad}, TWO, now=NOW + 60)
    assert stopped.state is RolloutState.STOPPED and f"{two}: no sshd" in stopped.why
    assert advance(stopped, both, TWO, now=NOW + DAY) == stopped
    assert advance(on, both | {two: bad}, TWO, now=NOW + 120).state is RolloutState.STOPPED


def test_a_canary_that_says_nothing_in_time_stops_it_and_one_that_is_gone_does_not() -> None:
    machines = {one.mac: one for one in fleet(5)}
    rollout = begun(list(machines.values()), TWO)
    late = NOW + TWO.canaries.report_seconds + 1
    stopped = advance(rollout, machines, TWO, now=late)
    assert stopped.state is RolloutState.STOPPED and rollout.canaries[0] in stopped.why
    assert advance(rollout, {}, TWO, now=late).state is RolloutState.SPREADING


def test_what_was_said_of_it_before_the_rollout_does_not_count() -> None:
    machines = {one.mac: one for one in fleet(5)}
    rollout = begun(list(machines.values()), TWO)
    old = {mac: replace(machines[mac], release=NEW, failed=True, reported_at=NOW - 1) for mac in machines}
    assert advance(rollout, machines | old, TWO, now=NOW + 60) == rollout


def test_a_person_lets_it_go_on_and_then_no_canary_stops_it() -> None:
    machines = {one.mac: one for one in fleet(5)}
    rollout = begun(list(machines.values()), TWO)
    bad = {mac: replace(machines[mac], target=NEW, failed=True, reported_at=NOW + 5) for mac in machines}
    on = go_on(advance(rollout, bad, TWO, now=NOW + 60), who="web ann", why="", now=NOW + 100)
    assert on.state is RolloutState.SPREADING and advance(on, bad, TWO, now=NOW + 200) == on


def test_only_canaries_may_begin_until_they_are_well_and_nobody_when_it_was_stopped() -> None:
    machines = fleet(5)
    rollout = begun(machines, TWO)
    said = {one.mac: told(one, rollout) for one in machines}
    assert {mac for mac, one in said.items() if one.go} == set(rollout.canaries)
    assert {one.release for mac, one in said.items() if not one.go} == {OLD}
    stopped = replace(rollout, state=RolloutState.STOPPED, why="no sshd")
    for one in machines:
        answer = told(one, stopped)
        assert not answer.go and answer.release == OLD and "no sshd" in answer.why


def test_each_machines_turn_comes_within_the_spread_at_its_own_time() -> None:
    machines = fleet(200)
    rollout = begun(machines, Following())
    turns = []
    for one in machines:
        waits = told(one, rollout, Following())
        if not waits.go:
            assert waits.again_seconds <= 1.5 * AGAIN_SECONDS
        turn = next(n for n in range(0, 3610, 30) if told(one, rollout, Following(), now=NOW + n).go)
        turns.append(turn)
    assert max(turns) <= 3600 and max(turns.count(turn) for turn in turns) < 12
    assert all(10 <= sum(low <= turn < low + 600 for turn in turns) <= 70 for low in range(0, 3600, 600))


@pytest.mark.parametrize(("minute", "go"), [(119, False), (120, True), (299, True), (300, False)])
def test_outside_its_window_a_machine_waits(minute: int, go: bool) -> None:
    policy = ClientPolicy(window=Window(120, 300), spread_seconds=0.0)
    one = fleet(1)[0]
    rollout = begun([one], Following(policy))
    answer = told(one, rollout, Following(policy), minute=minute)
    assert answer.go is go and (go or "02:00-05:00" in answer.why)


def test_a_window_may_go_over_midnight_and_its_machines_do_not_begin_all_at_once() -> None:
    window = Window(23 * 60, 60)
    assert [window.holds(minute) for minute in (22 * 60, 23 * 60, 0, 59, 60)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    policy = ClientPolicy(window=window, spread_seconds=3600.0)
    machines = fleet(100)
    rollout = begun(machines, Following(policy))
    later = NOW + DAY
    first = sum(told(one, rollout, Following(policy), now=later, minute=23 * 60).go for one in machines)
    last = sum(told(one, rollout, Following(policy), now=later, minute=0).go for one in machines)
    assert first < 10 and last == 100


def test_who_has_it_keeps_it_and_who_began_goes_on_outside_the_window() -> None:
    policy = Following(ClientPolicy(window=Window(120, 300)))
    one = fleet(1)[0]
    rollout = begun([one], policy)
    assert told(replace(one, release=NEW), rollout, policy, minute=0).go
    assert told(replace(one, target=NEW, updating=True), rollout, policy, minute=0).go


def test_a_release_that_was_just_published_or_does_not_verify_waits() -> None:
    one = fleet(1)[0]
    assert "just now" in told(one, None).why
    other = replace(begun([one], TWO), serial=6)
    assert not told(one, other).go
    assert "does not verify" in told(one, begun([one], Following()), fault="a byte").why
    nothing = order(one, None, None, TWO, profile="vm", fault="", now=NOW, minute=0)
    assert not nothing.go and nothing.release == OLD


@given(
    st.builds(
        Standing,
        mac=st.just("52:54:00:00:00:01"),
        channel=st.sampled_from(("stable", "canary")),
        seen_at=st.just(NOW),
        reported_at=st.floats(NOW - DAY, NOW),
        release=st.sampled_from((OLD, NEW, "")),
        target=st.sampled_from((OLD, NEW, "")),
        failed=st.booleans(),
        current=st.booleans(),
        updating=st.booleans(),
    ),
    st.sampled_from(RolloutState),
    st.integers(0, 1439),
    st.floats(0, 3 * DAY),
)
def test_an_order_is_always_short_and_asks_to_come_again_and_a_stopped_one_begins_nothing(
    machine: Standing, state: RolloutState, minute: int, later: float
) -> None:
    rollout = replace(begun(fleet(3), TWO), state=state)
    answer = told(machine, rollout, now=NOW + later, minute=minute)
    assert 0 < answer.again_seconds <= 1.5 * AGAIN_SECONDS
    assert len(str(order_to_json(answer))) < 2000
    assert answer.release in (machine.release, NEW)
    if state is RolloutState.STOPPED and machine.release != NEW:
        assert not answer.go


def test_every_key_of_an_order_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/clients.md").read_text()
    said = order_to_json(told(fleet(1)[0], None))
    assert [key for key in said if f'"{key}"' not in text] == []
    assert [key for key in said["policy"] if f"`{key}`" not in text and key not in README.read_text()] == []
