"""`make bench-iso`: one JSON object a line on standard output, progress on standard error."""

import argparse
import tempfile
from pathlib import Path

from tests.benches_iso import build


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.benches_iso", description=__doc__)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(build.CASES)} (default: all)")
    asked.add_argument("--scratch", type=Path, help="where 5 GB are free (default: the temporary directory)")
    said = asked.parse_args()
    if strange := sorted(set(said.cases) - build.CASES.keys() - {"build"}):
        asked.error(f"there is no case {', '.join(strange)}, expected {', '.join(build.CASES)}")
    wanted = [one for one in build.CASES if said.cases in ([], ["build"]) or one in said.cases]
    with tempfile.TemporaryDirectory(prefix="bench-iso-", dir=said.scratch) as scratch:
        build.measure(wanted, Path(scratch))


if __name__ == "__main__":
    main()
