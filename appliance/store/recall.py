"""What every booting machine makes the boot server ask, kept in memory for as long as it is true."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, TypeVar

from appliance.farm_model import Release
from appliance.model import Machine
from appliance.store.database import Database
from appliance.store.machines import Machines
from appliance.store.releases import Releases
from appliance.store.strategies import Strategies
from appliance.strategies import Strategy

Value = TypeVar("Value")

ROWS_FOR_ONE = 25
"""So many keys of a table are read in the time of one question."""


class _Kept(Generic[Value]):
    """Answers of one table. When asking for rows one by one took as long as reading all keys, they are read.

    So thousands of strangers cost no question each, and a table that changes all the time is not read
    all the time. The memory it takes grows with the table, not with the questions.
    """

    def __init__(self, one: Callable[[str], Value | None], keys: Callable[[], Iterable[str]]) -> None:
        self._one = one
        self._read_keys = keys
        self._expected = 0
        self.forget()

    def forget(self) -> None:
        self._values: dict[str, Value | None] = {}
        self._keys: frozenset[str] | None = None
        self._asked = 0

    def get(self, key: str) -> Value | None:
        if self._keys is not None and key not in self._keys:
            return None
        if key not in self._values:
            if self._keys is None:
                self._asked += 1
                if self._asked * ROWS_FOR_ONE > self._expected:
                    self._keys = frozenset(self._read_keys())
                    self._expected = len(self._keys)
            self._values[key] = self._one(key)
        return self._values[key]


class Recall:
    """Looks before each answer whether anything was changed, by this process or another: never stale."""

    def __init__(
        self, database: Database, machines: Machines, releases: Releases, strategies: Strategies
    ) -> None:
        self._database = database
        self._releases = releases
        self._machines = _Kept(machines.get, machines.macs)
        self._strategies = _Kept(strategies.get, strategies.subjects)
        self._faults: dict[str, str] = {}
        self._newest: tuple[Release | None] | None = None
        self._stamp = (-1, -1)
        self._revisions: dict[str, int] = {}
        self._moment = _Moment(self)
        self.held = False

    def machine(self, mac: str) -> Machine | None:
        self._look()
        return self._machines.get(mac)

    def strategy(self, subject: str) -> Strategy | None:
        self._look()
        return self._strategies.get(subject)

    def newest_sound(self) -> Release | None:
        self._look()
        if self._newest is None:
            self._newest = (self._releases.newest_sound(),)
        return self._newest[0]

    def fault(self, release: str) -> str:
        self._look()
        if release not in self._faults:
            self._faults[release] = self._releases.fault(release)
        return self._faults[release]

    def moment(self) -> AbstractContextManager[None]:
        """Inside the block others' changes do not count: for questions that had come when it began."""
        return self._moment

    def look(self) -> None:
        """Forget what changed. What is read after this is at least as new."""
        stamp = self._database.stamp()
        # A change that is rolled back takes its number with it, and the next one has it again.
        changing = self._database.changing
        if stamp == self._stamp and not changing:
            return
        rows = self._database.rows("SELECT topic, number FROM revision")
        revisions = {row["topic"]: row["number"] for row in rows}
        if changing or revisions["boot"] != self._revisions.get("boot"):
            self._machines.forget()
            self._faults = {}
            self._newest = None
        if changing or revisions["strategy"] != self._revisions.get("strategy"):
            self._strategies.forget()
        self._stamp, self._revisions = ((-1, -1), {}) if changing else (stamp, revisions)

    def _look(self) -> None:
        if self.held and self._database.connection.total_changes == self._stamp[1]:
            return
        self.look()


class _Moment(AbstractContextManager[None]):
    """One for all: a moment inside another is a part of it."""

    def __init__(self, recall: Recall) -> None:
        self._recall = recall
        self._depth = 0

    def __enter__(self) -> None:
        if self._depth == 0:
            # A store that cannot be read is the trouble of each question, not of who only takes packets.
            with contextlib.suppress(sqlite3.Error):
                self._recall.look()
                self._recall.held = True
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        self._recall.held = self._depth > 0
