"""A person's terminal on a machine's line, until they type `~.` at the start of a line."""

import errno
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

from appliance.errors import Problem
from appliance.line import Line

READ_BYTES = 65536
HELP = b"\r\n~.  leave the console\r\n~B  send a break\r\n~~  a ~\r\n~?  this\r\n"


class Wish:
    """What a person wants besides typing."""

    LEAVE = b"."
    BREAK = b"B"
    HELP = b"?"


@dataclass
class Escapes:
    """Finds `~` and a letter after the start of a line, as ssh does; everything else is the machine's."""

    start: bool = True
    held: bool = False

    def feed(self, typed: bytes) -> list[tuple[bytes, bytes]]:
        """What is for the machine, each with the wish after it (b"" for none)."""
        found: list[tuple[bytes, bytes]] = []
        ours = bytearray()
        for value in typed:
            one = bytes((value,))
            if self.held:
                self.held = False
                if one in (Wish.LEAVE, Wish.BREAK, Wish.HELP):
                    found.append((bytes(ours), one))
                    ours.clear()
                    self.start = True
                    continue
                ours += b"~" if one == b"~" else b"~" + one
            elif self.start and one == b"~":
                self.held = True
                continue
            else:
                ours += one
            self.start = one in b"\r\n"
        if ours:
            found.append((bytes(ours), b""))
        return found


def converse(line: Line, log: BinaryIO | None) -> None:
    """Join the terminal with the line until the person leaves, or either side ends."""
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    escapes = Escapes()
    with _raw(keyboard):
        while True:
            ready, _, _ = select.select([keyboard, line.fd], [], [])
            if line.fd in ready:
                data = _read(line.fd)
                if not data:
                    return
                _write(screen, data)
                if log:
                    log.write(data)
            if keyboard in ready:
                typed = _read(keyboard)
                if not typed:
                    return
                for keys, wish in escapes.feed(typed):
                    _write(line.fd, keys)
                    if wish == Wish.LEAVE:
                        return
                    if wish == Wish.HELP:
                        _write(screen, HELP)
                    if wish == Wish.BREAK:
                        try:
                            line.send_break()
                        except Problem as problem:
                            _write(screen, f"\r\n{problem}\r\n".encode())


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """The terminal hands on each key as it is; a pipe does so anyway."""
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError as error:
        # A terminal whose other side ended.
        if error.errno in (errno.EIO, errno.ECONNRESET):
            return b""
        raise


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
