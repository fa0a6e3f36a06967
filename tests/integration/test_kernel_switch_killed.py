"""A change of kernels, killed at each of its system calls: the machine starts and comes to one end."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from distserver_client.menu import MOST_TRIES
from distserver_client.trials import Standing
from tests.kernel_machine import FIRST, KernelMachine
from tests.killing import CHANGES, killed_at_each

SECOND = b"kernel 2"


def machine_at(root: Path, *, signed: bool, started: int) -> KernelMachine:
    """As it is found again: its files, and how it was started."""
    found = KernelMachine(root, signed)
    for _ in range(started):
        found.power_on()
    return found


@pytest.mark.parametrize("signed", [False, True], ids=["grub", "systemd-boot"])
@pytest.mark.parametrize("what", ["install", "approve", "give up"])
def test_killed_at_every_system_call_that_changes_files(tmp_path: Path, signed: bool, what: str) -> None:
    def prepare(root: Path) -> None:
        machine = KernelMachine(root, signed).install()
        if what == "install":
            machine.emerge(2)
            (root / "boot/vmlinuz-1").write_bytes(FIRST)
        else:
            machine.update(2)

    def act(machine: KernelMachine) -> None:
        if what == "install":
            machine.kernels.hold()
            machine.kernels.install(machine.emerge(2))
        elif what == "approve":
            machine.kernels.approve()
        else:
            machine.kernels.give_up("it does not work")

    def work(root: Path) -> None:
        act(machine_at(root, signed=signed, started=0 if what == "install" else 1))

    points = 0
    for point, root in killed_at_each(prepare, work, tmp_path, CHANGES):
        again = machine_at(root, signed=signed, started=0)
        ran = again.power_on()
        assert ran in (FIRST, SECOND), point
        finish(again, what, act, point)
        points += 1
        shutil.rmtree(root)
    assert points > 5


def finish(machine: KernelMachine, what: str, act: Callable[[KernelMachine], None], point: str) -> None:
    """What the agent does after that start, and what the machine has in the end."""
    if what == "install":
        machine.kernels.hold()
        machine.kernels.install(machine.emerge(2))
        if machine.kernels.standing is Standing.PENDING:
            machine.power_on()
    machine.kernels.look()
    if what != "give up" and machine.kernels.standing is Standing.RUNNING:
        machine.kernels.approve()
    elif what == "give up" and machine.kernels.standing is Standing.RUNNING:
        act(machine)
    for _ in range(MOST_TRIES + 1):
        ran = machine.power_on()
        machine.kernels.look()
    expected = FIRST if what == "give up" else SECOND
    assert ran == expected, f"{point}: {ran!r}"
    assert machine.loader.ids[0] == machine.start.kernel, point
    assert machine.kernels.record.trial is None, point
