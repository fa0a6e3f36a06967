"""Moves channels: a row that says what is meant, the signed file, the row that says it is done."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance import statement
from appliance.channels import Channels
from appliance.farm_model import Move
from appliance.statement import Statement
from appliance.store import Store
from appliance.store.releases import ABANDONED, BEGUN, DONE
from buildfarm.signing import Notary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mover:
    """Every method is called by who holds the channels' lock."""

    channels: Channels
    store: Store
    notary: Notary
    clock: Callable[[], float]

    def move(self, profile: str, channel: str, release: str, *, kind: str, who: str, why: str) -> Statement:
        """One rename is what publishes. The serial is greater than any that was ever begun."""
        self.heal(profile, channel)
        current = self.channels.get(profile, channel)
        now = self.clock()
        serial = max(current.serial if current else 0, self.store.releases.last_serial(profile, channel)) + 1
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        said = Statement(profile, channel, release, serial, at)
        before = current.release if current else None
        meant = Move(profile, channel, serial, before, release, kind, BEGUN, now, who, why)
        signed = self.notary.clearsign(statement.write(said))
        self.store.releases.begin_move(meant)
        self.channels.put(said, signed)
        with self.store.database.change():
            self.store.releases.end_move(profile, channel, serial)
            detail = f"{before or 'nothing'} -> {release} {why}".rstrip()
            self.store.audit.add(now, who, f"release {kind}", f"{profile}/{channel}", detail)
        log.info("channel %s/%s: %s -> %s (%s by %s)", profile, channel, before, release, kind, who)
        return said

    def heal(self, profile: str, channel: str) -> None:
        """Make the history say what the file says: whoever moved it may have been killed after the rename."""
        said = self.channels.get(profile, channel)
        known = self.store.releases.moves(profile, channel)
        for one in known:
            if one.state == BEGUN:
                is_it = said is not None and (said.serial, said.release) == (one.serial, one.release)
                self.store.releases.end_move(profile, channel, one.serial, DONE if is_it else ABANDONED)
        if said and all(one.serial != said.serial for one in known):
            before = next((one.release for one in known if one.state == DONE), None)
            found = Move(
                profile, channel, said.serial, before, said.release, "found", DONE, self.clock(),
                who="start-up", why="the channel's file was there and the history was not",
            )  # fmt: skip
            self.store.releases.begin_move(found)

    def lost(self, profile: str, channel: str) -> Move | None:
        """The last move of a channel whose file is gone or not signed by us."""
        if self.channels.get(profile, channel):
            return None
        done = [one for one in self.store.releases.moves(profile, channel) if one.state == DONE]
        return done[0] if done else None
