"""Waits for a condition, never longer than a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
STEP_SECONDS = 0.05


class DeadlinePassed(Exception):
    """What was awaited did not happen in time."""


def wait_until(
    probe: Callable[[], T | None],
    *,
    seconds: float,
    what: str,
    step: float = STEP_SECONDS,
    last_seen: Callable[[], str] = str,
) -> T:
    """Call `probe` every `step` seconds until it returns something else than None.

    Raises DeadlinePassed naming `what`, with what `last_seen` returns below it.
    """
    deadline = time.monotonic() + seconds
    while (found := probe()) is None:
        if time.monotonic() >= deadline:
            raise DeadlinePassed(f"{what}: not within {seconds:g} s\n{last_seen()}".rstrip())
        time.sleep(step)
    return found
