"""What benchmarks of the network boot and of media print."""

import json
import sys


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def emit(
    case: str, peer: str, *, ours: float, theirs: float, unit: str, goal: str = "", bench: str = "net"
) -> None:
    """One line of the contract: ratio = ours / theirs, null when theirs is 0."""
    line = {
        "bench": bench,
        "case": case,
        "peer": peer,
        "ours": round(ours, 4),
        "theirs": round(theirs, 4),
        "unit": unit,
        "ratio": round(ours / theirs, 3) if theirs else None,
        "goal": goal,
    }
    print(json.dumps(line), flush=True)
