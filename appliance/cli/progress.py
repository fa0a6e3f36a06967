"""Progress that is counted in bytes: a bar on a terminal, now and then a line in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from iso.sticks import amount

LINE_SECONDS = 5.0
"""Between lines about one thing in a pipe."""
Tell = Callable[[str, int, int], None]
"""What is done, and of how many bytes how many are: 0 of 0 where nobody counts."""


@contextmanager
def showing() -> Iterator[Tell]:
    """On standard error, so that standard output can be used."""
    console = Console(stderr=True)
    if not console.is_terminal:

        def say(line: str) -> None:
            print(f"{datetime.now():%H:%M:%S} {line}", file=sys.stderr, flush=True)

        yield Lines(say, time.monotonic).tell
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=None)
            bars.update(tasks[what], completed=done, total=total or None)

        yield tell


class Lines:
    """Progress for a log: how much, the rate since the last line and the time that is left at it."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._what = ""
        self._last = (0.0, 0)
        """When the last line was said, and the bytes of then."""

    def tell(self, what: str, done: int, total: int) -> None:
        now = self._clock()
        new = what != self._what
        if new:
            self._what, self._last = what, (now, 0)
        if total == 0:
            if new:
                self._say(what)
            return
        seconds, size = now - self._last[0], done - self._last[1]
        if done < total and seconds < LINE_SECONDS:
            return
        rate = size / seconds if seconds > 0 else 0.0
        self._last = (now, done)
        words = [f"{what} {done * 100 // total} % of {amount(total)}"]
        words += [f"{amount(int(rate))}/s"] if rate else []
        words += [f"{(total - done) / rate:.0f} s left"] if rate and done < total else []
        self._say(", ".join(words))
