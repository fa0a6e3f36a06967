"""What packages cost is added up from looks at processes."""

import os
import sys
from dataclasses import replace
from pathlib import Path

from appliance.deadline import wait_until
from appliance.run import running
from buildfarm.meter import Meter, Reading, Tally, descendants, parents

MIB = 1 << 20
BURN = """
import sys, time
block = bytearray(64 << 20)
for place in range(0, len(block), 4096):
    block[place] = 1
until = time.process_time() + 0.3
while time.process_time() < until:
    pass
open(sys.argv[1], "w").close()
time.sleep(60)
"""


def reading(
    pid: int, parent: int, *, cpu: float = 0.0, mib: int = 0, cpv: str = "", phase: str = "compile"
) -> Reading:
    return Reading((pid, 1), parent, cpu, mib * MIB, cpv, phase if cpv else "")


def test_a_package_is_all_processes_below_its_first_one() -> None:
    tally = Tally()
    emerge = reading(2, 1, mib=9)
    phase, compiler = reading(3, 2, cpu=1, mib=1, cpv="a/b-1"), reading(4, 3, cpu=2, mib=5, cpv="a/b-1")
    tally.take(0.0, [emerge, phase, compiler])
    tally.take(5.0, [emerge, replace(phase, cpu_seconds=4), reading(6, 2, mib=3, cpv="c/d-2")])
    found = tally.figures()
    assert list(found) == ["a/b-1", "c/d-2"]
    one = found["a/b-1"]
    assert (one.seconds, one.cpu_seconds, one.peak_bytes, one.phase) == (5.0, 4, 6 * MIB, "compile")
    assert tally.peak_bytes == 15 * MIB


def test_phases_one_after_the_other_add_up() -> None:
    tally = Tally()
    tally.take(0.0, [reading(3, 2, cpu=1, cpv="a/b-1", phase="configure")])
    tally.take(1.0, [reading(3, 2, cpu=5, cpv="a/b-1", phase="configure")])
    tally.take(2.0, [reading(9, 2, cpu=2, cpv="a/b-1", phase="compile")])
    (found,) = tally.figures().values()
    assert (found.cpu_seconds, found.phase) == (7, "compile")


def test_a_child_that_is_between_ending_and_being_waited_for_is_not_lost() -> None:
    tally = Tally()
    tally.take(0.0, [reading(3, 2, cpu=1, cpv="a/b-1"), reading(4, 3, cpu=6, cpv="a/b-1")])
    tally.take(1.0, [reading(3, 2, cpu=1, cpv="a/b-1")])
    assert tally.figures()["a/b-1"].cpu_seconds == 7


def test_descendants_come_after_their_parents() -> None:
    assert descendants(1, {5: 1, 3: 5, 4: 3, 9: 2}) == [5, 3, 4]
    assert parents()[os.getpid()] == os.getppid()


def test_a_real_process_is_measured_by_the_package_in_its_environment(tmp_path: Path) -> None:
    environment = {"CATEGORY": "app-misc", "PF": "burner-1-r2", "EBUILD_PHASE": "compile"}
    done = tmp_path / "done"
    meter = Meter()
    # The one that burns has a clean environment, as some build systems give their compilers.
    argv: list[str | Path] = ["sh", "-c", 'env -i "$0" -c "$1" "$2"; true', sys.executable, BURN, done]
    with running(argv, env=environment):
        wait_until(lambda: done.exists() or None, seconds=60, what="it has burnt")
        meter.look()
    found = meter.tally.figures()
    assert list(found) == ["app-misc/burner-1-r2"]
    one = found["app-misc/burner-1-r2"]
    assert one.phase == "compile"
    assert one.cpu_seconds >= 0.25
    assert 60 * MIB < one.peak_bytes < 200 * MIB
    assert meter.tally.peak_bytes >= one.peak_bytes


def test_who_was_seen_before_it_became_a_package_is_asked_again(tmp_path: Path) -> None:
    begin = tmp_path / "begin"
    os.mkfifo(begin)
    meter = Meter()
    with running(["sh", "-c", 'read word <"$0"; CATEGORY=a PF=b-1 exec sleep 60', begin]) as child:

        def seen() -> bool | None:
            meter.look()
            return child.pid in {pid for pid, _ in meter._known} or None

        wait_until(seen, seconds=60, what="the shell was seen")
        assert meter.tally.figures() == {}
        begin.write_text("go\n")

        def known() -> bool | None:
            meter.look()
            return "a/b-1" in meter.tally.figures() or None

        wait_until(known, seconds=60, what="its package is known")


def test_looking_goes_on_while_the_block_lasts() -> None:
    with Meter(look_seconds=0.01) as meter, running(["sleep", "60"], env={"CATEGORY": "a", "PF": "b-1"}):
        wait_until(lambda: "a/b-1" in meter.tally.figures() or None, seconds=60, what="it was seen")


def test_reading_an_ebuilds_metadata_is_not_building_it() -> None:
    with running(["sleep", "60"], env={"CATEGORY": "a", "PF": "b-1", "EBUILD_PHASE": "depend"}):
        meter = Meter()
        meter.look()
        assert meter.tally.figures() == {}
        assert meter.tally.peak_bytes > 0
