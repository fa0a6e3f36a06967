"""How soon a process that ended is started again."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from appliance import supervision
from appliance.supervision import RESTART_SECONDS, Kept, pause, supervise


def test_a_process_that_ran_steadily_is_started_again_at_once_and_others_later_and_later() -> None:
    ran, failures, waited = [0.0, 0.0, 0.0, 3600.0, 0.0], 0, []
    for seconds in ran:
        failures, delay = pause(failures, seconds)
        waited.append(delay)
    assert waited == [*RESTART_SECONDS[:3], RESTART_SECONDS[0], RESTART_SECONDS[1]]


def test_a_process_that_never_runs_is_started_again_for_ever() -> None:
    failures = 0
    for _ in range(100):
        failures, delay = pause(failures, 0.0)
    assert delay == RESTART_SECONDS[-1]


def test_a_process_that_ends_is_started_again_and_all_end_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "RESTART_SECONDS", (0.01,))
    starts, pid = tmp_path / "starts", tmp_path / "pid"
    for file in (starts, pid):
        file.touch()
    brief = Kept("brief", ["sh", "-c", 'echo >>"$0"', str(starts)])
    steady = Kept("steady", ["sh", "-c", 'echo $$ >"$0"; sleep 600', str(pid)])

    async def thrice() -> None:
        supervising = asyncio.create_task(supervise([brief, steady]))
        async with asyncio.timeout(20):
            while len(starts.read_text()) < 3 or not pid.read_text().endswith("\n"):
                await asyncio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            await supervising

    asyncio.run(thrice())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
