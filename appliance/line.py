"""A machine's serial line: a socket or device of this host, a program such as ssh, or IPMI's own."""

import os
import socket
import stat
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect

from appliance.console import Console
from appliance.dialogue import Break, Dialogue, Ended, Player, Type
from appliance.errors import Problem
from appliance.machine_settings import Bmc, BmcKind, ConsoleKind, MachineSettings
from appliance.power import ipmitool_argv
from appliance.secret import check_secret

CONNECT_SECONDS = 10.0
LOOK_SECONDS = 0.2
IPMI_BREAK = "\r~B"
"""ipmitool(1), sol activate: its escape sequence for a break, which it takes at the start of a line."""


@dataclass(frozen=True)
class Line:
    """An open line."""

    fd: int
    send_break: Callable[[], None]
    """Raises Problem where the line knows no break."""


@contextmanager
def open_line(machine: MachineSettings) -> Iterator[Line]:
    """The machine's line until the block is left. Raises Problem when it cannot be opened."""
    console, bmc = machine.console, machine.bmc
    if bmc and bmc.kind is BmcKind.IPMI and (console is None or console.kind is ConsoleKind.IPMI):
        way = _program(_sol(bmc), IPMI_BREAK)
    elif console is None:
        hint = "[[machine]] with mac and console, or with a bmc of kind ipmi, in appliance.toml does"
        raise Problem(f"the site names no console of machine {machine.mac}", hint=hint)
    elif console.kind is ConsoleKind.COMMAND:
        way = _program(list(console.command), console.break_keys)
    else:
        way = _local(console.path)
    with way as line:
        yield line


def _sol(bmc: Bmc) -> list[str]:
    check_secret(bmc.password_file)
    return [*ipmitool_argv(bmc), "sol", "activate"]


@contextmanager
def _program(argv: list[str], break_keys: str) -> Iterator[Line]:
    """A program on a terminal of its own."""
    try:
        # With echo: ssh gives the far terminal the modes of this one, and makes this one raw afterwards.
        child = pexpect.spawn(argv[0], argv[1:], timeout=None, dimensions=(24, 80))
    except pexpect.ExceptionPexpect as error:
        hint = "correct console.command in the site, or install what it names"
        raise Problem(f"there is no program {argv[0]}", hint=hint) from error

    def send_break() -> None:
        if not break_keys:
            hint = "set console.break_keys to what makes it send one (`~B` for ssh)"
            raise Problem(f"nobody said how a break is sent through {argv[0]}", hint=hint)
        os.write(child.child_fd, break_keys.encode())

    try:
        yield Line(child.child_fd, send_break)
    finally:
        child.close(force=True)


@contextmanager
def _local(path: Path) -> Iterator[Line]:
    """A Unix socket (QEMU's -serial) or a terminal device."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise Problem(f"{path} is no console: {error.strerror}", hint="is the machine on?") from error
    if stat.S_ISSOCK(mode):
        with socket.socket(socket.AF_UNIX) as one:
            one.settimeout(CONNECT_SECONDS)
            try:
                one.connect(str(path))
            except OSError as error:
                raise Problem(f"{path} cannot be connected to: {error}", hint="is somebody on it?") from error
            one.settimeout(None)
            yield Line(one.fileno(), _no_break(path))
    elif stat.S_ISCHR(mode):
        device = os.open(path, os.O_RDWR | os.O_NOCTTY)
        try:
            tty.setraw(device)
            yield Line(device, lambda: termios.tcsendbreak(device, 0))
        finally:
            os.close(device)
    else:
        raise Problem(f"{path} is neither a socket nor a device")


def _no_break(path: Path) -> Callable[[], None]:
    def send_break() -> None:
        raise Problem(
            f"{path} is a socket, which knows no break", hint="switch the machine off and on instead"
        )

    return send_break


def play(dialogue: Dialogue, line: Line, console: Console, say: Callable[[str], None]) -> None:
    """Hold a dialogue on a line, which `console` reads.

    Raises Problem when it does not succeed, ConsoleClosed when the line ends.
    """
    player = Player(dialogue, time.monotonic())
    said = 0
    while player.ended is None:
        acts = player.hear(console.hear(LOOK_SECONDS), time.monotonic())
        for state in player.passed[said:]:  # one piece of text may lead through several
            say(state)
        said = len(player.passed)
        for act in acts:
            match act:
                case Type(keys):
                    console.send(keys)
                case Break():
                    try:
                        line.send_break()
                    except Problem as problem:
                        # A machine that stands at its prompt needs none.
                        say(f"no break: {problem.message}")
                case Ended(problem) if problem:
                    hint = f"the last lines:\n{console.tail()}"
                    raise Problem(
                        f"the dialogue {dialogue.name} got as far as `{player.state}`: {problem}", hint=hint
                    )
