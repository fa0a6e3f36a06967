"""The matrix of firmware and foreign DHCP servers: what every machine is expected to do, and its table."""

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from appliance.lab import FOREIGN
from tests.e2e.netboot import KINDS, Row
from tests.e2e.wire import Outcome, Way

PAGE = Path("docs/netboot.md")
BEGIN, END = "<!-- matrix: made by python -m tests.e2e.matrix_table -->\n", "<!-- end of matrix -->\n"
HEADINGS = {
    "plain": "says nothing",
    "siaddr": "another siaddr",
    "file": "a boot file",
    "class": "option 60 `PXEClient`",
}


_LOST = Outcome(Way.THEIR_4011)
_SCRIPT = Outcome(Way.URL, Way.URL)
_QUIET = ("plain", "siaddr", "file")

EXPECTED: Mapping[Row, Outcome] = {
    **{Row("ipxe", foreign, "usual"): _SCRIPT for foreign in FOREIGN},
    **{Row("bios", foreign, "usual"): Outcome(Way.DIRECT, Way.URL) for foreign in ("plain", "siaddr")},
    # This ROM is an iPXE whose name was taken away, and that is how it chooses.
    Row("bios", "file", "usual"): Outcome(Way.THEIR_FILE),
    Row("bios", "class", "usual"): _LOST,
    **{Row("x64", foreign, "usual"): Outcome(Way.BINL, Way.URL) for foreign in _QUIET},
    Row("x64", "class", "usual"): _LOST,
    **{Row("http", foreign, "usual"): _SCRIPT for foreign in FOREIGN},
}

TO_MARKER = frozenset(Row(kind, "plain", "usual") for kind in ("ipxe", "bios", "x64", "http"))
"""The rows that go on until the stand-in installer runs, one for each firmware."""


def table(cells: Mapping[Row, str]) -> str:
    """A table in Markdown: a line for each firmware and strategy, a column for each foreign server."""
    lines = [
        "| firmware | strategy | " + " | ".join(HEADINGS[foreign] for foreign in FOREIGN) + " |",
        "| --- " * (2 + len(FOREIGN)) + "|",
    ]
    order = list(KINDS)
    rows = sorted(cells, key=lambda row: (order.index(row.kind), row.strategy))
    for (kind, strategy), _ in groupby(rows, key=lambda row: (row.kind, row.strategy)):
        found = [cells.get(Row(kind, foreign, strategy), "") for foreign in FOREIGN]
        lines.append(f"| {' | '.join([KINDS[kind].title, strategy, *found])} |")
    return "\n".join(lines) + "\n"


def committed() -> str:
    """The table as the documentation has it."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def commit(text: str) -> None:
    """Put a table into the documentation."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    PAGE.write_text(f"{before}{begin}{text}{end}{after}")
