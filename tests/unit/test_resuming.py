"""A boot process that is started again goes on following the boots it finds on the timelines."""

from dataclasses import replace

import pytest

from appliance.model import BootTarget, Event, Firmware, LocalBoot, NetBoot
from appliance.stages import Stage
from pxe.client import ARCHITECTURES, Architecture, Client, read_title
from pxe.resuming import GRACE_SECONDS, under_way
from pxe.sightings import Sightings
from pxe.stalls import Boot, Stalls, window
from pxe.watching import Watching
from tests.clock import Clock
from tests.fake_director import FakeDirector

MAC, OTHER = "52:54:00:77:00:01", "52:54:00:77:00:02"
TITLE = "UEFI x64, PXEClient"
WAY = (Stage.OFFER, Stage.PROXY, Stage.PROGRAM, Stage.SCRIPT, Stage.KERNEL, Stage.INSTALLER)
Past = list[tuple[float, Event]]


def past(*stages: str, mac: str = MAC, title: str = TITLE, ago: float = 5.0) -> Past:
    """A DISCOVER and more stages, all of the same time."""
    first = Event(mac, 0.0, Stage.DISCOVER, message=title)
    return [(ago, first), *((ago, Event(mac, 0.0, stage)) for stage in stages)]


def with_status(status: str, stage: str) -> tuple[float, Event]:
    return 5.0, Event(MAC, 0.0, stage, status=status)


@pytest.mark.parametrize("arch", ARCHITECTURES.values(), ids=lambda arch: arch.name)
@pytest.mark.parametrize("ipxe", [False, True])
def test_a_title_tells_the_firmware_again(arch: Architecture, ipxe: bool) -> None:
    client = Client(MAC, arch=arch, vendor_class="PXEClient", ipxe=ipxe)
    assert read_title(client.title) == (client.firmware, ipxe)


@pytest.mark.parametrize("title", ["", ", ", "Raspberry Pi, PXEClient", "another"])
def test_a_title_that_names_no_firmware_is_no_fault(title: str) -> None:
    assert read_title(title) == (None, False)


@pytest.mark.parametrize("stage", WAY)
@pytest.mark.parametrize("ipxe", [False, True])
def test_after_every_stage_the_same_is_expected_as_before(stage: Stage, ipxe: bool) -> None:
    done = WAY[: WAY.index(stage) + 1]
    events = past(*done, title="UEFI x64, iPXE" if ipxe else TITLE)
    assert under_way(events, 100.0) == {MAC: Boot(stage, 100.0 + GRACE_SECONDS, Firmware.UEFI, ipxe)}


@pytest.mark.parametrize("stage", WAY)
def test_what_should_have_come_while_nobody_was_there_to_see_it_is_not_waited_for(stage: Stage) -> None:
    seconds = window(Boot(stage, 0.0, Firmware.UEFI)).seconds
    for ago, followed in ((seconds - 1, True), (seconds + 1, False)):
        assert bool(under_way(past(stage, ago=ago), 0.0)) == followed


@pytest.mark.parametrize("stage", ["discovered", "plan", "partition"])
def test_an_installer_that_spoke_is_not_waited_for(stage: str) -> None:
    assert under_way([*past(*WAY), (5.0, Event(MAC, 0.0, stage))], 0.0) == {}


def test_a_note_changes_nothing_and_of_other_subjects_nothing_is_expected() -> None:
    job = 5.0, Event("job:7", 0.0, Stage.KERNEL)
    boots = under_way([*past(Stage.OFFER), with_status("note", Stage.SCRIPT), job], 0.0)
    assert {mac: boot.stage for mac, boot in boots.items()} == {MAC: Stage.OFFER}


def test_each_machine_has_its_own_boot_and_a_new_one_takes_the_place_of_the_old() -> None:
    events = [*past(Stage.OFFER, Stage.PROGRAM), *past(Stage.OFFER, mac=OTHER), *past(Stage.OFFER)]
    assert {mac: boot.stage for mac, boot in under_way(events, 0.0).items()} == {
        MAC: Stage.OFFER,
        OTHER: Stage.OFFER,
    }


def test_a_stop_that_was_told_is_not_told_again_until_the_machine_goes_on() -> None:
    told = [*past(Stage.OFFER), with_status("failed", Stage.PROXY)]
    assert under_way(told, 0.0)[MAC].told
    assert not under_way([*told, (4.0, Event(MAC, 0.0, Stage.PROXY))], 0.0)[MAC].told


def test_a_machine_that_was_heard_of_since_is_where_it_is_now() -> None:
    stalls = Stalls()
    stalls.offered(MAC, 0.0, firmware=Firmware.UEFI, ipxe=False)
    before = Boot(Stage.INSTALLER, 0.0, Firmware.UEFI)
    stalls.resume(MAC, before)
    stalls.resume(OTHER, replace(before, told=True))
    assert [(one.mac, one.after) for one in stalls.due(1000.0)] == [(MAC, Stage.OFFER)]


@pytest.mark.parametrize(
    ("target", "missing"),
    [(NetBoot("r1", "", "armed"), ["proxy"]), (LocalBoot("installed"), [])],
    ids=["network", "disk"],
)
def test_a_resumed_boot_that_stops_is_told_of_and_nothing_of_a_machine_that_boots_its_disk(
    target: BootTarget, missing: list[str]
) -> None:
    director, sightings, clock = FakeDirector({"*": target}, before=past(Stage.OFFER)), Sightings(), Clock()
    watching = Watching(director, sightings, clock)
    watching.resume()
    assert sightings.firmware_of(MAC) is Firmware.UEFI
    clock.now += 1000
    watching.look()
    assert [(one.stage, one.status) for one in director.records] == [(stage, "failed") for stage in missing]
