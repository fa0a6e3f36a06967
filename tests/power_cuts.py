"""`make power-cuts`: an update is cut off as often as wanted; an outcome a line, status 1 when one is bad."""

import json
import random
import secrets
import sys
import tempfile
from pathlib import Path

from appliance.demo import build_example, cache, set_scene
from appliance.model import Tree
from appliance.site_model import StageSource
from buildfarm import stage
from tests.power_lab import make_lab, summary


def main(count: int, seed: int) -> int:
    tree = Tree(cache() / "state")
    build, install = (
        stage.acquire(StageSource(f"reference:{name}"), tree, _say) for name in ("build", "install")
    )
    release = build_example(set_scene(cache() / "power-cuts", tree))
    outcomes = []
    bad = 0
    with (
        tempfile.TemporaryDirectory(prefix="distserver-power-") as name,
        make_lab(Path(name), (build, install), tree, release) as lab,
    ):
        for there, seconds, problems in lab.round_trip():
            print(json.dumps({"release": there, "seconds": seconds, "problems": problems}), flush=True)
            bad += bool(problems)
        _say(f"power-cuts: seed {seed}; the update that nothing disturbs")
        uncut = lab.update()
        _say(f"power-cuts: {uncut.last - uncut.first} writes and flushes: {uncut.steps}")
        for outcome in lab.cuts(uncut, count, seed, whole=random.Random(seed).randrange(count)):
            print(outcome.line(), flush=True)
            outcomes.append(outcome)
    _say(f"power-cuts: seed {seed}: {summary(outcomes)}")
    return 1 if bad or any(one.problems for one in outcomes) else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else 50, given[1] if given[1:] else secrets.randbelow(10**6)))
