"""What every firmware does with every medium, as docs/media.md has it; `python -m tests.e2e.media_table`."""

import tempfile
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from tests.e2e.media import KINDS, How, Reached, Row, run_rows

PAGE = Path("docs/media.md")
BEGIN, END = "<!-- matrix: made by python -m tests.e2e.media_table -->\n", "<!-- end of matrix -->\n"


def _expected(row: Row) -> Reached:
    return Reached.MENU if KINDS[row.kind].foreign else Reached.INSTALLER


_ALL = (Row(*one) for one in product(KINDS, How, (False, True)))
EXPECTED: Mapping[Row, Reached] = {
    # What is beside the loader matters least where the loader is found as on any disk.
    row: _expected(row)
    for row in _ALL
    if row.how is not How.DISK or row.offline
}


def table(cells: Mapping[Row, Reached]) -> str:
    """A table in Markdown: a line for each firmware and kind of image, a column for each way to put it in."""
    lines = [
        "| firmware | image | " + " | ".join(how.value for how in How) + " |",
        "| --- " * (2 + len(How)) + "|",
    ]
    for kind, offline in product(KINDS, (False, True)):
        rows = [Row(kind, how, offline) for how in How]
        found = [cells[row].value if row in cells else "" for row in rows]
        lines.append(f"| {' | '.join([KINDS[kind].title, 'offline' if offline else 'online', *found])} |")
    return "\n".join(lines) + "\n"


def committed() -> str:
    """The table as the documentation has it."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="distserver-media-") as place:
        seen = run_rows(list(EXPECTED), Path(place))
    for row, one in seen.items():
        if one.reached is not EXPECTED[row]:
            print(f"{row}: expected {EXPECTED[row].value}, seen {one}")
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    found = table({row: one.reached for row, one in seen.items()})
    PAGE.write_text(f"{before}{begin}{found}{end}{after}")


if __name__ == "__main__":
    main()
