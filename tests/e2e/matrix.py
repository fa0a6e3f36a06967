"""The matrix of firmware and foreign DHCP servers: what every machine is expected to do, and its table."""

from collections.abc import Mapping
from itertools import groupby, product
from pathlib import Path

from appliance.lab import FOREIGN
from appliance.strategies import Strategy
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
_WAYS = {Strategy.BINL: Way.BINL, Strategy.DIRECT: Way.DIRECT, Strategy.MENU: Way.MENU}


def _bios(foreign: str, strategy: Strategy) -> Outcome:
    """This ROM is an iPXE whose name was taken away: among equals it takes the other server's word."""
    if foreign == "class":
        return _LOST
    if strategy is Strategy.MENU:
        return Outcome(Way.MENU, Way.URL)
    # It needs no port 4011 where the OFFER has a boot file.
    return Outcome(Way.THEIR_FILE) if foreign == "file" else Outcome(Way.DIRECT, Way.URL)


def _uefi(foreign: str, strategy: Strategy) -> Outcome:
    return _LOST if foreign == "class" else Outcome(_WAYS[strategy], Way.URL)


def _grub(foreign: str, strategy: Strategy) -> Outcome:
    """GRUB fetches its configuration by TFTP from the address that was written into it."""
    return _LOST if foreign == "class" else Outcome(_WAYS[strategy], Way.DIRECT)


_ALL = tuple(product(FOREIGN, _WAYS))
EXPECTED: Mapping[Row, Outcome] = {
    **{Row("ipxe", foreign): _SCRIPT for foreign in FOREIGN},
    **{Row("bios", foreign, one): _bios(foreign, one) for foreign, one in _ALL},
    **{Row("x64", foreign, one): _uefi(foreign, one) for foreign, one in _ALL},
    **{Row("http", foreign): _SCRIPT for foreign in FOREIGN},
    **{Row("secure", foreign, one): _uefi(foreign, one) for foreign, one in _ALL},
    **{Row("ia32", foreign, one): _grub(foreign, one) for foreign, one in _ALL},
    **{Row("arm64", foreign, one): _grub(foreign, one) for foreign, one in _ALL},
}

TO_MARKER = frozenset(
    (
        Row("ipxe", "plain"),
        Row("bios", "plain", Strategy.DIRECT),
        Row("x64", "plain", Strategy.BINL),
        Row("http", "plain"),
        Row("secure", "plain", Strategy.BINL),
        Row("ia32", "plain", Strategy.BINL),
    )
)
"""The rows that go on until the stand-in installer runs, one for each firmware."""


def table(cells: Mapping[Row, str]) -> str:
    """A table in Markdown: a line for each firmware and strategy, a column for each foreign server."""
    lines = [
        "| firmware | strategy | " + " | ".join(HEADINGS[foreign] for foreign in FOREIGN) + " |",
        "| --- " * (2 + len(FOREIGN)) + "|",
    ]
    order = list(KINDS)
    rows = sorted(cells, key=lambda row: (order.index(row.kind), row.strategy_name))
    for (kind, strategy), same in groupby(rows, key=lambda row: (row.kind, row.strategy_name)):
        by_foreign = {row.foreign: cells[row] for row in same}
        found = [by_foreign.get(foreign, "") for foreign in FOREIGN]
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
