"""Reads from the timelines which boots were under way when the boot process ended. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from appliance.model import Event
from appliance.stages import Stage
from pxe.client import read_title
from pxe.stalls import Boot, window

LOOK_BACK_SECONDS = 900.0
"""Beyond the longest boot whose every step came just in time."""
GRACE_SECONDS = 60.0
"""Nobody answered for a while; and whose an address is has to be learnt again before a transfer is seen."""

_STAGES = (Stage.OFFER, Stage.PROXY, Stage.PROGRAM, Stage.SCRIPT, Stage.KERNEL, Stage.INSTALLER)


def under_way(events: Iterable[tuple[float, Event]], now: float) -> Mapping[str, Boot]:
    """The boots, by MAC, whose next step might still have come when this is asked.

    `events` of all subjects, the oldest first, each with the seconds that have passed since; `now` of the
    clock the boots are watched by.
    """
    found: dict[str, tuple[float, Boot]] = {}
    for ago, event in events:
        boot = _after(event, found[event.subject][1] if event.subject in found else None)
        if boot:
            found[event.subject] = ago, boot
        else:
            found.pop(event.subject, None)
    return {
        mac: replace(boot, at=now + GRACE_SECONDS)
        for mac, (ago, boot) in found.items()
        if ago < window(boot).seconds
    }


def _after(event: Event, boot: Boot | None) -> Boot | None:
    """How far a boot is after an event; None: there is none, or its installer speaks for itself."""
    if event.stage == Stage.DISCOVER:
        firmware, ipxe = read_title(event.message)
        return Boot(Stage.DISCOVER, 0.0, firmware, ipxe)
    if boot is None or event.status == "note":
        return boot
    if event.stage not in _STAGES:
        return None
    if event.status == "failed":
        return replace(boot, told=True)
    return replace(boot, stage=Stage(event.stage), told=False)
