"""A timeline from events: plain lines, the picture, and how it grows."""

import io

from rich.console import Console

from appliance.model import Event
from appliance.timeline import (
    SpanState,
    TimelineView,
    Waterfall,
    bar,
    last_run,
    lines,
    spans_of,
)

MAC = "52:54:00:77:00:01"
START = 1_700_000_000.0


def event(at: float, stage: str, status: str = "done", message: str = "", **figures: float) -> Event:
    size = figures.get("size_bytes")
    return Event(
        subject=MAC,
        at=START + at,
        stage=stage,
        status=status,
        seconds=figures.get("seconds"),
        size_bytes=None if size is None else int(size),
        message=message,
    )


INSTALL = [
    event(0.0, "discover"),
    event(1.5, "program", size_bytes=1_048_576, seconds=0.5),
    event(2.0, "script"),
    event(3.5, "kernel", size_bytes=4_100_000, seconds=0.4),
    event(10.0, "packages", "begin"),
    event(60.0, "packages", "note", "3 of 11 sys-apps/sed"),
    event(160.0, "packages", size_bytes=28_400_000, message="11 packages"),
    event(160.0, "kernel", "begin"),
    event(161.2, "kernel", seconds=1.1),
]


def picture(events: list[Event], now: float = 0.0) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(Waterfall("alpha", spans_of(events), START + now))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_timeline_is_one_line_a_stage_with_seconds_and_size() -> None:
    assert lines(INSTALL) == [
        "     0.0 s  discover",
        "     1.0 s  program          0.5 s     1.0 MB",
        "     2.0 s  script",
        "     3.1 s  kernel           0.4 s     4.1 MB",
        "    10.0 s  packages       150.0 s    28.4 MB  11 packages",
        "   160.0 s  kernel           1.1 s",
    ]


def test_no_events_are_no_lines() -> None:
    assert lines([]) == []


def test_a_stage_that_runs_says_so_and_what_it_said_last() -> None:
    assert (
        lines(INSTALL[:6])[-1]
        == "    10.0 s  packages                           running: 3 of 11 sys-apps/sed"
    )


def test_a_failed_stage_shows_all_it_said() -> None:
    failed = event(5.0, "verify", "failed", "stage: SHA256 differs\nexpected ab\n     got cd")
    assert lines([event(0, "discover"), event(1, "verify", "begin"), failed])[1:] == [
        "     1.0 s  verify           4.0 s             failed: stage: SHA256 differs",
        "            expected ab",
        "                 got cd",
    ]


def test_a_stage_that_fails_without_a_begin_is_a_stage() -> None:
    assert lines([event(0, "plan", "failed", "two disks match")]) == [
        "     0.0 s  plan                               failed: two disks match"
    ]


def test_power_lost_in_a_stage_is_an_interruption() -> None:
    again = [
        event(0, "discover"),
        event(5, "packages", "begin"),
        event(65, "discover"),
        event(70, "packages", "begin"),
    ]
    states = [(span.stage, span.state, span.seconds) for span in spans_of(again)]
    assert states == [
        ("discover", SpanState.DONE, None),
        ("packages", SpanState.INTERRUPTED, 60.0),
        ("discover", SpanState.DONE, None),
        ("packages", SpanState.RUNNING, None),
    ]


def test_a_stage_that_begins_again_leaves_other_running_stages_alone() -> None:
    both = [event(0, "packages", "begin"), event(1, "verify", "begin"), event(2, "verify", "begin")]
    assert [span.state for span in spans_of(both)] == [
        SpanState.RUNNING,
        SpanState.INTERRUPTED,
        SpanState.RUNNING,
    ]


def test_a_note_outside_a_stage_stands_alone() -> None:
    assert lines([event(0, "plan", "note", "waiting for a person")])[0].endswith("waiting for a person")


