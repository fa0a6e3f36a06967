"""Fetches files over HTTP: resumed, no faster than allowed, and kept only when they are what was promised."""

import hashlib
import http.client
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import urlsplit

from distserver_client import durable
from distserver_client.errors import Away, Damaged, Problem
from distserver_client.manifest import Item

ANSWER_SECONDS = 60.0
PIECE_BYTES = 1 << 16
TRIES = 4
LONGEST_PAUSE_SECONDS = 30.0
SMALL_BYTES = 1 << 20
"""Of a file whose size nobody promised: a manifest, a signature, a channel."""
SPARE_BYTES = 16 << 20
"""Left free on the disk: a machine whose disk is full cannot even say so."""
Got = TypeVar("Got")


@dataclass
class Throttle:
    """Sleeps so that no more than `rate` bytes come in a second; 0 is as fast as it goes."""

    rate: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _free_at: float = 0.0

    def passed(self, size_bytes: int) -> None:
        if not self.rate:
            return
        now = self.clock()
        self._free_at = max(self._free_at, now) + size_bytes / self.rate
        if self._free_at > now:
            self.sleep(self._free_at - now)


@dataclass
class Fetcher:
    """One server's files; counts what came over the wire."""

    server: str
    """`http://HOST[:PORT]`"""
    throttle: Throttle = field(default_factory=lambda: Throttle(0.0))
    sleep: Callable[[float], None] = time.sleep
    received_bytes: int = 0

    def small(self, path: str) -> bytes:
        """The content of a small file; raises Away, or Problem when the server does not have it."""
        return self._patiently(lambda: self._whole(path))

    def item(self, path: str, item: Item, place: Path) -> None:
        """Put a file that is what its item says at `place`; what is there already is looked at first.

        Raises Away, Problem when the disk has no room, or Damaged.
        """
        if is_item(place, item):
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f"{place.name}.part")
        for attempt in (1, 2):
            self._patiently(lambda: self._rest(path, item, part))
            if is_item(part, item):
                durable.sync(part)
                part.rename(place)
                durable.sync(place.parent)
                return
            # A resumed file may be a mixture: once from its start before giving up.
            part.unlink()
            if attempt == 2:
                raise Damaged(f"{path} is not what the signed manifest says", hint="it was removed unused")

    def _patiently(self, get: Callable[[], Got]) -> Got:
        pause = 1.0
        for left in reversed(range(TRIES)):
            try:
                return get()
            except (OSError, http.client.HTTPException) as failure:
                if not left:
                    raise Away(
                        f"{self.server} does not answer: {failure or type(failure).__name__}"
                    ) from failure
            self.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        raise AssertionError("not reached")

    def _whole(self, path: str) -> bytes:
        with self._answer(path, 0) as answer:
            body = answer.read(SMALL_BYTES + 1)
        self.received_bytes += len(body)
        if len(body) > SMALL_BYTES:
            raise Problem(f"{self.server}{path} is larger than {SMALL_BYTES} bytes")
        return body

    def _rest(self, path: str, item: Item, part: Path) -> None:
        """What `part` lacks; never more than the item has."""
        there = part.stat().st_size if part.exists() else 0
        if there >= item.size_bytes:
            return
        _check_room(part, item.size_bytes - there)
        with self._answer(path, there) as answer, part.open("r+b" if there else "wb") as sink:
            begun = answer.status == http.client.PARTIAL_CONTENT
            sink.seek(there if begun else 0)
            sink.truncate()
            left = item.size_bytes - sink.tell()
            while left > 0 and (piece := answer.read(min(PIECE_BYTES, left))):
                left -= len(piece)
                self.received_bytes += len(piece)
                self.throttle.passed(len(piece))
                _write(sink, piece, part)
            if left:
                raise http.client.IncompleteRead(b"", left)

    @contextmanager
    def _answer(self, path: str, start: int) -> Iterator[http.client.HTTPResponse]:
        where = urlsplit(self.server)
        if where.scheme != "http" or not where.hostname:
            raise Problem(f"{self.server!r} is no address of a server", hint="look at /etc/distserver/server")
        headers = {"Range": f"bytes={start}-"} if start else {}
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=ANSWER_SECONDS)
        with closing(connection):
            connection.request("GET", f"{where.path.rstrip('/')}{path}", headers=headers)
            answer = connection.getresponse()
            if answer.status in (http.client.NOT_FOUND, http.client.GONE, http.client.FORBIDDEN):
                raise Problem(f"{self.server}{path}: the server says {answer.status} {answer.reason}")
            if answer.status not in (http.client.OK, http.client.PARTIAL_CONTENT):
                raise http.client.HTTPException(f"{answer.status} {answer.reason}")
            yield answer


def is_item(path: Path, item: Item) -> bool:
    """Is the file what the manifest says? Its size is looked at first."""
    if not path.is_file() or path.stat().st_size != item.size_bytes:
        return False
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest() == item.sha256


def _check_room(part: Path, size_bytes: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < size_bytes + SPARE_BYTES:
        raise Problem(
            f"the disk of {part.parent} has {free >> 20} MiB free, {part.name} needs {size_bytes >> 20} MiB",
            hint=f"{SPARE_BYTES >> 20} MiB have to stay free",
        )


def _write(sink: BinaryIO, piece: bytes, part: Path) -> None:
    try:
        sink.write(piece)
        sink.flush()
    except OSError as failure:
        raise Problem(f"{part} cannot be written: {failure.strerror}") from failure
