"""Programs of the machine: what they leave running ends with them, or stays, as it is meant."""

import os
import signal
from pathlib import Path

from appliance.deadline import wait_until
from distserver_client import programs

LEAVES = ["sh", "-c", "sleep 1000 & echo $!"]


def test_what_a_check_left_running_ends_with_it() -> None:
    done = programs.run(["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], seconds=30)
    assert done.status == 0
    comes_to_its_end(int(done.last_line))


def test_what_a_service_left_running_stays_and_nobody_waits_for_its_output() -> None:
    done = programs.order(LEAVES, seconds=30)
    assert (done.status, done.cut) == (0, "")
    left = int(done.last_line)
    assert is_there(left)
    os.kill(left, signal.SIGKILL)


def test_an_order_that_does_not_end_is_stopped_with_all_that_it_started() -> None:
    done = programs.order(["sh", "-c", "sleep 1000 & echo $!; wait"], seconds=0.5)
    assert (done.status, done.cut) == (-9, "was not done in time")
    comes_to_its_end(int(done.last_line))
    assert programs.order(["no-such-program"], seconds=1).status == programs.MISSING


def comes_to_its_end(process: int) -> None:
    """A signal is on its way for a moment."""
    wait_until(lambda: not is_there(process) or None, seconds=30, what=f"the end of {process}")


def is_there(process: int) -> bool:
    """Running: one that ended, and that nobody asked after, has no command line."""
    place = Path(f"/proc/{process}/cmdline")
    return place.exists() and bool(place.read_bytes())
