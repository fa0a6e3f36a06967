"""Runs programs; the only user of subprocess."""

import logging
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

Argument = str | Path
TAIL_BYTES = 4000
STOP_SECONDS = 10.0


class CommandFailed(Exception):
    """A program ended with a status its caller did not allow."""

    def __init__(self, argv: Sequence[str], status: int, output: str) -> None:
        self.argv = list(argv)
        self.status = status
        self.output = output
        super().__init__(f"{shlex.join(argv)} ended with status {status}\n{output[-TAIL_BYTES:]}".rstrip())


@dataclass(frozen=True)
class Finished:
    """What a program left behind: its exit status (negative: killed by that signal) and what it printed."""

    status: int
    stdout: str


def run(
    argv: Sequence[Argument],
    *,
    prefix: Sequence[Argument] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    output: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    ok: Sequence[int] = (0,),
    timeout_seconds: float | None = None,
) -> Finished:
    """Run one program to its end, standard error folded into standard output.

    `prefix` is an argv prefix such as a sandbox or `ip netns exec NAME`. `env` adds to the environment.
    `output` appends what is printed to a file as it comes, `on_line` sees each line as it comes.
    Raises CommandFailed when the status is not in `ok` or the time is over (status -9).
    """
    words = [str(word) for word in (*prefix, *argv)]
    log.debug("run %s", shlex.join(words))
    child = subprocess.Popen(
        words,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **env} if env else None,
        cwd=cwd,
        start_new_session=True,
    )
    sink = output.open("ab") if output else None
    try:
        if sink is None and on_line is None:
            printed, _ = child.communicate(stdin, timeout=timeout_seconds)
            text = printed.decode(errors="replace")
        else:
            text = _follow(child, stdin, sink, on_line)
            child.wait(timeout_seconds)
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(words, -9, f"not done after {timeout_seconds} s") from late
    finally:
        if child.poll() is None:
            end(child)
        if sink:
            sink.close()
    if child.returncode not in ok:
        raise CommandFailed(words, child.returncode, text)
    return Finished(child.returncode, text)


def _follow(
    child: "subprocess.Popen[bytes]",
    stdin: bytes | None,
    sink: IO[bytes] | None,
    on_line: Callable[[str], None] | None,
) -> str:
    """Pass a running child's output on line by line; returns its last part."""
    if child.stdin:
        child.stdin.write(stdin or b"")
        child.stdin.close()
    assert child.stdout is not None
    tail: list[bytes] = []
    size = 0
    for line in child.stdout:
        if sink:
            sink.write(line)
            sink.flush()
        if on_line:
            on_line(line.decode(errors="replace").rstrip("\n"))
        tail.append(line)
        size += len(line)
        while size - len(tail[0]) > TAIL_BYTES:
            size -= len(tail.pop(0))
    return b"".join(tail).decode(errors="replace")


@contextmanager
def running(
    argv: Sequence[Argument],
    *,
    prefix: Sequence[Argument] = (),
    output: Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program for as long as the block lasts, then end its whole process group."""
    words = [str(word) for word in (*prefix, *argv)]
    log.debug("start %s", shlex.join(words))
    with (output or Path(os.devnull)).open("ab") as sink:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        end(child)


def end(child: "subprocess.Popen[bytes]") -> None:
    """Ask a child's process group to stop, then make it stop."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            try:
                os.killpg(child.pid, signum)
            except ProcessLookupError:
                break
            try:
                child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            break
    child.wait()
