"""Whose turn a machine's serial line is: a person's first; who only reads it gives way."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from appliance.deadline import DeadlinePassed, wait_until
from appliance.errors import Problem

LOOK_SECONDS = 1.0
YIELD_SECONDS = 10.0
"""A reader looks a few times a second whether a person came; it may have to end a program first."""


@contextmanager
def persons_turn(place: Path, mac: str) -> Iterator[None]:
    """The line is a person's, or a dialogue's, until the block is left.

    Raises Problem when another person has it, or a reader does not give it up.
    """
    with _lock(place, mac, "person") as person, _lock(place, mac, "line") as line:
        # Whoever only looks holds the first for a moment.
        if not _taken_within(person, LOOK_SECONDS):
            hint = "`~.` at the start of a line leaves it"
            raise Problem(f"somebody is on the console of {mac} already", hint=hint)
        if not _taken_within(line, YIELD_SECONDS):
            raise Problem(f"the console of {mac} is read for the web page and not given up")
        yield


@contextmanager
def readers_turn(place: Path, mac: str) -> Iterator[bool]:
    """Whether the line is the reader's until the block is left; it has to leave when is_wanted()."""
    with _lock(place, mac, "line") as line:
        yield not is_wanted(place, mac) and _taken(line)


def is_wanted(place: Path, mac: str) -> bool:
    """Whether a person has the line or waits for it."""
    with _lock(place, mac, "person") as person:
        return not _taken(person, fcntl.LOCK_SH)


@contextmanager
def _lock(place: Path, mac: str, what: str) -> Iterator[IO[bytes]]:
    """A file to be locked; the kernel gives up the lock of a process that was killed."""
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (place / f"{mac.replace(':', '-')}.{what}").open("ab") as file:
        yield file


def _taken_within(file: IO[bytes], seconds: float) -> bool:
    try:
        return wait_until(lambda: _taken(file) or None, seconds=seconds, what="a turn")
    except DeadlinePassed:
        return False


def _taken(file: IO[bytes], how: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
