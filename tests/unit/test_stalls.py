"""A boot that stops is told of once, with its likely cause, and never one that goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import BootTarget, Firmware, LocalBoot, NetBoot
from appliance.stages import Stage
from appliance.strategies import Strategy
from pxe.sightings import Sightings
from pxe.stalls import RETRIES_SECONDS, Stall, Stalls
from pxe.watching import Watching
from tests.clock import Clock
from tests.fake_director import FakeDirector

MAC = "52:54:00:77:00:01"
UEFI, BIOS = Firmware.UEFI, Firmware.BIOS
WAY = (Stage.OFFER, Stage.PROXY, Stage.PROGRAM, Stage.SCRIPT, Stage.KERNEL, Stage.INSTALLER)


def stopped_after(
    stage: Stage, firmware: Firmware, *, ipxe: bool = False, begun: Stage | None = None
) -> Stall:
    stalls = Stalls()
    stalls.asked(MAC, 0.0, firmware=firmware, ipxe=ipxe)
    for one in WAY[: WAY.index(stage) + 1]:
        stalls.reached(MAC, one, 10.0)
    if begun:
        stalls.began(MAC, begun, 20.0)
    assert not list(stalls.due(20.0))
    (stall,) = stalls.due(1000.0)
    assert not list(stalls.due(2000.0))
    return stall


@pytest.mark.parametrize(
    ("stage", "firmware", "ipxe", "missing", "said"),
    [
        (Stage.OFFER, UEFI, False, Stage.PROXY, "blocks UDP 4011"),
        (Stage.OFFER, BIOS, False, Stage.PROGRAM, "blocks UDP 69"),
        (Stage.OFFER, UEFI, True, Stage.SCRIPT, "TCP 80"),
        (Stage.PROXY, UEFI, False, Stage.PROGRAM, "blocks UDP 69 or the MTU"),
        (Stage.PROGRAM, UEFI, False, Stage.SCRIPT, "Secure Boot refused"),
        (Stage.PROGRAM, BIOS, False, Stage.SCRIPT, "spanning tree"),
        (Stage.SCRIPT, UEFI, True, Stage.KERNEL, "in the way of HTTP"),
        (Stage.KERNEL, UEFI, True, Stage.INSTALLER, "too little memory"),
        (Stage.INSTALLER, UEFI, True, Stage.HELLO, "the kernel stopped"),
    ],
)
def test_each_stage_that_does_not_follow_has_its_cause(
    stage: Stage, firmware: Firmware, ipxe: bool, missing: Stage, said: str
) -> None:
    stall = stopped_after(stage, firmware, ipxe=ipxe)
    assert (stall.missing, stall.after) == (missing, stage)
    assert said in stall.cause


@pytest.mark.parametrize(("begun", "said"), [(Stage.PROGRAM, "MTU"), (Stage.KERNEL, "slow or broken")])
def test_a_transfer_that_does_not_end_is_one_stop(begun: Stage, said: str) -> None:
    stall = stopped_after(Stage.PROXY, UEFI, begun=begun)
    assert (stall.missing, said in stall.cause) == (begun, True)


def test_firmware_is_given_all_its_retries() -> None:
    stalls = Stalls()
    stalls.asked(MAC, 0.0, firmware=UEFI, ipxe=False)
    assert not list(stalls.due(RETRIES_SECONDS - 1))
    assert [stall.mac for stall in stalls.due(RETRIES_SECONDS)] == [MAC]


def test_a_machine_that_goes_on_after_all_may_stop_again() -> None:
    stalls = Stalls()
    stalls.asked(MAC, 0.0, firmware=UEFI, ipxe=False)
    assert len(list(stalls.due(100.0))) == 1
    stalls.reached(MAC, Stage.PROXY, 101.0)
    assert not list(stalls.due(102.0))
    assert [stall.missing for stall in stalls.due(300.0)] == [Stage.PROGRAM]


def test_strangers_cannot_make_it_grow() -> None:
    stalls = Stalls(limit=10)
    for number in range(1000):
        stalls.asked(f"{number}", 0.0, firmware=None, ipxe=False)
    assert len(stalls) == 10


ACTS = ["asked", "began", "reached", "waits", "ended"]
acts = st.tuples(st.sampled_from(ACTS), st.sampled_from(list(WAY)))


@given(st.lists(acts, max_size=30))
def test_whatever_comes_in_whatever_order_a_stop_is_told_once(history: list[tuple[str, Stage]]) -> None:
    stalls = Stalls()
    for now, (act, stage) in enumerate(history):
        match act:
            case "asked":
                stalls.asked(MAC, now, firmware=UEFI, ipxe=False)
            case "began":
                stalls.began(MAC, stage, now)
            case "reached":
                stalls.reached(MAC, stage, now)
            case "waits":
                stalls.waits(MAC, now)
            case _:
                stalls.ended(MAC)
    told = list(stalls.due(10_000.0))
    assert len(told) == len(stalls) and all(str(one) for one in told)
    assert not list(stalls.due(20_000.0))


# What is told to the timeline.


class Watched:
    def __init__(self, target: BootTarget) -> None:
        self.director = FakeDirector({"*": target})
        self.sightings = Sightings()
        self.clock = Clock()
        self.watching = Watching(
            self.director, self.sightings, lambda: self.clock.now, lambda mac: Strategy.DIRECT
        )
        self.sightings.saw_asker(MAC, UEFI, ipxe=False)

    def later(self) -> list[tuple[str, str, str]]:
        self.clock.now += 1000
        self.watching.look()
        return [(one.stage, one.status, one.message) for one in self.director.records]


def test_a_stop_is_an_event_with_the_next_strategy() -> None:
    watched = Watched(NetBoot("r1", "", "armed"))
    watched.sightings.finished(MAC, Stage.OFFER)
    ((stage, status, message),) = watched.later()
    assert (stage, status) == ("proxy", "failed")
    assert message.endswith("it is offered the strategy direct")
    assert len(watched.later()) == 1


def test_nothing_is_expected_of_a_machine_that_boots_its_disk() -> None:
    watched = Watched(LocalBoot("installed"))
    for stage in (Stage.OFFER, Stage.PROXY, Stage.PROGRAM, Stage.SCRIPT):
        watched.sightings.finished(MAC, stage)
    assert watched.later() == []


def test_nothing_is_expected_once_the_installer_speaks() -> None:
    watched = Watched(NetBoot("r1", "", "armed"))
    for stage in (Stage.OFFER, Stage.SCRIPT, Stage.KERNEL, Stage.INSTALLER):
        watched.sightings.finished(MAC, stage)
    watched.sightings.progressed(MAC, Stage.HELLO)
    assert watched.later() == []


def test_a_machine_that_waits_for_its_turn_does_not_stand_still() -> None:
    watched = Watched(NetBoot("r1", "", "armed"))
    watched.sightings.finished(MAC, Stage.OFFER)
    watched.sightings.finished(MAC, Stage.SCRIPT)
    for _ in range(10):
        watched.clock.now += 30
        watched.sightings.progressed(MAC, Stage.SCRIPT)
        watched.watching.look()
    assert not watched.director.records
