"""Kills a child at each of its system calls, one after another, with strace."""

import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from appliance.deadline import wait_until
from appliance.run import running

CALL = re.compile(r"^(?:\d+ +)?([a-z_0-9]+)\(", re.MULTILINE)
SECONDS = 60
GROUNDS = ("mmap", "munmap", "brk", "madvise", "futex", "mprotect")
"""Memory and locks of the interpreter: how often it asks for them differs from run to run."""


CHANGES = (
    "rename", "unlink", "unlinkat", "rmdir", "mkdir", "write", "pwrite64", "link", "linkat", "symlink",
    "sendfile", "copy_file_range", "chmod", "ftruncate",
)  # fmt: skip
"""Calls that leave another state on the disk; killed at any other a child leaves that of the next."""


def calls(work: Callable[[], object], scratch: Path) -> list[str]:
    """The names of all system calls of `work`, in their order."""
    return [name for name in CALL.findall(written(work, scratch)) if name not in GROUNDS]


def written(work: Callable[[], object], scratch: Path) -> str:
    """All system calls of `work` with their arguments, a line each; of a descriptor with its path."""
    log = scratch / "calls"
    assert _traced(work, scratch, ["--decode-fds=path", "--output", str(log)]) == 0
    return log.read_text()


def killed_at_each(
    prepare: Callable[[Path], None],
    work: Callable[[Path], object],
    scratch: Path,
    among: Sequence[str] = (),
) -> Iterator[tuple[str, Path]]:
    """For each system call of `work`: a fresh place in which it was killed when it entered that call.

    `prepare` fills an empty directory, `work` is done there by a child; `among`: only at these calls.
    """
    first = scratch / "first"
    first.mkdir()
    prepare(first)
    seen: dict[str, int] = {}
    for number, name in enumerate(calls(partial(work, first), scratch)):
        seen[name] = seen.get(name, 0) + 1
        if among and name not in among:
            continue
        place = scratch / f"{number}"
        place.mkdir()
        prepare(place)
        rule = f"--inject={name}:signal=KILL:when={seen[name]}"
        status = _traced(partial(work, place), scratch, [f"--trace={name}", rule])
        assert status in (0, -signal.SIGKILL), f"the child failed by itself: {status}"
        if status:
            yield f"{number} {name}", place


def _traced(work: Callable[[], object], scratch: Path, options: list[str]) -> int:
    """Run `work` in a child under strace; its status, negative when it was killed."""
    said = scratch / "said"
    said.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        status = 3
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            status = 0
        finally:
            os._exit(status)
    os.waitpid(child, os.WUNTRACED)
    with running(["strace", *options, "--attach", str(child)], output=said):
        wait_until(lambda: True if b"attached" in said.read_bytes() else None, seconds=SECONDS, what="strace")
        os.kill(child, signal.SIGCONT)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
