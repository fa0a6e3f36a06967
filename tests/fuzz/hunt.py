"""`python -m tests.fuzz.hunt TARGET SECONDS PLACE`: fuzz one target in this process; findings go to PLACE."""

import logging
import sys
from pathlib import Path

import atheris

OURS = [f"appliance.{name}" for name in ("first_report", "facts", "install", "match", "medium")]
with atheris.instrument_imports(include=["pxe", "dnslib", *OURS]):
    from tests.fuzz.targets import SEEDS, TARGETS, planted

INPUT_BYTES = 2048
INPUT_SECONDS = 5
MEMORY_MB = 600


def main(name: str, seconds: str, place: str) -> None:
    """libFuzzer ends the process: with status 0, or with another and the input that was found."""
    logging.disable()
    new = Path(place) / name
    new.mkdir(parents=True, exist_ok=True)
    limits = [f"-max_total_time={seconds}", f"-timeout={INPUT_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
    words = [f"-max_len={INPUT_BYTES}", f"-artifact_prefix={place}/{name}-", "-print_final_stats=1"]
    atheris.Setup(
        [sys.argv[0], *limits, *words, str(new), str(SEEDS / (name if name in TARGETS else "frame"))],
        {**TARGETS, "planted": planted}[name](),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
