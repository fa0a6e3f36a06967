"""`python -m tests.e2e.matrix_table`: run the matrix and write what was seen into the documentation."""

import tempfile
from pathlib import Path

from tests.e2e.matrix import EXPECTED, TO_MARKER, commit, table
from tests.e2e.netboot import run_rows


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="distserver-matrix-") as place:
        seen = run_rows(list(EXPECTED), Path(place), to_marker=TO_MARKER)
    for row, one in seen.items():
        if one.outcome != EXPECTED[row]:
            print(f"{row}: expected {EXPECTED[row]}, seen {one}")
    commit(table({row: str(one.outcome) for row, one in seen.items()}))


if __name__ == "__main__":
    main()
