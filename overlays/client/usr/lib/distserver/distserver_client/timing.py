"""Decides when the agent looks for an update; pure: the clock and the machine's identity are arguments."""

import hashlib
from datetime import datetime, timedelta, tzinfo

from distserver_client.policy import Policy

EVERY_SECONDS = 3600.0
UNHEARD_SECONDS = 120.0
"""Until the server answered for the first time since the start: a network may come much later."""


def jitter(machine: str, spread_seconds: float) -> float:
    """Seconds, the same for one machine every time and spread evenly over a fleet."""
    digest = hashlib.sha256(f"distserver {machine}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 * spread_seconds


def is_open(policy: Policy, now: float, zone: tzinfo | None = None) -> bool:
    """May the machine be changed at this time? `zone`: the machine's own when None."""
    if policy.window is None:
        return True
    here = datetime.fromtimestamp(now).astimezone(zone)
    minute = here.hour * 60 + here.minute
    first, last = policy.window
    return first <= minute < last if first <= last else minute >= first or minute < last


def next_start(policy: Policy, machine: str, last: float, zone: tzinfo | None = None) -> float:
    """When to look again, after a look at `last`: each hour at the machine's own minute of it.

    Of a window it is the first such moment; machines are spread over as much of it as `spread` says.
    """
    if policy.window is None:
        hour = EVERY_SECONDS
        offset = jitter(machine, min(policy.spread_seconds, hour))
        return (last - offset) // hour * hour + offset + hour
    first, end = policy.window
    length = (end - first) % (24 * 60) * 60
    offset = jitter(machine, min(policy.spread_seconds, max(length - 60, 0)))
    here = datetime.fromtimestamp(last).astimezone(zone)
    start = here.replace(hour=first // 60, minute=first % 60, second=0, microsecond=0) - timedelta(days=1)
    while True:
        moment = start.timestamp() + offset
        while moment < start.timestamp() + length:
            if moment > last:
                return moment
            moment += EVERY_SECONDS
        start += timedelta(days=1)


def next_look(
    policy: Policy,
    machine: str,
    now: float,
    *,
    again_seconds: float | None,
    is_heard: bool,
    zone: tzinfo | None = None,
) -> float:
    """When to look again after a look at `now`; `again_seconds`: what the server said, if anything."""
    moments = [next_start(policy, machine, now, zone)]
    if not is_heard:
        moments.append(now + UNHEARD_SECONDS)
    if again_seconds is not None:
        moments.append(now + again_seconds)
    return min(moments)
