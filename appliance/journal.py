"""Writes the events of machines: inside an event loop all of one moment in one transaction."""

import asyncio
import logging

from appliance.model import Event
from appliance.store.events import Events

log = logging.getLogger(__name__)

DELAY_SECONDS = 0.02
"""Longer than an answer takes, and less than any two steps of a machine are apart."""


class Journal:
    """Takes events in order. Outside of an event loop each is written at once.

    A thousand machines that are switched on together make two thousand events: a transaction for each would
    take most of the time in which they are to be answered. What is killed loses the last moment.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiting: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, event: Event) -> None:
        self._waiting.append(event)
        if self._timer is not None:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write()
        else:
            self._timer = loop.call_later(DELAY_SECONDS, self._write_late)

    def close(self) -> None:
        """Write what still waits, when the event loop ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._write_late()

    def _write_late(self) -> None:
        self._timer = None
        try:
            self._write()
        except Exception:
            # Nobody waits for it; the machines go on.
            log.exception("events of machines were not written")

    def _write(self) -> None:
        events, self._waiting = self._waiting, []
        self._events.add_all(events)
