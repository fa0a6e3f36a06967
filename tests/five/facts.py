"""What the server knows of a machine, from its own words and its timeline."""

from collections.abc import Sequence
from typing import Any

from appliance.facts import render_facts
from appliance.model import Event
from appliance.services import Services
from tests.five.seen import Seen


def facts_of(services: Services, mac: str, seen: Seen, *, run_by: str) -> Seen:
    """What the machine told of itself, and why it has its profile. `run_by`: what emulates its processor."""
    machine = services.store.machines.get(mac)
    if machine is None or machine.facts is None:
        return seen
    facts = machine.facts
    (services.tree.path.parent / f"{seen.machine}.facts").write_text(render_facts(facts))
    secure = {True: ", Secure Boot on", False: ", Secure Boot off", None: ""}[facts.secure_boot]
    events = [event for _, event in services.store.events.after(mac)]
    values: dict[str, Any] = {
        "firmware": facts.firmware.value + secure,
        "processor": f"{facts.cpus} x {facts.cpu or facts.arch} ({run_by})",
        "profile": machine.profile or "",
        "matched_by": matched(events),
        "release": machine.release or "",
        "phases": phases(events),
    }
    return Seen(**{**vars(seen), **values})


def matched(events: Sequence[Event]) -> str:
    """Why it has its profile, without where the site lies."""
    said = next((one.message for one in events if one.stage == "assigned"), "")
    return said.partition("profile.toml: ")[2] or said


def phases(events: Sequence[Event]) -> tuple[tuple[str, float], ...]:
    """What took a second or more."""
    return tuple(
        (one.stage, round(one.seconds, 1))
        for one in events
        if one.status == "done" and one.seconds is not None and one.seconds >= 1
    )
