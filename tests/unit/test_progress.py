"""Progress in a pipe: not too many lines, and what they say is right."""

from appliance.cli.progress import Lines
from tests.clock import Clock

MB = 10**6


def test_lines_say_bytes_rate_and_the_time_that_is_left() -> None:
    said: list[str] = []
    clock = Clock(100.0)
    lines = Lines(said.append, clock)
    lines.tell("making the planner", 0, 0)
    lines.tell("making the planner", 0, 0)
    for second in range(21):
        clock.now = 100.0 + second
        lines.tell("writing sdb", second * MB, 20 * MB)
    lines.tell("reading back sdb", 0, 20 * MB)
    clock.now += 2
    lines.tell("reading back sdb", 20 * MB, 20 * MB)
    assert said == [
        "making the planner",
        "writing sdb 25 % of 20.0 MB, 1.0 MB/s, 15 s left",
        "writing sdb 50 % of 20.0 MB, 1.0 MB/s, 10 s left",
        "writing sdb 75 % of 20.0 MB, 1.0 MB/s, 5 s left",
        "writing sdb 100 % of 20.0 MB, 1.0 MB/s",
        "reading back sdb 100 % of 20.0 MB, 10.0 MB/s",
    ]
