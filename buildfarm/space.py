"""Turns a full disk, wherever it is met, into one sentence."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import Problem
from appliance.run import CommandFailed

FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded"}


@contextmanager
def full_disk_is_a_problem(state: Path) -> Iterator[None]:
    """Raise Problem for a disk that is full, from our own writing or from a program's last words.

    Whoever writes goes by a temporary name and a rename, so that nothing half stands under a final name.
    """
    hint = "make room there; `distserver gc` removes what nothing names"
    try:
        yield
    except OSError as failed:
        if failed.errno not in FULL:
            raise
        raise Problem(f"the disk of {failed.filename or state} is full", hint=hint) from failed
    except CommandFailed as failed:
        said = [line for line in failed.output.splitlines() if any(words in line for words in FULL.values())]
        if not said:
            raise
        raise Problem(f"a disk is full: {said[-1].strip()}", hint=hint) from failed
