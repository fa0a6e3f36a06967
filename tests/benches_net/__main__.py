"""`make bench-net`: one JSON object a line on standard output, progress on standard error."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benches_net import boots, tftp

Case = Callable[[Path], None]
"""Runs in a directory of its own and emits its lines."""
CASES: Mapping[str, Case] = {**tftp.CASES, **boots.CASES}


def chosen(words: list[str]) -> list[str]:
    """The cases that some words name: by their whole names, or by what is before the slash; all for none."""
    return [name for name in CASES if not words or name in words or name.split("/")[0] in words]


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.benches_net", description=__doc__)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    words = asked.parse_args().cases
    known = {*CASES, *(name.split("/")[0] for name in CASES)}
    if strange := sorted(set(words) - known):
        asked.error(f"there is no case {', '.join(strange)}, expected {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(prefix="bench-net-") as scratch:
        for name in chosen(words):
            place = Path(scratch) / name
            place.mkdir(parents=True)
            CASES[name](place)


if __name__ == "__main__":
    main()
