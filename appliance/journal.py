"""Writes the events of machines: inside an event loop all of one moment in one transaction, in a thread."""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from appliance.model import Event
from appliance.store.database import Database
from appliance.store.events import Events

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.02
"""Longer than an answer takes, and less than any two steps of a machine are apart."""
MOST_WAITING = 20_000
"""Events that are kept in memory while the store is busy; the loop waits for more."""


class Journal:
    """Takes events in order. Outside of an event loop each is written at once.

    A thousand machines that are switched on together make two thousand events: a transaction for each would
    take most of the time in which they are to be answered, and even one for all of a moment would hold up
    those that ask meanwhile (a checkpoint waits for the disk). What is killed loses the last moment.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiting: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None
        self._own: Events | None = None
        """On the thread's own connection."""

    def add(self, event: Event) -> None:
        self._waiting.append(event)
        if self._timer is None:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self._write()
            else:
                self._timer = loop.call_later(DELAY_SECONDS, self._hand_over, loop)
        elif len(self._waiting) >= MOST_WAITING:
            self._finish()
            self._write_quietly()

    def close(self) -> None:
        """Write what still waits, when the event loop ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._finish()
        if self._thread is not None:
            self._thread.submit(self._end)
            self._thread.shutdown()
            self._thread = None
        self._write_quietly()

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._writing is not None and not self._writing.done():
            # They are written in their order.
            self._timer = loop.call_later(DELAY_SECONDS, self._hand_over, loop)
            return
        self._timer = None
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")
        self._writing = self._thread.submit(self._write_apart, self._taken())

    def _finish(self) -> None:
        """Wait for the thread."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write_apart(self, events: Sequence[Event]) -> None:
        try:
            if self._own is None:
                self._own = Events(Database(self._events.database.path))
            self._own.add_all(events)
        except Exception:
            # Nobody waits for it; the machines go on.
            log.exception("events of machines were not written")

    def _end(self) -> None:
        if self._own is not None:
            self._own.database.close()
            self._own = None

    def _write_quietly(self) -> None:
        try:
            self._write()
        except Exception:
            log.exception("events of machines were not written")

    def _write(self) -> None:
        if events := self._taken():
            self._events.add_all(events)

    def _taken(self) -> list[Event]:
        events, self._waiting = self._waiting, []
        return events
