"""`make bench-clients`: one JSON object a line on standard output, progress on standard error."""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from appliance.demo import cache
from appliance.model import Tree
from tests.benches_clients import wire
from tests.client_fleet import Fleet, fleet

AGENTS = 200
CASES = ("wire", "fleet")
MOST_SECONDS = 600.0


def say(text: str) -> None:
    print(f"bench-clients: {text}", file=sys.stderr, flush=True)


def main() -> None:
    asked = argparse.ArgumentParser(prog="python -m tests.benches_clients", description=__doc__)
    asked.add_argument("agents", nargs="?", type=int, default=AGENTS, help="how many (default: %(default)s)")
    asked.add_argument("--cases", nargs="+", choices=CASES, default=CASES, help="default: all")
    given = asked.parse_args()
    if "wire" in given.cases:
        with tempfile.TemporaryDirectory(prefix="bench-clients-") as scratch:
            wire.measure(Tree(cache() / "state"), Path(scratch), say)
    if "fleet" in given.cases:
        measure_fleet(given.agents)


def measure_fleet(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-clients-") as scratch, fleet(Path(scratch)) as made:
        old = made.publish(b"old")
        started = time.monotonic()
        made.install(count, old, Path(scratch))
        took = time.monotonic() - started
        say(f"{count} agents with a key each made in {took:.0f} s; they install nothing")
        for case, release in (("enrol", old), ("update", ""), ("rollback", old)):
            wanted = release or made.publish(b"new")
            if case == "rollback":
                made.press.desk().rollback("vm", old, who="bench")
            measure(case, made, wanted)


def measure(case: str, made: Fleet, release: str) -> None:
    """All converge on a release."""
    orders, away = (sum(getattr(one, name) for one in made.agents) for name in ("orders", "away"))
    before, cpu = made.memory(), made.cpu_seconds()
    seconds = made.converge(release, seconds=MOST_SECONDS)
    after, rollout = made.memory(), made.rollout()
    figures = {
        "case": case,
        "agents": len(made.agents),
        "converged": sum(one.state.release == release for one in made.agents),
        "first": len(rollout.canaries) if rollout else 0,
        "seconds": round(seconds, 1),
        "orders": sum(one.orders for one in made.agents) - orders,
        "tries_that_failed": sum(one.away for one in made.agents) - away,
        "server_cpu_seconds": round(made.cpu_seconds() - cpu, 2),
        "server_rss_before_bytes": before.now,
        "server_rss_after_bytes": after.now,
        "server_rss_most_bytes": after.most,
    }
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
