"""The queue: huey on SQLite or Redis, carrying nothing but signed numbers of jobs."""

import hashlib
import hmac
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huey import Huey
from huey.api import PriorityRedisHuey, SqliteHuey
from huey.consumer import Consumer
from huey.registry import Message
from huey.serializer import Serializer

from appliance.errors import Problem
from appliance.model import Tree
from appliance.secret import SECRET_BYTES, make_secret

log = logging.getLogger(__name__)

BUILDS, WARM = "builds", "warm"
IDLE_SECONDS = 1.0
FIELDS = ("id", "name", "priority", "args")
"""What a message of ours has; no results, retries, chords or expiry."""


class Tickets(Serializer):  # type: ignore[misc]
    """Messages as JSON with an HMAC. huey's own are pickles: whoever writes one runs code here."""

    def __init__(self, secret: bytes) -> None:
        super().__init__()
        self.secret = hashlib.sha256(b"distserver queue\0" + secret).digest()

    def _serialize(self, data: Message) -> bytes:
        text = json.dumps({name: getattr(data, name) for name in FIELDS}).encode()
        return self._sum(text) + text

    def _deserialize(self, data: bytes) -> Message:
        """Raises ValueError for what nobody with our secret wrote."""
        raw = bytes(data)
        size = hashlib.sha256().digest_size * 2
        if not hmac.compare_digest(raw[:size], self._sum(raw[size:])):
            raise ValueError(f"a message of {len(raw)} bytes in the queue is not signed by this farm")
        fields = json.loads(raw[size:])
        return Message(
            **{**fields, "args": tuple(fields["args"]), "kwargs": {}, "retries": 0, "retry_delay": 0}
        )

    def _sum(self, text: bytes) -> bytes:
        return hmac.new(self.secret, text, hashlib.sha256).hexdigest().encode()


def farm_secret(tree: Tree) -> bytes:
    """The secret shared by the farm and its workers; made at first use, readable by root alone."""
    file = tree.room("keys") / "farm.secret"
    make_secret(file)
    return read_secret(file)


def read_secret(file: Path) -> bytes:
    """Raises Problem when the file is missing or short."""
    try:
        text = file.read_text().strip()
    except OSError as failure:
        raise Problem(
            f"cannot read the farm's secret {file}: {failure.strerror}",
            hint="copy keys/farm.secret of the server's state directory",
        ) from failure
    if len(text) < SECRET_BYTES:
        raise Problem(f"{file} has {len(text)} characters, expected at least {SECRET_BYTES}")
    return text.encode()


def open_huey(url: str, tree: Tree, secret: bytes, kind: str = BUILDS) -> Huey:
    """A queue of this farm alone, although a Redis may serve several."""
    name = f"distserver{kind}{hashlib.sha256(b'name' + secret).hexdigest()[:12]}"
    if url == "sqlite":
        file = tree.room("queue") / "queue.sqlite"
        return SqliteHuey(name, filename=str(file), results=False, serializer=Tickets(secret))
    return PriorityRedisHuey(name, url=url, results=False, serializer=Tickets(secret))


class Queue:
    """Numbers of jobs on their way to whoever does them. Losing any of them loses nothing but time."""

    def __init__(self, huey: Huey, name: str, do: Callable[[int, int], None]) -> None:
        def task(job: int, jobs: int) -> None:
            do(job, jobs)

        self.huey = huey
        # Defined here, since huey names a task by its module: who puts it in and who takes it out are two.
        self._task = huey.task(name=name)(task)

    def put(self, job: int, jobs: int, *, priority: int) -> None:
        """`jobs`: packages at a time; a larger priority is done first. Raises what a dead Redis raises."""
        self.huey.enqueue(self._task.s(job, jobs, priority=priority))

    def pending(self) -> set[int]:
        """Jobs whose message nobody has taken yet; what is not ours is skipped."""
        return {int(one[0]) for one in (self._arguments(raw) for raw in self._raw()) if one}

    def _raw(self) -> Sequence[Any]:
        found: Sequence[Any] = self.huey.storage.enqueued_items()
        return found

    def _arguments(self, raw: Any) -> tuple[Any, ...]:
        try:
            message = self.huey.serializer.deserialize(bytes(raw))
        except ValueError as stranger:
            log.warning("%s", stranger)
            return ()
        return tuple(message.args)


class Workers(Consumer):  # type: ignore[misc]
    """huey's worker threads in a process that handles signals itself."""

    def __init__(self, huey: Huey, count: int) -> None:
        super().__init__(huey, workers=count, periodic=False, max_delay=IDLE_SECONDS)

    def _set_signal_handlers(self) -> None:
        pass
