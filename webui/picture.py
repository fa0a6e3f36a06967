"""A machine's timeline as a picture: one bar a stage along one axis of time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.model import Event
from appliance.timeline import last_run, seconds_text, size_text, spans_of

ROW = 22
LABEL = 110
FIGURES = 150
WIDTH = 1000


@dataclass(frozen=True)
class Bar:
    """Pixels of a picture that is WIDTH wide."""

    stage: str
    state: str
    figures: str
    left: float
    width: float
    top: int


@dataclass(frozen=True)
class Picture:
    bars: tuple[Bar, ...]
    height: int
    seconds: float


def draw(events: Sequence[Event], now: float) -> Picture:
    """The last run of a machine; an empty timeline is an empty picture."""
    spans = last_run(spans_of(events), now)
    if not spans:
        return Picture((), 0, 0.0)
    zero = min(span.started for span in spans)
    whole = max(max(span.ended(now) for span in spans) - zero, 0.1)
    scale = (WIDTH - LABEL - FIGURES) / whole
    bars = tuple(
        Bar(
            stage=span.stage,
            state=span.state.value,
            figures=f"{seconds_text(span.seconds)} {size_text(span.size_bytes)}".strip(),
            left=round(LABEL + (span.started - zero) * scale, 1),
            width=max(round((span.ended(now) - span.started) * scale, 1), 2.0),
            top=row * ROW,
        )
        for row, span in enumerate(spans)
    )
    return Picture(bars, len(bars) * ROW, whole)
