"""Switches virtual machines on: QEMU while a block lasts, with its console and its control socket."""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from appliance.boards import Flash
from appliance.console import Console
from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.qmp import ControlClosed, control
from appliance.run import Argument, end, running
from appliance.vm import Accel, Slot, Vm, argv

START_SECONDS = 30.0


class Process(Protocol):
    """A child process, as appliance.run.running() gives it."""

    pid: int

    def poll(self) -> int | None: ...


@dataclass(frozen=True)
class PoweredOn:
    """A machine that is on."""

    vm: Vm
    console: Console
    process: Process
    control: Path
    stop: Callable[[], None]

    def wait_for_exit(self, *, seconds: float) -> None:
        """Wait until the guest has switched the machine off."""
        name = f"{self.vm.name} switches itself off"
        wait_until(self.process.poll, seconds=seconds, what=name, last_seen=self.console.tail)

    def power_off(self) -> None:
        """Pull the plug; a machine that is already off stays off.

        QEMU closes its images on SIGTERM; only one that hangs (KVM may) is killed.
        """
        self.stop()

    def reset(self) -> None:
        """Press the reset button: the firmware starts again."""
        control(self.control, "system_reset")

    def take_medium_out(self) -> None:
        """Open the CD drive, or pull the USB stick."""
        if self.vm.medium and self.vm.medium.slot is Slot.USB:
            control(self.control, "device_del", {"id": "medium-drive"})
        else:
            control(self.control, "eject", {"id": "medium-drive", "force": True})

    def slow_medium_down(self, bytes_per_second: int) -> None:
        """Make a medium as slow as the sticks of before."""
        limits = dict.fromkeys(("bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"), 0)
        limits["bps"] = bytes_per_second
        control(self.control, "block_set_io_throttle", {"device": "medium", **limits})


@contextmanager
def power_on(vm: Vm, *, accel: Accel = Accel.TCG, prefix: Sequence[Argument] = ()) -> Iterator[PoweredOn]:
    """A machine that is on until the block is left.

    `prefix` puts it into a network namespace (`Lan.exec_prefix`). It dies with the thread that switched it on
    (setpriv --pdeathsig), so nothing keeps running when the caller is killed.
    """
    vm.directory.mkdir(parents=True, exist_ok=True)
    flash = vm.built_on.flash
    if flash and not vm.variables.exists():
        _copy_variables(flash, vm.keys or flash.variables, vm.variables)
    # A socket's path is at most 107 bytes (unix(7)): the machine's own directory may be too deep.
    with tempfile.TemporaryDirectory(prefix="distserver-vm-") as place:
        sockets = Path(place)
        program = ["setpriv", "--pdeathsig", "KILL", *argv(vm, accel, sockets)]
        with (
            running(program, prefix=prefix, output=vm.log) as process,
            _attached(vm, process, sockets / "console") as line,
            Console(line.fileno(), vm.transcript) as console,
        ):
            on = PoweredOn(vm, console, process, sockets / "qmp", partial(end, process))
            try:
                _wait_for_guest(on)
                yield on
            finally:
                on.power_off()


def _copy_variables(flash: Flash, template: Path, variables: Path) -> None:
    for file in (flash.code, template):
        if not file.exists():
            raise Problem(f"no UEFI firmware: {file} is missing", hint=f"install the package {flash.package}")
    partial = variables.with_suffix(".partial")
    shutil.copyfile(template, partial)
    partial.rename(variables)


@contextmanager
def _attached(vm: Vm, process: Process, path: Path) -> Iterator[socket.socket]:
    """The machine's serial line, as soon as QEMU offers it."""

    def connect() -> bool | None:
        _check_running(vm, process)
        try:
            line.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        return True

    with socket.socket(socket.AF_UNIX) as line:
        wait_until(connect, seconds=START_SECONDS, what=f"QEMU offers the console of {vm.name}")
        yield line


def _wait_for_guest(on: PoweredOn) -> None:
    """Wait until QEMU has taken all devices and the guest runs: only then its control socket answers."""

    def answer() -> bool | None:
        _check_running(on.vm, on.process)
        try:
            control(on.control, "query-status")
        except (OSError, ControlClosed):
            return None
        return True

    wait_until(answer, seconds=START_SECONDS, what=f"QEMU starts {on.vm.name}")


def _check_running(vm: Vm, process: Process) -> None:
    status = process.poll()
    if status is not None:
        raise Problem(
            f"machine {vm.name} cannot be switched on: QEMU ended with status {status}",
            hint=vm.log.read_text(errors="replace")[-1000:].strip(),
        )
