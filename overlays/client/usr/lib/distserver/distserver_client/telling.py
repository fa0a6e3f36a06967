"""Tells the server the steps of an update as they happen; whether it hears them makes no difference."""

from dataclasses import dataclass, replace

from distserver_client.errors import Problem
from distserver_client.talking import Talk
from distserver_client.updating import Step

SOON_SECONDS = 10.0
"""So long the server has to take an event."""
MOST_FAILURES = 2
"""After so many in a row nothing more is told in this update: a dead server costs seconds, not minutes."""
LONG = (Step.PACKAGES, Step.EMERGE)
"""What may take long is told when it begins, too."""
SHORT_SECONDS = 1.0
"""What took less, fetched nothing and went well is no news."""
STAGE = "update {}"


@dataclass
class Teller:
    talk: Talk | None
    """None: nobody listens."""
    failures: int = 0

    def begun(self, step: Step) -> None:
        if step in LONG:
            self._tell(step, "begin")

    def ended(self, step: Step, *, seconds: float, received_bytes: int) -> None:
        if step in LONG or seconds >= SHORT_SECONDS or received_bytes:
            self._tell(step, "done", seconds=round(seconds, 1), bytes=received_bytes)

    def failed(self, step: Step, why: str) -> None:
        self._tell(step, "failed", why)

    def _tell(self, step: Step, status: str, said: str = "", **took: float | int) -> None:
        if self.talk is None or self.failures >= MOST_FAILURES:
            return
        try:
            hurried = replace(self.talk, answer_seconds=SOON_SECONDS)
            hurried.event(STAGE.format(step.value), status, said[:1000], **took)
            self.failures = 0
        except (Problem, OSError):
            self.failures += 1
