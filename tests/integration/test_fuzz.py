"""Bytes nobody expects: coverage-guided where they are parsed, on real connections to the HTTP server."""

import gc
import random
import sys
import tracemalloc
from pathlib import Path

import pytest

from appliance.lab import APPLIANCE_ADDRESS, lan
from appliance.run import CommandFailed, run
from tests.e2e.boot_server import boot_server, furnish
from tests.fuzz import targets
from tests.fuzz.__main__ import fuzz
from tests.fuzz.raw_http import broken

SECONDS = 5
GROWTH_BYTES = 300_000
ROUNDS = 4000


@pytest.mark.parametrize("name", targets.TARGETS)
def test_no_input_that_coverage_leads_to_breaks_a_promise(name: str, tmp_path: Path) -> None:
    assert fuzz(name, SECONDS, tmp_path) > 500


def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="this one is too long"):
        fuzz("planted", SECONDS, tmp_path)
    assert list(tmp_path.glob("planted-crash-*"))


@pytest.mark.parametrize("name", targets.TARGETS)
def test_thousands_of_broken_packets_leave_no_memory_behind(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")
    seeds = [file.read_bytes() for file in sorted((targets.SEEDS / name).iterdir())]
    chance, target = random.Random(1), targets.TARGETS[name]()

    def feed() -> None:
        for _ in range(ROUNDS):
            target(broken(chance, seeds)[:2048])
        gc.collect()

    # What is remembered of machines fills up to its bound, which is 4096 of each kind, in the first rounds.
    feed()
    feed()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        feed()
        assert tracemalloc.get_traced_memory()[0] - before < GROWTH_BYTES
    finally:
        tracemalloc.stop()


def test_broken_http_ends_no_server_and_shows_no_traceback(tmp_path: Path) -> None:
    place = tmp_path / "server"
    furnish(place)
    with lan("fuzz", clients={"desk": "10.77.0.9"}) as net, boot_server(place, net):
        words = [sys.executable, "-m", "tests.fuzz.raw_http", APPLIANCE_ADDRESS, str(SECONDS)]
        asked = int(run(words, prefix=net.exec_prefix("desk"), cwd=Path.cwd()).stdout)
        url = f"http://{APPLIANCE_ADDRESS}/boot/snponly.efi"
        head = run(["curl", "-sSI", "--max-time", "10", url], prefix=net.exec_prefix("desk")).stdout
    assert "200 OK" in head and asked > 20
    assert "Traceback" not in (place / "log").read_text()
