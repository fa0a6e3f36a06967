"""Stops a program before its n-th change of a directory: by an exception, or as SIGKILL does."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHANGES = frozenset({"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.chmod", "os.utime"})


class Crashed(BaseException):
    """The program ended here; nothing after this line happened."""


@dataclass
class _Plan:
    place: str = ""
    left: int = -1
    act: Callable[[], None] | None = None


_plan = _Plan()
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _plan.left < 0 or not (event in CHANGES or (event == "open" and _writes(arguments))):
        return
    # rmtree names what it removes relative to an open directory.
    relative = event in ("os.remove", "os.rmdir") and arguments[-1] != -1
    if not relative and not any(str(one).startswith(_plan.place) for one in arguments):
        return
    _plan.left -= 1
    if _plan.left < 0 and _plan.act:
        _plan.act()


def _writes(arguments: tuple[object, ...]) -> bool:
    flags = arguments[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _raise() -> None:
    raise Crashed


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def crashing(place: Path, before_change: int) -> Iterator[None]:
    """Within the block the n-th change below `place` (0: the first) raises Crashed instead."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    _plan.place, _plan.left, _plan.act = str(place), before_change, _raise
    try:
        yield
    finally:
        _plan.left = -1


def killed(place: Path, before_change: int, work: Callable[[], object]) -> bool:
    """Do `work` in a child that dies before its n-th change; False when it came to its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with crashing(place, before_change):
                _plan.act = _kill
                work()
            status = 0
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    if os.WIFSIGNALED(ended):
        assert os.WTERMSIG(ended) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(ended) == 0, "the child failed before it was killed"
    return False
