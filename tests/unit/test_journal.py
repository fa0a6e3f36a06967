"""Events of machines in a boot server's loop: in order, together, and none is lost at the end."""

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from appliance import journal as journal_module
from appliance.journal import Journal
from appliance.model import Event
from appliance.store import Store
from appliance.store.events import PER_SUBJECT

MAC = "52:54:00:77:00:01"


def event(stage: str, mac: str = MAC) -> Event:
    return Event(mac, 1.0, stage, "done", None, None, "")


def stages(store: Store, mac: str = MAC) -> list[str]:
    return [one.stage for _, one in store.events.after(mac)]


def test_outside_of_a_loop_an_event_is_written_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    Journal(store.events).add(event("offer"))
    assert stages(store) == ["offer"]


def test_in_a_loop_a_moment_is_one_transaction_of_a_thread_and_keeps_its_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    statements: list[str] = []
    seen: set[int] = set()

    async def boot() -> None:
        journal = Journal(store.events)
        store.database.connection.set_trace_callback(statements.append)
        for number in range(150):
            journal.add(event(f"stage-{number}"))
        assert statements == []
        while 150 not in seen:
            seen.add(len(stages(store)))
            await asyncio.sleep(0)
        journal.add(event("last"))
        journal.close()

    asyncio.run(boot())
    assert seen <= {0, 150}
    assert stages(store) == [*(f"stage-{number}" for number in range(150)), "last"]
    # Only the last one, when the loop ended, was written by the loop's own connection.
    assert [one for one in statements if one.startswith("BEGIN")] == ["BEGIN IMMEDIATE"]


def test_while_the_store_is_busy_the_loop_goes_on_and_no_more_waits_than_memory_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MOST_WAITING", 10)
    store, other = Store(tmp_path / "store.sqlite"), Store(tmp_path / "store.sqlite")

    async def boot() -> None:
        journal = Journal(store.events)
        with other.database.change():
            journal.add(event("first"))
            while "journal_0" not in [one.name for one in threading.enumerate()]:
                await asyncio.sleep(0)
            for number in range(5):
                journal.add(event(f"stage-{number}"))
            assert stages(store) == []
        for number in range(5, 25):
            journal.add(event(f"stage-{number}"))
        assert len(stages(store)) >= 11
        journal.close()

    asyncio.run(boot())
    assert stages(store) == ["first", *(f"stage-{number}" for number in range(25))]


def test_what_waits_is_written_when_the_server_ends(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")

    async def boot() -> None:
        journal = Journal(store.events)
        journal.add(event("offer"))
        journal.close()

    asyncio.run(boot())
    assert stages(store) == ["offer"]


def test_a_store_that_cannot_be_written_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store.sqlite")

    async def boot() -> None:
        journal = Journal(store.events)
        journal.add(event("offer"))
        store.database.execute("PRAGMA query_only = ON")
        journal.close()
        store.database.execute("PRAGMA query_only = OFF")
        journal.add(event("script"))
        journal.close()

    asyncio.run(boot())
    assert stages(store) == ["script"]
    assert sqlite3.OperationalError.__name__ in caplog.text


def test_no_machine_fills_the_disk(tmp_path: Path) -> None:
    store = Store(tmp_path / "store.sqlite")
    last = store.events.add_all([event("offer")] * (PER_SUBJECT + 5) + [event("offer", "52:54:00:77:00:02")])
    assert len(store.events.after(MAC)) == PER_SUBJECT
    assert last == PER_SUBJECT + 6 and stages(store, "52:54:00:77:00:02") == ["offer"]
