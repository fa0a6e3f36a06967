"""Shows a machine's timeline as it goes: a picture in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import reduce
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from appliance.model import Event
from appliance.stages import Stage

POWER_ON_STAGE = Stage.DISCOVER
GAP_SECONDS = 600.0
STAGE_WIDTH = 12
FIGURES_WIDTH = 20
MIN_BAR_WIDTH = 10
MESSAGE_LINES = 12
REFRESHES_PER_SECOND = 4


class SpanState(Enum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It began, and the machine began anew without a word about its end."""
    NOTE = "note"


STYLES = {
    SpanState.RUNNING: "yellow",
    SpanState.DONE: "green",
    SpanState.FAILED: "bold red",
    SpanState.INTERRUPTED: "magenta",
    SpanState.NOTE: "dim",
}


@dataclass(frozen=True)
class Span:
    """One stage from its begin to its end; times in seconds since the epoch."""

    stage: str
    started: float
    state: SpanState
    seconds: float | None = None
    """None while it runs, or when nobody measured it."""
    size_bytes: int | None = None
    message: str = ""

    def ended(self, now: float) -> float:
        return now if self.state is SpanState.RUNNING else self.started + (self.seconds or 0.0)


Spans = tuple[Span, ...]


def add(spans: Spans, event: Event) -> tuple[Spans, Span]:
    """A timeline with one more event, and the span that event began, changed or ended."""
    if event.status == "begin" or event.stage == POWER_ON_STAGE:
        spans = _interrupted(spans, event)
    place = next(
        (
            place
            for place in range(len(spans) - 1, -1, -1)
            if spans[place].stage == event.stage and spans[place].state is SpanState.RUNNING
        ),
        None,
    )
    if place is None:
        span = _new(event)
        return (*spans, span), span
    span = _changed(spans[place], event)
    return (*spans[:place], span, *spans[place + 1 :]), span


def _interrupted(spans: Spans, event: Event) -> Spans:
    """Firmware that asks for an address, or a stage that begins again, ends what still seemed to run."""

    def ends(span: Span) -> bool:
        return span.state is SpanState.RUNNING and event.stage in (span.stage, POWER_ON_STAGE)

    return tuple(
        replace(span, state=SpanState.INTERRUPTED, seconds=event.at - span.started) if ends(span) else span
        for span in spans
    )


def _new(event: Event) -> Span:
    states = {"begin": SpanState.RUNNING, "failed": SpanState.FAILED, "note": SpanState.NOTE}
    state = states.get(event.status, SpanState.DONE)
    started = event.at - (event.seconds or 0.0)
    return Span(event.stage, started, state, event.seconds, event.size_bytes, clean(event.message))


def _changed(span: Span, event: Event) -> Span:
    size = span.size_bytes if event.size_bytes is None else event.size_bytes
    message = clean(event.message)
    if event.status == "note":
        return replace(span, size_bytes=size, message=message or span.message)
    seconds = max(event.at - span.started, 0.0) if event.seconds is None else event.seconds
    state = SpanState.FAILED if event.status == "failed" else SpanState.DONE
    return replace(span, state=state, seconds=seconds, size_bytes=size, message=message)


def spans_of(events: Iterable[Event]) -> Spans:
    """The stages that events, in their order, tell of."""
    return reduce(lambda spans, event: add(spans, event)[0], events, ())


def clean(text: str) -> str:
    """A message a machine sent, without what would steer the reader's terminal."""
    return "".join(
        one if one.isprintable() or one == "\n" else " " for one in text.replace("\r\n", "\n")
    ).strip()


def size_text(size_bytes: int | None) -> str:
    if size_bytes is None:
        return ""
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1_000_000 else f"{size_bytes / 1e3:.1f} kB"


def seconds_text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f} s"


def lines(events: Sequence[Event]) -> list[str]:
    """A timeline as plain text: when it began since power-on, stage, seconds, size, what was said."""
    spans = spans_of(events)
    zero = min((span.started for span in spans), default=0.0)
    return [line for span in spans for line in span_lines(span, zero)]


def span_lines(span: Span, zero: float) -> list[str]:
    """One line, or for a failed stage all it said."""
    first, *rest = span.message.split("\n")
    if span.state in (SpanState.FAILED, SpanState.INTERRUPTED, SpanState.RUNNING):
        first = f"{span.state.value}: {first}" if first else span.state.value
    figures = f"{seconds_text(span.seconds):>10}  {size_text(span.size_bytes):>9}"
    head = f"{span.started - zero:8.1f} s  {span.stage:<{STAGE_WIDTH}}{figures}  {first}".rstrip()
    return [head, *(f"{'':12}{line}" for line in rest)] if span.state is SpanState.FAILED else [head]


