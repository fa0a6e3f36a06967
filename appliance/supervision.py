"""Keeps processes running: each is started again whenever it ends, until all are told to stop."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

log = logging.getLogger(__name__)

RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
STEADY_SECONDS = 60.0
END_SECONDS = 10.0
"""So long a process may take to end by itself."""


@dataclass(frozen=True)
class Kept:
    """A process that is to run as long as the others."""

    name: str
    argv: Sequence[str]
    makes_sockets: Callable[[socket.socket], bool] | None = None
    """Answers one question of a process that asks for sockets; False when there will be no more.

    The process is told the descriptor on which it may ask: `--sockets NUMBER`.
    """


async def supervise(processes: Sequence[Kept]) -> None:
    """Keep them running until a signal says stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with asyncio.TaskGroup() as tasks:
        for one in processes:
            tasks.create_task(_keep(one, stop))


def pause(failures: int, ran_seconds: float) -> tuple[int, float]:
    """How often it ended too soon in a row, after an end, and the seconds until it is started again."""
    failures = 1 if ran_seconds > STEADY_SECONDS else failures + 1
    return failures, RESTART_SECONDS[min(failures, len(RESTART_SECONDS)) - 1]


async def _keep(one: Kept, stop: asyncio.Event) -> None:
    """Start a process again whenever it ends, more and more slowly, until told to stop."""
    failures = 0
    while not stop.is_set():
        started = time.monotonic()
        with contextlib.ExitStack() as lent:
            maker = one.makes_sockets
            more, descriptors = lent.enter_context(_making_sockets(maker)) if maker else ([], ())
            child = await asyncio.create_subprocess_exec(
                *one.argv,
                *more,
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=descriptors,
            )
            waiting = asyncio.create_task(stop.wait())
            ended = asyncio.create_task(child.wait())
            await asyncio.wait({waiting, ended}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if stop.is_set():
                await _end(child)
                return
        failures, delay = pause(failures, time.monotonic() - started)
        log.error("the %s process ended with status %s, again in %d s", one.name, child.returncode, delay)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), delay)


@contextlib.contextmanager
def _making_sockets(
    answer: Callable[[socket.socket], bool],
) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Make sockets for a process that may not; its further arguments and descriptors.

    A receive buffer for a thousand machines takes CAP_NET_ADMIN, which a process that reads packets has not.
    All it can ask for is one more socket that is bound to nothing.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def asked() -> None:
        try:
            if answer(ours):
                return
        except (OSError, ValueError):
            log.exception("making a socket for another process")
        loop.remove_reader(ours)

    with ours, theirs:
        loop.add_reader(ours, asked)
        try:
            yield ["--sockets", str(theirs.fileno())], (theirs.fileno(),)
        finally:
            loop.remove_reader(ours)


async def _end(child: asyncio.subprocess.Process) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signum)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(child.wait(), END_SECONDS)
            return
