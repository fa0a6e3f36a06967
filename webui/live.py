"""Says to browsers what changed, by server-sent events; they fetch those parts of their page again."""

import logging
import threading
import time
from collections.abc import Callable, Iterator

from flask import Blueprint, Flask, Response, current_app

from appliance.services import Services
from webui.access import Role, needs

log = logging.getLogger(__name__)

MOST_LIVE = 24
"""Connections at a time, each of which holds a thread; a browser beyond asks now and then instead."""
LOOK_SECONDS = 1.0
ALIVE_SECONDS = 10.0
"""So often something is written when nothing changes: a browser that went away is found out by it."""
LONGEST_SECONDS = 300.0
"""Then the browser comes again by itself, and is asked again who it is."""
AGAIN_SECONDS = 15
PULSE = "pulse"

area = Blueprint("live", __name__)


class Pulse:
    """One thread looks at the store for all who listen, and none does while nobody listens."""

    def __init__(
        self,
        open_services: Callable[[], Services],
        *,
        most: int = MOST_LIVE,
        look_seconds: float = LOOK_SECONDS,
        alive_seconds: float = ALIVE_SECONDS,
    ) -> None:
        self.open_services = open_services
        self.most = most
        self.look_seconds = look_seconds
        self.alive_seconds = alive_seconds
        self.listeners = 0
        self._condition = threading.Condition()
        self._beat = 0
        self._changed: dict[str, int] = {}
        """Topic -> the beat at which it changed last."""
        self.looks = False

    def enter(self) -> bool:
        """Take a place; False: all are taken. Who has one must leave()."""
        with self._condition:
            if self.listeners >= self.most:
                return False
            self.listeners += 1
            if not self.looks:
                self.looks = True
                threading.Thread(target=self._look, daemon=True).start()
            return True

    def leave(self) -> None:
        with self._condition:
            self.listeners -= 1
            self._condition.notify_all()

    def now(self) -> int:
        return self._beat

    def wait(self, after: int) -> tuple[int, list[str]]:
        """The beat of now, and the topics that changed after another one; none: nothing did for a while."""
        with self._condition:
            self._condition.wait_for(lambda: self._beat > after, self.alive_seconds)
            return self._beat, sorted(topic for topic, beat in self._changed.items() if beat > after)

    def _look(self) -> None:
        try:
            services = self.open_services()
            try:
                services.changes.look()
                while not self._is_over():
                    self._tell(services.changes.look())
            finally:
                services.store.close()
        except Exception:
            log.exception("looking for changes; who listens comes again within %.0f s", LONGEST_SECONDS)
            with self._condition:
                self.looks = False

    def _is_over(self) -> bool:
        """After the next moment: nobody listens any more, and whoever comes starts another thread."""
        with self._condition:
            over = self._condition.wait_for(lambda: not self.listeners, self.look_seconds)
            self.looks = not over
            return over

    def _tell(self, topics: frozenset[str]) -> None:
        if topics:
            with self._condition:
                self._beat += 1
                self._changed |= dict.fromkeys(topics, self._beat)
                self._condition.notify_all()


def add_live(app: Flask, open_services: Callable[[], Services]) -> None:
    app.extensions[PULSE] = Pulse(open_services)


@area.get("/live")
@needs(Role.VIEWER)
def live() -> Response:
    pulse: Pulse = current_app.extensions[PULSE]
    if not pulse.enter():
        return Response(
            f"{pulse.most} browsers follow already; look again in {AGAIN_SECONDS} s\n",
            503,
            {"Retry-After": str(AGAIN_SECONDS)},
            mimetype="text/plain",
        )
    response = Response(events(pulse), mimetype="text/event-stream")
    response.call_on_close(pulse.leave)
    return response


def events(pulse: Pulse) -> Iterator[str]:
    """The text of the stream: a line of topics for each change."""
    end, seen = time.monotonic() + LONGEST_SECONDS, pulse.now()
    yield "retry: 3000\n\n"
    while time.monotonic() < end:
        seen, topics = pulse.wait(seen)
        yield f"data: {' '.join(topics)}\n\n" if topics else ": still here\n\n"