def test_a_message_cannot_steer_the_terminal() -> None:
    evil = event(0, "plan", "failed", "\x1b]0;owned\x07 [red]no[/red]\r\nmore")
    assert lines([evil])[0].endswith("failed: ]0;owned  [red]no[/red]")
    assert "[red]no[/red]" in "\n".join(picture([evil]))
    assert "\x1b" not in "\n".join(lines([evil]) + picture([evil]))


def test_a_bar_lies_where_its_time_lies_and_is_never_empty() -> None:
    assert bar(0.0, 1.0, 4) == "━━━━"
    assert bar(0.5, 1.0, 4) == "  ━━"
    assert bar(0.25, 0.5, 2) == "╺"
    assert bar(0.0, 0.25, 2) == "╸"
    assert bar(1.0, 1.0, 4) == "   ╺"
    assert bar(0.0, 0.0, 4) == "╸"
    assert bar(0.5, 1.0, 4, ascii_only=True) == "  =="
    assert bar(1.0, 1.0, 4, ascii_only=True) == "   ="
    for start in range(101):
        for end in range(start, 101):
            for ascii_only in (False, True):
                drawn = bar(start / 100, end / 100, 13, ascii_only=ascii_only)
                assert drawn.strip()
                assert len(drawn) <= 13


def test_the_picture_has_one_bar_a_stage_along_one_axis() -> None:
    rows = picture(INSTALL)
    assert rows[0] == "alpha"
    assert [row.split()[0] for row in rows[1:-1]] == [
        "discover",
        "program",
        "script",
        "kernel",
        "packages",
        "kernel",
    ]
    packages = rows[5]
    assert packages.endswith("150.0 s   28.4 MB")
    assert packages.count("━") > 35
    assert rows[-2].index("╺") > packages.rindex("━") - 1
    assert rows[-1].strip() == "161.1 s in all"
    assert all(len(row) <= 80 for row in rows)


def test_the_running_stage_counts_and_shows_its_last_word() -> None:
    rows = picture(INSTALL[:6], now=70.0)
    assert rows[-3].endswith("60.0 s")
    assert rows[-1] == "  3 of 11 sys-apps/sed"


def test_the_picture_starts_after_the_last_long_silence() -> None:
    later = [*INSTALL, event(90_000, "discover"), event(90_001, "script")]
    assert [span.started - START for span in last_run(spans_of(later), START)] == [90_000, 90_001]
    assert last_run(spans_of(INSTALL), START) == spans_of(INSTALL)


def test_piped_every_event_is_a_line_at_once_and_long_ones_are_not_broken() -> None:
    out = io.StringIO()
    with TimelineView("machine alpha", console=Console(file=out, width=40)) as view:
        for one in [*INSTALL[:7], event(161.0, "client", "note", "x" * 100)]:
            view.feed(one)
    assert out.getvalue().splitlines() == [
        "machine alpha",
        "     0.0 s  discover",
        "     1.5 s  program          0.5 s     1.0 MB",
        "     2.0 s  script",
        "     3.5 s  kernel           0.4 s     4.1 MB",
        "    10.0 s  packages                           running",
        "    60.0 s  packages                           3 of 11 sys-apps/sed",
        "   160.0 s  packages       150.0 s    28.4 MB  11 packages",
        "   161.0 s  client                             " + "x" * 100,
    ]


def test_in_a_terminal_the_picture_stays_within_its_height() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, height=8, color_system=None)
    with TimelineView("alpha", console=console, clock=lambda: START + 200) as view:
        for number in range(30):
            view.feed(event(number, f"stage{number}", seconds=0.5))
        height = len(console.render_lines(view.picture()))
    assert height <= 8
    assert "stage29" in out.getvalue()
    assert "alpha" in out.getvalue().rsplit("stage29", 1)[0]


def test_a_terminal_without_unicode_gets_a_picture_too() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", write_through=True), width=60)
    console.print(Waterfall("alpha", spans_of(INSTALL), START))
    assert b"=====" in raw.getvalue()