def bar(start: float, end: float, width: int, *, ascii_only: bool = False) -> str:
    """A bar from `start` to `end` (parts of the whole, 0 to 1) in `width` cells; never empty."""
    if ascii_only:
        first = min(int(start * width), width - 1)
        return " " * first + "=" * max(round(end * width) - first, 1)
    left = min(round(start * 2 * width), 2 * width - 1)
    right = max(round(end * 2 * width), left + 1)
    halves = range(left, right)
    glyphs = {(True, True): "━", (True, False): "╸", (False, True): "╺", (False, False): " "}
    return "".join(glyphs[2 * cell in halves, 2 * cell + 1 in halves] for cell in range(width)).rstrip()


def last_run(spans: Spans, now: float) -> Spans:
    """The spans since the machine was last silent for long: a picture of two days would show nothing."""
    begin, quiet_since = 0, 0.0
    for place, span in enumerate(spans):
        if place and span.started - quiet_since > GAP_SECONDS:
            begin = place
        quiet_since = max(quiet_since, span.ended(now))
    return spans[begin:]


@dataclass(frozen=True)
class Waterfall:
    """The picture of a timeline: one bar per stage along one axis of time, for rich to print."""

    title: str
    spans: Spans
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        spans = last_run(self.spans, self.now)
        yield Text(self.title, style="bold", no_wrap=True, overflow="ellipsis")
        if not spans:
            return
        zero = min(span.started for span in spans)
        whole = max(max(span.ended(self.now) for span in spans) - zero, 0.1)
        said = self._said(spans[-1])
        # A live picture higher than the terminal would leave its head behind at every refresh.
        room = max(options.max_height - len(said) - 3, 1) if console.is_terminal else len(spans)
        for span in spans[-room:]:
            yield self._row(span, zero, whole, options)
        yield Text(f"{'':{STAGE_WIDTH + 1}}{whole:.1f} s in all", style="dim")
        yield from said

    def _row(self, span: Span, zero: float, whole: float, options: ConsoleOptions) -> Text:
        width = max(options.max_width - STAGE_WIDTH - FIGURES_WIDTH - 4, MIN_BAR_WIDTH)
        start, end = (span.started - zero) / whole, (span.ended(self.now) - zero) / whole
        measured = self.now - span.started if span.state is SpanState.RUNNING else span.seconds
        drawn = bar(start, end, width, ascii_only=options.ascii_only)
        return Text.assemble(
            f"{clean(span.stage)[:STAGE_WIDTH]:<{STAGE_WIDTH}} ",
            (f"{drawn:<{width}}", STYLES[span.state]),
            f" {seconds_text(measured):>9} {size_text(span.size_bytes):>9}",
            no_wrap=True,
            overflow="crop",
        )

    @staticmethod
    def _said(span: Span) -> list[Text]:
        """What the stage at hand said last."""
        if not span.message or span.state is SpanState.DONE:
            return []
        said = [line for line in span.message.split("\n") if line][-MESSAGE_LINES:]
        return [
            Text(f"  {line}", style=STYLES[span.state], no_wrap=True, overflow="ellipsis") for line in said
        ]


class TimelineView:
    """A timeline while it grows: `feed` it events as they come.

    In a terminal the picture redraws in place and the running stage's seconds count; elsewhere every event
    becomes a line at once.
    """

    def __init__(
        self, title: str, *, console: Console | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._title = title
        self._console = console or Console()
        self._clock = clock
        self._spans: Spans = ()
        self._live = Live(
            console=self._console,
            get_renderable=self.picture,
            refresh_per_second=REFRESHES_PER_SECOND,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        else:
            self._print(self._title)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def feed(self, event: Event) -> None:
        self._spans, changed = add(self._spans, event)
        if self._console.is_terminal:
            return
        if event.status == "note":
            changed = replace(changed, seconds=None, state=SpanState.NOTE)
        # A line of a log tells when it was written, so the time never runs backwards.
        for line in span_lines(replace(changed, started=event.at), self._spans[0].started):
            self._print(line)

    def picture(self) -> Waterfall:
        return Waterfall(self._title, self._spans, self._clock())

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)
