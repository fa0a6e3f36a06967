"""`make bench-merge`: one JSON object a line on standard output, progress on standard error."""

import argparse
import sys
import tempfile
from pathlib import Path

from appliance.demo import cache
from tests.benches_merge import archive, replay
from tests.benches_net.report import emit, say

CASES = ("automatic", "asked", "wrong")
GOALS = {"automatic": "the most with wrong 0", "asked": "the least with wrong 0", "wrong": "0"}


def main() -> int:
    asked = argparse.ArgumentParser(prog="python -m tests.benches_merge", description=__doc__)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    asked.add_argument("--seed", default=replay.SEED, help="of the local edits (default: %(default)s)")
    said = asked.parse_args()
    if strange := sorted(set(said.cases) - set(CASES)):
        asked.error(f"there is no case {', '.join(strange)}, expected {', '.join(CASES)}")
    found = list(replay.cases(archive.pairs(cache() / "bench-merge"), said.seed))
    say(f"{len(found)} edited files, {sum(len(one.edits) for one in found)} edits, seed {said.seed}")
    if len(found) < replay.LEAST:
        say(f"these are less than {replay.LEAST}: the mirror lacks packages")
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-merge-") as scratch:
        shares, mistakes = replay.replay(found, Path(scratch))
    for one in mistakes:
        say(f"wrong: {one.peer}: {one.case.pair.step} {one.case.pair.path}: {one.why}")
    ours = shares["ours"]
    for name in said.cases or CASES:
        for peer, theirs in shares.items():
            if peer != "ours":
                here, there = (getattr(one, name) / one.cases for one in (ours, theirs))
                emit(name, peer, ours=here, theirs=there, unit="of cases", goal=GOALS[name], bench="merge")
    return 1 if ours.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
