"""What the server says of configuration files after they were asked about, and what the machine says then."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from distserver_client.triples import State, is_sha256


class Became(Enum):
    """What became of an answer on the machine."""

    APPLIED = "applied"
    REFUSED = "refused"
    """The file's own program refuses it, and the old file stays: a person is asked again."""
    REVERTED = "reverted"
    """The old file is back, since the answer was taken back."""
    CHANGED = "changed"
    """The answer was taken back, and the file is another one since: it stays."""


@dataclass(frozen=True)
class News:
    """An answer, or one that was taken back; hashes are those of the item that was asked."""

    path: str
    base: str
    ours: str
    theirs: str
    result: str
    state: State | None
    """None: it was taken back. If the file is still `result`, `ours` is to be put back."""


def read_news(came: object) -> News:
    """Raises ValueError for what no server of ours says."""
    if not isinstance(came, Mapping):
        raise ValueError(f"an answer is {type(came).__name__}, expected an object")
    names = ("path", "base", "ours", "theirs", "result")
    path, base, ours, theirs, result = (came.get(name) for name in names)
    hashes = [one for one in (base, ours, theirs, result) if one != ""]
    if not isinstance(path, str) or not path.startswith("/") or not all(is_sha256(one) for one in hashes):
        raise ValueError(f"an answer has a path or hash that is none: {came!r:.200}")
    undo = came.get("state") == "undo"
    state = None if undo else State(came.get("state"))
    return News(path, str(base), str(ours), str(theirs), str(result), state)
