"""Which strategy a machine is offered: tried one after the other, and kept when it works."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.strategies import Preference, Source, Strategy
from pxe.strategy import (
    CYCLE,
    FOLLOWING_SECONDS,
    FORGOTTEN_SECONDS,
    PATIENCE_ASKED,
    PATIENCE_PROVEN,
    Escalation,
)

MAC = "52:54:00:77:00:01"
BINL, DIRECT, MENU, PLAIN = Strategy.BINL, Strategy.DIRECT, Strategy.MENU, Strategy.PLAIN
EDK2_SECS = (0, 4, 12, 28)


@dataclass
class Bench:
    """One machine before an Escalation."""

    escalation: Escalation = field(default_factory=Escalation)
    now: float = 1000.0
    xid: int = 1
    preferred: Preference | None = None
    usual: Strategy = BINL
    exhausted: int = 0

    def discover(self, secs: int = 0, *, xid: int | None = None, mac: str = MAC) -> Strategy:
        offered = self.escalation.discover(
            mac,
            xid=self.xid if xid is None else xid,
            secs=secs,
            now=self.now,
            preferred=self.preferred,
            usual=self.usual,
        )
        self.exhausted += offered.exhausted
        return offered.strategy

    def boot(self, *, after: float = 40.0) -> list[Strategy]:
        """A boot of edk2 in which it follows nothing: four DISCOVERs with one xid."""
        self.xid += 1
        self.now += after
        offered = []
        for secs in EDK2_SECS:
            offered.append(self.discover(secs))
            self.now += 4
        return offered


def test_retries_of_one_boot_get_one_strategy_after_the_other() -> None:
    assert Bench().boot() == [BINL, DIRECT, MENU, BINL]
    assert Bench(usual=DIRECT).boot() == [DIRECT, BINL, MENU, DIRECT]


def test_firmware_that_leaves_secs_at_0_is_known_to_ask_again_by_the_clock() -> None:
    bench = Bench()
    offered = []
    for _ in range(3):
        offered.append(bench.discover(0))
        bench.now += 4
    assert offered == [BINL, DIRECT, MENU]


def test_one_question_that_comes_by_two_ways_is_one_question() -> None:
    bench = Bench()
    assert [bench.discover(4), bench.discover(4)] == [BINL, BINL]


def test_a_new_boot_soon_after_one_that_led_nowhere_goes_on_with_the_next_strategy() -> None:
    bench = Bench()
    offered = []
    for xid in range(3):
        offered.append(bench.discover(0, xid=xid))
        bench.now += 60
    assert offered == [BINL, DIRECT, MENU]


def test_a_machine_that_comes_back_after_a_while_begins_at_the_beginning() -> None:
    bench = Bench()
    bench.boot()
    assert bench.boot(after=FORGOTTEN_SECONDS + 1)[0] is BINL


def test_what_was_followed_is_offered_from_then_on_and_is_news_once() -> None:
    bench = Bench()
    bench.discover(0)
    bench.now += 4
    assert bench.discover(4) is DIRECT
    assert bench.escalation.fetched(MAC, bench.now) is DIRECT
    assert bench.escalation.fetched(MAC, bench.now) is None
    assert bench.boot()[0] is DIRECT
    assert bench.escalation.fetched(MAC, bench.now) is None


def test_a_strategy_that_this_machine_followed_before_survives_a_dhcp_server_that_is_down() -> None:
    bench = Bench(preferred=Preference(MENU, Source.MACHINE))
    for _ in range(PATIENCE_PROVEN):
        assert set(bench.boot()) == {MENU}
    assert bench.boot()[:3] == [BINL, DIRECT, MENU]


def test_what_others_of_its_kind_followed_is_only_where_it_begins() -> None:
    assert Bench(preferred=Preference(MENU, Source.KIND)).boot() == [MENU, BINL, DIRECT, MENU]


def test_what_the_site_says_is_never_changed_and_its_failure_is_told() -> None:
    bench = Bench(preferred=Preference(PLAIN, Source.SITE))
    assert set(bench.boot() + bench.boot()) == {PLAIN}
    assert bench.exhausted == 1


def test_the_site_may_change_its_mind_in_the_middle() -> None:
    bench = Bench()
    bench.boot()
    bench.preferred = Preference(MENU, Source.SITE)
    assert bench.boot() == [MENU] * 4
    bench.preferred = None
    assert bench.boot()[0] is BINL


def test_a_machine_that_came_to_4011_but_fetched_nothing_gets_a_second_try() -> None:
    bench = Bench()
    offered = []
    for xid in range(PATIENCE_ASKED + 1):
        offered.append(bench.discover(0, xid=xid))
        bench.now += 1
        bench.escalation.asked(MAC, bench.now)
        bench.now += 40
    assert offered == [BINL, BINL, DIRECT]


def test_what_another_program_of_the_machine_fetches_proves_nothing_of_its_firmware() -> None:
    bench = Bench()
    bench.discover(0)
    bench.escalation.aside(MAC)
    assert bench.escalation.fetched(MAC, bench.now + 1) is None
    bench.now += 4
    assert bench.discover(4) is DIRECT
    assert bench.escalation.fetched(MAC, bench.now + 1) is DIRECT


def test_what_is_fetched_much_later_proves_nothing() -> None:
    bench = Bench()
    bench.discover(0)
    assert bench.escalation.fetched(MAC, bench.now + FOLLOWING_SECONDS + 1) is None


def test_after_a_full_cycle_it_is_told_once_until_something_was_followed() -> None:
    bench = Bench()
    for count in (1, 1, 1):
        bench.boot()
        assert bench.exhausted == count
    bench.boot(after=FORGOTTEN_SECONDS + 1)
    assert bench.exhausted == 1
    bench.escalation.fetched(MAC, bench.now)
    for _ in range(PATIENCE_PROVEN + 2):
        bench.boot()
    assert bench.exhausted == 2


# Histories: what a machine whose firmware follows only some strategies does, boot after boot.


@dataclass(frozen=True)
class Boot:
    pause: float
    """Seconds since the last one."""
    retries: int
    """DISCOVERs with the same xid, if it is not answered."""
    lost: frozenset[int]
    """Which of them get no answer from the DHCP server, so that no strategy could be followed."""


boots = st.builds(
    Boot,
    pause=st.floats(1, 5000),
    retries=st.integers(1, 5),
    lost=st.frozensets(st.integers(0, 4), max_size=3),
)
firmware = st.frozensets(st.sampled_from(CYCLE), max_size=3)


def run(bench: Bench, boot: Boot, works: frozenset[Strategy]) -> tuple[list[Strategy], bool]:
    """What it is offered in one boot, and whether it came for its program."""
    bench.xid += 1
    bench.now += boot.pause
    offered = []
    for number in range(boot.retries):
        offered.append(bench.discover(4 * number))
        if offered[-1] in works and number not in boot.lost:
            bench.escalation.fetched(MAC, bench.now + 1)
            return offered, True
        bench.now += 4
    return offered, False


@given(firmware.filter(bool), st.lists(boots, min_size=1, max_size=30), st.sampled_from([BINL, DIRECT]))
def test_a_strategy_that_works_is_never_alternated(
    works: frozenset[Strategy], history: list[Boot], usual: Strategy
) -> None:
    bench = Bench(usual=usual)
    followed: Strategy | None = None
    failed = 0
    for boot in history:
        offered, came = run(bench, boot, works)
        if followed and failed < PATIENCE_PROVEN - 1:
            assert set(offered) == {followed}
        failed = 0 if came else failed + 1
        if came:
            followed = offered[-1]


@given(
    st.lists(boots, min_size=1, max_size=20),
    st.none() | st.builds(Preference, st.sampled_from(Strategy), st.sampled_from([Source.KIND])),
)
def test_every_strategy_is_tried_within_a_cycle(history: list[Boot], preferred: Preference | None) -> None:
    """Whatever the history of a machine that follows nothing: any three offers in a row differ."""
    bench = Bench(preferred=preferred)
    row: list[Strategy] = []
    size = len(CYCLE) + (preferred is not None and preferred.strategy not in CYCLE)
    for boot in history:
        soon = Boot(min(boot.pause, FORGOTTEN_SECONDS / 2), boot.retries, boot.lost)
        row += run(bench, soon, frozenset())[0]
    for at in range(len(row) - size + 1):
        assert set(row[at : at + size]) >= set(CYCLE)
    assert bench.exhausted == (len(row) > size)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.booleans()), max_size=200))
def test_strangers_can_not_make_it_grow(packets: list[tuple[int, int, bool]]) -> None:
    bench = Bench(escalation=Escalation(limit=8))
    for number, xid, fetches in packets:
        mac = f"02:00:00:00:00:{number:02x}"
        bench.now += 0.1
        bench.discover(0, xid=xid, mac=mac)
        if fetches:
            bench.escalation.fetched(mac, bench.now)
        assert len(bench.escalation) <= 8


@pytest.mark.parametrize("call", ["aside", "asked", "fetched"])
def test_a_machine_that_never_asked_is_not_remembered(call: str) -> None:
    escalation = Escalation()
    getattr(escalation, call)(*((MAC,) if call == "aside" else (MAC, 1.0)))
    assert len(escalation) == 0
