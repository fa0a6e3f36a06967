"""What is wrong with bytes that came from the network."""


class Malformed(Exception):
    """Bytes that are no packet: which field, what was expected, what came. The fault is the sender's."""

    def __init__(self, field: str, *, expected: str, came: str) -> None:
        super().__init__(f"{field}: expected {expected}, came {came}")
        self.field = field
        self.expected = expected
        self.came = came


def printable(text: str | bytes) -> str:
    """Text of a stranger, safe for a log line or a terminal: all but printable ASCII is escaped."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return text[:200].encode("unicode_escape").decode("ascii")
