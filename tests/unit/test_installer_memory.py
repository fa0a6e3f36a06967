"""What the installer does for machines of little memory, and what it says of it."""

from pathlib import Path

import pytest

from appliance.deadline import wait_until
from tests.installer_box import Box, lay, plan_text

MEMINFO = (
    "MemTotal: {total} kB\nMemFree: 5 kB\nMemAvailable: {left} kB\nSwapTotal: 2048 kB\nSwapFree: {swap} kB\n"
)


def meminfo(box: Box, *, left: int, swap: int = 2048) -> Box:
    """The machine has 10 MiB, of which `left` KiB can be had."""
    lay(box.path, {"proc/meminfo": MEMINFO.format(total=10240, left=left, swap=swap)})
    return Box(box.path, box.server, {"proc": str(box.path / "proc"), "memory_seconds": "0.02"})


def test_the_most_of_each_step_is_kept(box: Box) -> None:
    (box.path / "memory").mkdir()
    look = "most=3000; swapped=100; now=step; look_at_memory; cat $work/memory/step 2>/dev/null || echo none"
    assert meminfo(box, left=8000).sh(look).stdout == "none\n"
    assert meminfo(box, left=6000).sh(look).stdout == "4240 100 10240\n"
    assert meminfo(box, left=8000, swap=1000).sh(look).stdout == "3000 1048 10240\n"


def test_the_watch_follows_the_steps_until_it_is_ended(box: Box) -> None:
    watched = meminfo(box, left=6000)
    (box.path / "stage").write_text("stage\n")
    said = watched.sh(
        "begin_watch; until [ -s $work/memory/stage ]; do sleep 0.02; done; echo packages >$work/stage;"
        " until [ -s $work/memory/packages ]; do sleep 0.02; done; end_watch; echo $watch; memory_said"
    ).stdout.splitlines()
    assert said[1] == "memory: packages 5 MiB, stage 5 MiB; of 10 MiB"
    wait_until(lambda: not Path(f"/proc/{said[0]}").exists() or None, seconds=20, what="the watch has ended")


def test_it_is_said_with_the_largest_first_and_what_was_swapped(box: Box) -> None:
    lay(box.path / "memory", {"stage": "4000 0 10240\n", "packages": "9000 1500 10240\n"})
    assert (
        box.sh("memory_said").stdout == "memory: packages 9 MiB and 2 MiB of swap, stage 4 MiB; of 10 MiB\n"
    )


def test_nothing_is_said_when_nothing_was_seen(box: Box) -> None:
    assert box.sh("memory_said").stdout == ""


def test_a_kernel_without_swap_ends_nothing(box: Box) -> None:
    box.plan(plan_text())
    said = box.sh("set -e; swap_on; echo went on").stdout.splitlines()
    assert said == ["/dev/nvme0n1p2: the kernel takes no swap", "went on"]


@pytest.mark.parametrize(
    ("left_mib", "processor", "enough"),
    [(20, "i686", False), (40, "i686", True), (40, "x86_64", True), (10, "x86_64", False)],
)
def test_a_machine_of_too_little_memory_is_told_so_before_anything_is_written(
    box: Box, left_mib: int, processor: str, enough: bool
) -> None:
    box.plan(
        "disk /dev/sda\nsfdisk start=1MiB, size=16MiB, type=S\nsfdisk start=17MiB, size=900MiB, type=L\n"
    )
    said = meminfo(box, left=left_mib * 1024).sh(
        f"processor={processor}; need_mib=48; set -e; check_memory; echo went on", ok=(0 if enough else 1,)
    )
    assert ("went on" in said.stdout) == enough
    if not enough:
        assert f"{left_mib} MiB are left and the plan has 16 MiB of swap, packages need 48 MiB" in said.stdout


def test_packages_are_merged_one_after_another(box: Box) -> None:
    assert " --jobs=1 " in box.sh("echo $options").stdout
