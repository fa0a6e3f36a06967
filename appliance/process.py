"""Names processes so that a number used again is not taken for the one that is gone."""

import os
from pathlib import Path


def name_process(pid: int) -> str:
    """`PID@START` of a living process, else empty: a number alone may belong to another one by now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{pid}@{fields[19]}"


def own_name() -> str:
    return name_process(os.getpid())


def process_id(name: str) -> int | None:
    """The PID of the living process with this name."""
    number = name.partition("@")[0]
    return int(number) if number.isdigit() and name_process(int(number)) == name else None


def parent_of(pid: int) -> int | None:
    """The PID of a process's parent."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
