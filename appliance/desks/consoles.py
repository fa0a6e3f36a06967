"""Consoles for the web page: an operator asks, the farm reads the line for a while, people come first."""

import os
import select
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.line import open_line
from appliance.line_turn import is_wanted, readers_turn
from appliance.live import LiveSite
from appliance.log_pages import as_left
from appliance.machine_settings import BmcKind, MachineSettings
from appliance.model import Machine
from appliance.store import Store
from appliance.store.consoles import Watch, WatchState

WATCH_SECONDS = 900.0
"""A line that nobody looks at any more is left to others."""
LOOK_SECONDS = 0.3
WRITE_SECONDS = 1.0
READ_BYTES = 65536
ON_IT = "somebody is on it with `distserver console`; this goes on when they leave"
ENDED = "the line ended; it is tried again"


@dataclass(frozen=True)
class Seen:
    """What is known of a machine's console; `text` orders no terminal."""

    watch: Watch | None
    """None: nobody ever watched it."""
    open: bool
    """It is watched now."""
    text: str


class ConsoleDesk:
    def __init__(
        self,
        live: LiveSite,
        store: Store,
        place: Path,
        *,
        find: Callable[[str], Machine],
        clock: Callable[[], float],
    ) -> None:
        """`place`: where the turns at the lines are kept."""
        self._live = live
        self._store = store
        self._place = place
        self._find = find
        self._clock = clock

    # the web page's side: it may not open a line, and only writes the store

    def has_console(self, machine: Machine) -> bool:
        """Whether the site names one."""
        settings = self._live.now().machines.get(machine.mac)
        if settings is None:
            return False
        return settings.console is not None or (
            settings.bmc is not None and settings.bmc.kind is BmcKind.IPMI
        )

    def watch(self, mac: str, wanted: bool = True, *, who: str | None = None) -> Seen:
        """Let the farm read the machine's console for WATCH_SECONDS, or no longer. Raises Problem."""
        machine = self._find(mac)
        if not self.has_console(machine):
            hint = "[[machine]] with mac and console, or with a bmc of kind ipmi, in appliance.toml does"
            raise Problem(f"the site names no console of machine {machine.mac}", hint=hint)
        who, now = who or self._store.audit.who, self._clock()
        with self._store.database.change():
            self._store.consoles.watch(machine.mac, until=now + WATCH_SECONDS if wanted else now, who=who)
            said = f"watched for {WATCH_SECONDS / 60:.0f} min" if wanted else "not watched any more"
            self._store.audit.add(now, who, "machine console", machine.mac, said)
        return self.seen(machine.mac)

    def seen(self, mac: str) -> Seen:
        machine = self._find(mac)
        watch = self._store.consoles.get(machine.mac)
        return Seen(
            watch, watch is not None and watch.until > self._clock(), as_left(self._tail(machine.mac))
        )

    def _tail(self, mac: str) -> bytes:
        return self._store.consoles.tail(mac)

    # the farm's side

    def due(self) -> list[str]:
        """MACs of the machines whose consoles are to be read now."""
        return [one.mac for one in self._store.consoles.due(self._clock())]

    def read(self, mac: str) -> None:
        """Read a console while it is watched and no person wants it; why it ended is noted, not raised."""
        settings = self._live.now().machines.get(mac) or MachineSettings(mac)
        with readers_turn(self._place, mac) as mine:
            if not mine:
                self._store.consoles.note(mac, WatchState.BUSY, ON_IT)
                return
            try:
                with open_line(settings) as line:
                    self._store.consoles.note(mac, WatchState.READING)
                    for data in self._heard(mac, line.fd):
                        self._store.consoles.add(mac, data)
            except (Problem, OSError) as problem:
                self._store.consoles.note(mac, WatchState.FAILED, str(problem))

    def _heard(self, mac: str, line: int) -> Iterator[bytes]:
        """What comes, in pieces of a second."""
        while self._is_watched(mac):
            piece, ended = _piece(line, time.monotonic() + WRITE_SECONDS)
            if piece:
                yield piece
            if ended:
                self._store.consoles.note(mac, WatchState.FAILED, ENDED)
                return
            if is_wanted(self._place, mac):
                self._store.consoles.note(mac, WatchState.BUSY, ON_IT)
                return
        self._store.consoles.note(mac, WatchState.WANTED)

    def _is_watched(self, mac: str) -> bool:
        watch = self._store.consoles.get(mac)
        return watch is not None and watch.until > self._clock()


def _piece(line: int, end: float) -> tuple[bytes, bool]:
    """What came after something did, until a time at most, and whether the line ended."""
    data = b""
    ready, _, _ = select.select([line], [], [], LOOK_SECONDS)
    while ready and len(data) < READ_BYTES:
        try:
            came = os.read(line, READ_BYTES)
        except OSError:
            # A terminal whose other side ended says EIO, a socket ECONNRESET.
            came = b""
        if not came:
            return data, True
        data += came
        ready, _, _ = select.select([line], [], [], min(LOOK_SECONDS, max(0.0, end - time.monotonic())))
    return data, False
