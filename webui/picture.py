"""A machine's timeline as a picture: one bar a stage along one axis of time. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from appliance.model import Event
from appliance.timeline import Span, last_run, seconds_text, size_text, spans_of

WIDTH = 1000
LEAST = 4.0
"""A bar that is seen."""
UPDATE, STEP = "update", "update "
"""Stages of the client: they have a picture of their own beside that of the installation."""


@dataclass(frozen=True)
class Bar:
    """A part of an axis that is WIDTH wide."""

    stage: str
    state: str
    figures: str
    left: float
    width: float


@dataclass(frozen=True)
class Picture:
    bars: tuple[Bar, ...]
    seconds: float


def draw(events: Sequence[Event], now: float) -> Picture:
    """The last installation of a machine; an empty timeline is an empty picture."""
    return _drawn(last_run(spans_of(one for one in events if not _is_update(one)), now), now)


def draw_update(events: Sequence[Event], now: float) -> Picture:
    """Its last update, from when it began; the steps have their short names."""
    told = [one for one in events if _is_update(one)]
    begins = [number for number, one in enumerate(told) if (one.stage, one.status) == (UPDATE, "begin")]
    spans = spans_of(told[begins[-1] :] if begins else ())
    return _drawn([replace(one, stage=one.stage.removeprefix(STEP)) for one in spans], now)


def _is_update(event: Event) -> bool:
    return event.stage == UPDATE or event.stage.startswith(STEP)


def _drawn(spans: Sequence[Span], now: float) -> Picture:
    if not spans:
        return Picture((), 0.0)
    zero = min(span.started for span in spans)
    whole = max(max(span.ended(now) for span in spans) - zero, 0.1)
    scale = WIDTH / whole
    bars = tuple(
        Bar(
            stage=span.stage,
            state=span.state.value,
            figures=f"{seconds_text(span.seconds)} {size_text(span.size_bytes)}".strip(),
            left=min(round((span.started - zero) * scale, 1), WIDTH - LEAST),
            width=max(round((span.ended(now) - span.started) * scale, 1), LEAST),
        )
        for span in spans
    )
    return Picture(bars, whole)
