"""`make bench-web`: one JSON object a line on standard output, progress on standard error."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.benches_web.fleet import MACHINES, RELEASES, make_fleet
from tests.benches_web.pages import PAGES, measure


def say(text: str) -> None:
    print(f"bench-web: {text}", file=sys.stderr, flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.benches_web", description=__doc__)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(PAGES)} (default: all)")
    cases = asked.parse_args().cases or list(PAGES)
    if strange := sorted(set(cases) - PAGES.keys()):
        asked.error(f"there is no case {', '.join(strange)}, expected {', '.join(PAGES)}")
    with tempfile.TemporaryDirectory(prefix="bench-web-") as scratch:
        started = time.monotonic()
        fleet = make_fleet(Path(scratch))
        say(f"{MACHINES} machines and {RELEASES} releases made in {time.monotonic() - started:.0f} s")
        measure(cases, fleet, say)


if __name__ == "__main__":
    main()
