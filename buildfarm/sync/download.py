"""Downloads a file that is only fetched when it changed, and goes on where it stopped."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 60.0
CHUNK_BYTES = 1 << 20
SMALL_BYTES = 1 << 20
NOT_MODIFIED, PARTIAL, NOT_FOUND, NO_RANGE = 304, 206, (403, 404, 410), 416


class Failed(Exception):
    """It did not come, or not whole; said in words."""


@dataclass(frozen=True)
class Got:
    validator: str
    """JSON of the ETag and Last-Modified it came with; empty when the server gave neither."""


def fetch(url: str, target: Path, *, validator: str = "") -> Got | None:
    """Put the file at `target`; None when it is still the one `validator` was given for.

    What came before a connection broke stays beside `target` and is continued, if the server says that it is
    still the same file.
    """
    part = target.with_name(f"{target.name}.part")
    note = target.with_name(f"{target.name}.part.json")
    headers = _conditions(validator)
    begun = note.read_text() if note.exists() and part.exists() else ""
    if begun and not headers:
        headers = _continue(begun, part.stat().st_size)
    try:
        with _open(url, headers) as answer:
            if answer is None:
                return None
            found = _validator(answer)
            if answer.status != PARTIAL:
                part.unlink(missing_ok=True)
            note.write_text(found)
            _take(url, answer, part)
    except urllib.error.HTTPError as failure:
        if failure.code == NO_RANGE:
            part.unlink(missing_ok=True)
            note.unlink(missing_ok=True)
            return fetch(url, target, validator=validator)
        raise Failed(f"{url}: the server says {failure.code} {failure.reason}") from failure
    except (OSError, HTTPException) as failure:
        raise Failed(f"{url}: {failure}") from failure
    part.rename(target)
    note.unlink()
    return Got(found)


def small(url: str) -> bytes | None:
    """A short text; None when there is none of this name."""
    try:
        with _open(url, {}) as answer:
            assert answer is not None
            text: bytes = answer.read(SMALL_BYTES + 1)
    except urllib.error.HTTPError as failure:
        if failure.code in NOT_FOUND:
            return None
        raise Failed(f"{url}: the server says {failure.code} {failure.reason}") from failure
    except urllib.error.URLError as failure:
        if isinstance(failure.reason, FileNotFoundError):
            return None
        raise Failed(f"{url}: {failure.reason}") from failure
    except (OSError, HTTPException) as failure:
        raise Failed(f"{url}: {failure}") from failure
    if len(text) > SMALL_BYTES:
        raise Failed(f"{url} is longer than {SMALL_BYTES} bytes, expected a short text")
    return text


@contextmanager
def _open(url: str, headers: dict[str, str]) -> Iterator[Any]:
    """The answer; None for `not modified`."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS
        ) as answer:
            yield answer
    except urllib.error.HTTPError as failure:
        if failure.code != NOT_MODIFIED:
            raise
        failure.close()
        yield None


def _conditions(validator: str) -> dict[str, str]:
    if not validator:
        return {}
    known = json.loads(validator)
    names = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
    return {names[key]: value for key, value in known.items() if key in names}


def _continue(begun: str, size: int) -> dict[str, str]:
    """RFC 9110 13.1.5: If-Range wants a strong ETag or a date."""
    known = json.loads(begun)
    etag = known.get("ETag", "")
    same = etag if etag and not etag.startswith("W/") else known.get("Last-Modified", "")
    return {"Range": f"bytes={size}-", "If-Range": same} if same and size else {}


def _validator(answer: Any) -> str:
    found = {key: answer.headers[key] for key in ("ETag", "Last-Modified") if answer.headers.get(key)}
    return json.dumps(found, sort_keys=True) if found else ""


def _take(url: str, answer: Any, part: Path) -> None:
    announced = answer.headers.get("Content-Length")
    came = 0
    with part.open("ab") as file:
        while piece := answer.read(CHUNK_BYTES):
            file.write(piece)
            came += len(piece)
        file.flush()
        os.fsync(file.fileno())
    # http.client ends a short body like a complete one when it is read in pieces.
    if announced is not None and came != int(announced):
        raise Failed(f"{url} ended after {came} of {announced} bytes")
