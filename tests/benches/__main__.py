"""`make bench-farm`: one JSON object a line on standard output, progress on standard error."""

import argparse
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.demo import cache
from appliance.model import Tree
from appliance.site_model import StageSource
from buildfarm import stage
from tests.bench import emit
from tests.benches import cluster, farm, releases
from tests.benches.yard import say

Case = Callable[[Path, Tree], None]
CASES: Mapping[str, Case] = {
    "unchanged": lambda place, warm: farm.unchanged(emit, place, warm),
    "mixed-generations": lambda place, warm: releases.mixed_generations(place, emit),
    "rollback": lambda place, warm: releases.rollback(place, emit),
    "distcc": lambda place, warm: cluster.run(emit),
    "bound": lambda place, warm: farm.bound(emit, place, warm),
}
"""`bound` also gives the case ten-profiles: it is one of its runs."""


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.benches", description=__doc__)
    asked.add_argument("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    names = asked.parse_args().cases or list(CASES)
    if strange := sorted(set(names) - CASES.keys()):
        asked.error(f"there is no case {', '.join(strange)}, expected {', '.join(CASES)}")
    warm = Tree(cache() / "state")
    for kind in ("build", "install"):
        stage.acquire(StageSource(f"reference:{kind}"), warm, say)
    place = cache() / "bench"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="farm-", dir=place) as scratch:
        for name in names:
            say(f"case {name}")
            (Path(scratch) / name).mkdir()
            CASES[name](Path(scratch) / name, warm)


if __name__ == "__main__":
    main()
