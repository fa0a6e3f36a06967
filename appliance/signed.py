"""Requests between the farm and its workers, signed with a secret that is never sent, each good once."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

WINDOW_SECONDS = 300.0
"""How far two clocks may differ, and how long a used number is remembered."""
NAME, TIME, ONCE, BODY, SUM = "X-Farm-Name", "X-Farm-Time", "X-Farm-Once", "X-Farm-Body", "X-Farm-Sum"


@dataclass(frozen=True)
class Request:
    """What is signed: everything that decides what the server does."""

    method: str
    path: str
    """With its query."""
    name: str
    """Of the worker."""
    at: float
    once: str
    """A number that is used once."""
    body: str
    """sha256 of the body in hexadecimal."""


def headers(request: Request, secret: bytes) -> dict[str, str]:
    return {
        NAME: request.name,
        TIME: f"{request.at:.3f}",
        ONCE: request.once,
        BODY: request.body,
        SUM: _sum(secret, "request", *_parts(request)),
    }


def answer_sum(secret: bytes, once: str, status: int, body: bytes) -> str:
    """Proves that an answer is the server's own, to just this request."""
    return _sum(secret, "answer", once, str(status), hashlib.sha256(body).hexdigest())


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


class Gate:
    """Lets each signed request in once. A restart forgets the numbers, so what is older than it stays out."""

    def __init__(self, secret: bytes, *, now: float) -> None:
        self.secret = secret
        self._since = now
        self._used: dict[str, float] = {}

    def judge(self, method: str, path: str, given: Mapping[str, str], *, now: float) -> Request | str:
        """The request, or why it is refused."""
        try:
            at = float(given.get(TIME, ""))
        except ValueError:
            return "it is not signed"
        name, once, body = (given.get(one, "") for one in (NAME, ONCE, BODY))
        request = Request(method, path, name, at, once, body)
        if not name or not once or not same(given.get(SUM, ""), headers(request, self.secret)[SUM]):
            return "its signature is wrong"
        if abs(now - at) > WINDOW_SECONDS:
            return f"its clock differs by {abs(now - at):.0f} s from the farm's"
        if at < self._since:
            return "it is older than the farm's door"
        self._used = {one: when for one, when in self._used.items() if now - when <= 2 * WINDOW_SECONDS}
        if once in self._used:
            return "it was here before"
        self._used[once] = now
        return request


def _parts(request: Request) -> tuple[str, ...]:
    at = f"{request.at:.3f}"
    return (request.method, request.path, request.name, at, request.once, request.body)


def _sum(secret: bytes, title: str, *parts: str) -> str:
    digest = hmac.new(secret, digestmod=hashlib.sha256)
    for part in (title, *parts):
        raw = part.encode()
        digest.update(b"%d:%s" % (len(raw), raw))
    return digest.hexdigest()
