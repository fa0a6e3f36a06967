"""Channels are signed files, channels/PROFILE/CHANNEL: the only truth of what is published."""

import errno
import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance import statement
from appliance.durable import sync
from appliance.errors import Problem
from appliance.statement import Statement

log = logging.getLogger(__name__)

STABLE, CANARY = "stable", "canary"
NAMES = (STABLE, CANARY)
FULL = (errno.ENOSPC, errno.EDQUOT)
Verify = Callable[[bytes, str], bytes]
"""(a clearsigned text, what it is) -> the text that was signed; raises Problem."""


@dataclass(frozen=True)
class _Seen:
    stamp: tuple[int, int, int]
    signed: bytes
    statement: Statement | None


class Channels:
    """Reads channel files, each once for every time it was replaced, and replaces them."""

    def __init__(self, path: Path, verify: Verify) -> None:
        self.path = path
        self._verify = verify
        self._seen: dict[Path, _Seen] = {}

    def share(self, other: "Channels") -> None:
        """Believe what another one read of the same files with the same key, and the other way round."""
        self._seen = other._seen

    def get(self, profile: str, channel: str) -> Statement | None:
        """What the channel says; None when there is none, or none whose signature is good."""
        seen = self._look(profile, channel)
        return seen.statement if seen else None

    def signed(self, profile: str, channel: str) -> bytes | None:
        """The file as machines get it: text and signature."""
        seen = self._look(profile, channel)
        return seen.signed if seen and seen.statement else None

    def of_machine(self, profile: str, channel: str) -> Statement | None:
        """What a machine on `channel` gets; one on canary gets stable while there is no canary."""
        return self.get(profile, channel) or (self.get(profile, STABLE) if channel == CANARY else None)

    def all(self) -> list[Statement]:
        found = (self.get(profile, channel) for profile, channel in self.names())
        return [one for one in found if one]

    def names(self) -> list[tuple[str, str]]:
        """(profile, channel) of every file, good or not."""
        places = sorted(self.path.glob("*/*"))
        return [(place.parent.name, place.name) for place in places if statement.NAME.fullmatch(place.name)]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Only who holds it moves channels. It is taken after the pool's lock and before a transaction."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def put(self, said: Statement, signed: bytes) -> None:
        """Replace the file by one rename; the bytes are on the disk before the name is.

        Raises Problem when the disk is full; the file is what it was then.
        """
        place = self.path / said.profile / said.channel
        part = place.with_name(f".{place.name}.partial")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as sink:
                sink.write(signed)
                sink.flush()
                os.fsync(sink.fileno())
            part.chmod(0o644)
            part.rename(place)
        except OSError as failed:
            part.unlink(missing_ok=True)
            if failed.errno not in FULL:
                raise
            where = f"channel {said.profile}/{said.channel}"
            raise Problem(
                f"{where} stays where it is: the disk of {self.path} is full", hint="distserver gc"
            ) from failed
        for folder in (place.parent, self.path):
            sync(folder)

    def _look(self, profile: str, channel: str) -> _Seen | None:
        if not statement.NAME.fullmatch(profile) or not statement.NAME.fullmatch(channel):
            return None
        place = self.path / profile / channel
        try:
            stamp = _stamp(place.stat())
            known = self._seen.get(place)
            if known and known.stamp == stamp:
                return known
            with place.open("rb") as source:
                # The stamp is that of the file that is read, whatever was renamed meanwhile.
                stamp, signed = _stamp(os.fstat(source.fileno())), source.read()
        except (FileNotFoundError, NotADirectoryError):
            self._seen.pop(place, None)
            return None
        seen = self._seen[place] = _Seen(stamp, signed, self._read(signed, profile, channel))
        return seen

    def _read(self, signed: bytes, profile: str, channel: str) -> Statement | None:
        try:
            subject = f"channel {profile}/{channel}"
            said = statement.parse(self._verify(signed, subject).decode())
            if (said.profile, said.channel) != (profile, channel):
                raise Problem(f"{subject} holds the statement of {said.profile}/{said.channel}")
        except (Problem, UnicodeDecodeError) as wrong:
            log.error("channel %s/%s is not believed: %s", profile, channel, wrong)
            return None
        return said


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size
