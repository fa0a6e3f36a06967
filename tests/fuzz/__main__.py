"""`make fuzz`: each target for some seconds, in a process of its own; says where what was found is kept."""

import argparse
import re
import sys
import tempfile
from pathlib import Path

from appliance.run import CommandFailed, run
from tests.fuzz.targets import TARGETS

GRACE_SECONDS = 120
EXECUTED = re.compile(r"stat::number_of_executed_units: +(\d+)")


def fuzz(name: str, seconds: int, place: Path) -> int:
    """How many inputs a target took. Raises CommandFailed with the input that it did not."""
    words: list[str | Path] = [sys.executable, "-m", "tests.fuzz.hunt", name, str(seconds), place]
    printed = run(words, timeout_seconds=seconds + GRACE_SECONDS).stdout
    found = EXECUTED.search(printed)
    if found is None:
        raise CommandFailed([str(word) for word in words], 0, printed)
    return int(found[1])


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    asked.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (default: all)")
    asked.add_argument("--seconds", type=int, default=60, help="for each target (default: %(default)s)")
    given = asked.parse_args()
    if strange := sorted(set(given.targets) - TARGETS.keys()):
        asked.error(f"there is no target {', '.join(strange)}, expected {', '.join(TARGETS)}")
    place = Path(tempfile.mkdtemp(prefix="distserver-fuzz-"))
    failed = []
    for name in given.targets or list(TARGETS):
        try:
            print(f"fuzz: {name}: {fuzz(name, given.seconds, place)} inputs", flush=True)
        except CommandFailed as wrong:
            failed.append(name)
            print(f"fuzz: {name}: {wrong}", flush=True)
    if failed:
        sys.exit(f"fuzz: {', '.join(failed)} failed; the inputs are in {place}")


if __name__ == "__main__":
    main()
