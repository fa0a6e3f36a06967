"""Runs programs of the machine with limits; the agent's only user of subprocess."""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
PIECE_BYTES = 65536
MISSING = 127
"""The status of a program that is not there, as shells give it."""


@dataclass(frozen=True)
class Finished:
    """What a program left behind."""

    status: int
    """Negative: ended by that signal; -9 also when its time was over or it printed too much."""
    output: bytes
    """Standard output and standard error."""
    cut: str = ""
    """Why it was stopped; empty when it ended by itself."""

    @property
    def last_line(self) -> str:
        lines = [line for line in self.output.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else "no output"


def run(
    argv: Sequence[str],
    *,
    root: Path = Path("/"),
    seconds: float,
    most_bytes: int = 1 << 20,
    environment: Mapping[str, str] | None = None,
    apart: bool = False,
    log: Path | None = None,
) -> Finished:
    """Run a program of `root`, found there by PATH, to its end or to a limit; no shell, nothing to read.

    Everything that it started ends with it. `apart` keeps standard error away from the output. With `log`
    what it prints is added to that file, as much as it is, and the last of it is the output.
    A program that is not there has the status MISSING.
    """
    deadline = time.monotonic() + seconds
    elsewhere = root.resolve() != Path("/")
    prefix = ["chroot", str(root)] if elsewhere else []
    try:
        child = subprocess.Popen(
            [*prefix, *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if apart else subprocess.STDOUT,
            env={**ENVIRONMENT, **(environment or {})},
            cwd="/",
            start_new_session=True,
        )
    except FileNotFoundError:
        return Finished(MISSING, f"{argv[0]}: not there".encode())
    with child:
        try:
            output, cut = _read(child, deadline, most_bytes, log)
        finally:
            _end(child)
    return Finished(child.returncode, output, cut)


def order(argv: Sequence[str], *, root: Path = Path("/"), seconds: float) -> Finished:
    """Run a program that starts others which are to stay; they may also keep its output open.

    It is done when it ends itself. Only when its time is over, all that it started ends with it.
    """
    prefix = ["chroot", str(root)] if root.resolve() != Path("/") else []
    with tempfile.TemporaryFile() as sink:
        try:
            child = subprocess.Popen(
                [*prefix, *argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,
            )
        except FileNotFoundError:
            return Finished(MISSING, f"{argv[0]}: not there".encode())
        with child:
            cut = _wait(child, time.monotonic() + seconds)
            if cut:
                _end(child)
        sink.seek(0)
        return Finished(child.returncode, sink.read(PIECE_BYTES), cut)


def begin(argv: Sequence[str]) -> None:
    """Start a program that goes on by itself when this one has ended."""
    quiet = subprocess.DEVNULL
    subprocess.Popen(
        argv, stdin=quiet, stdout=quiet, stderr=quiet, env=ENVIRONMENT, cwd="/", start_new_session=True
    )


def show(argv: Sequence[str], content: bytes) -> int:
    """Let a person read a content with a program of this terminal (a pager); its status."""
    try:
        return subprocess.run(argv, input=content, check=False).returncode
    except FileNotFoundError:
        return MISSING


def edit(argv: Sequence[str]) -> int:
    """Give the terminal to a program (an editor) until it ends; its status."""
    try:
        return subprocess.run(argv, check=False).returncode
    except FileNotFoundError:
        return MISSING


def _read(
    child: "subprocess.Popen[bytes]", deadline: float, most_bytes: int, log: Path | None
) -> tuple[bytes, str]:
    """What it prints until it ends, and why that was too long or too much."""
    assert child.stdout is not None
    found = bytearray()
    with selectors.DefaultSelector() as selector, log.open("ab") if log else contextlib.nullcontext() as sink:
        selector.register(child.stdout, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(left):
                continue
            piece = os.read(child.stdout.fileno(), PIECE_BYTES)
            if not piece:
                return bytes(found), _wait(child, deadline)
            found += piece
            if sink:
                sink.write(piece)
                sink.flush()
                del found[: max(0, len(found) - most_bytes)]
            elif len(found) > most_bytes:
                return bytes(found[:most_bytes]), f"printed more than {most_bytes} bytes"
    return bytes(found), "was not done in time"


def _wait(child: "subprocess.Popen[bytes]", deadline: float) -> str:
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "was not done in time"
    return ""


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End its whole group: a daemon that a validator left behind, too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
