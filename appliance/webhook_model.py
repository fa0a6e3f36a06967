"""Webhooks: what they are told, in which words, how it is signed, and when it is tried again. Pure."""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

TEST = "test"
PAUSES = (10.0, 60.0, 300.0, 900.0, 3600.0, 3 * 3600.0, 6 * 3600.0, 12 * 3600.0)
"""After each try that failed; after the last of them it is given up, a day later."""
LONGEST_URL = 1000
URL = re.compile(r"[!-~]+")
SIGNATURE, EVENT, DELIVERY = "X-DistServer-Signature", "X-DistServer-Event", "X-DistServer-Delivery"
LATER = (408, 425, 429)
"""Answers that ask for patience and are no judgement of what was sent, RFC 9110 15.5."""


class Happening(Enum):
    """What a webhook may be told of."""

    RELEASE_PUBLISHED = "release.published"
    RELEASE_REFUSED = "release.refused"
    BUILD_FAILED = "build.failed"
    MACHINE_INSTALLED = "machine.installed"
    MACHINE_FAILED = "machine.failed"
    QUESTION_WAITS = "question.waits"
    ROLLOUT_STOPPED = "rollout.stopped"
    REPOSITORY_FAILED = "repository.failed"


MEANINGS = {
    Happening.RELEASE_PUBLISHED: "a channel names a newer release",
    Happening.RELEASE_REFUSED: "the gate refused a release",
    Happening.BUILD_FAILED: "a profile did not build",
    Happening.MACHINE_INSTALLED: "a machine is installed",
    Happening.MACHINE_FAILED: "an installation failed",
    Happening.QUESTION_WAITS: "a plan or a configuration file asks what only a person can decide",
    Happening.ROLLOUT_STOPPED: "a rollout stopped, or a channel was moved back",
    Happening.REPOSITORY_FAILED: "a repository cannot be synchronised any more",
}


class DeliveryState(Enum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


@dataclass(frozen=True)
class Webhook:
    """An address that is told; its secret is shown once. Times in seconds since the epoch."""

    id: int
    url: str
    events: tuple[str, ...]
    active: bool
    made_at: float
    who: str
    dropped: int = 0
    """What was never told, because too much waited."""


@dataclass(frozen=True)
class Delivery:
    """One message to one webhook. Times in seconds since the epoch."""

    id: int
    webhook: int
    event: str
    subject: str
    detail: str
    at: float
    state: DeliveryState = DeliveryState.WAITING
    tries: int = 0
    due_at: float = 0.0
    ended_at: float | None = None
    said: str = ""
    """What the receiver answered, or why nothing came."""


@dataclass(frozen=True)
class Answer:
    """What came of one try."""

    status: int | None
    """None: no answer at all."""
    said: str

    @property
    def good(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_down(self) -> bool:
        """Whether the receiver takes nothing now, whatever is sent."""
        return self.status is None or self.status >= 500 or self.status in LATER


def url_fault(url: str) -> str:
    """Why nothing can be told to an address, as a sentence; empty when it is right."""
    if len(url) > LONGEST_URL or not URL.fullmatch(url):
        return f"an address has 1 to {LONGEST_URL} printable characters of ASCII and no space"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as wrong:
        return f"{url} is no address: {wrong}"
    if parts.scheme not in ("http", "https") or not host:
        return f"{url} is no address of a receiver, expected http://HOST/... or https://HOST/..."
    if parts.username is not None or parts.password is not None:
        return "an address with a name or password would show them to everybody: the signature says who sends"
    return ""


def body(delivery: Delivery, site: str) -> bytes:
    """The message: the same bytes at every try."""
    said = {
        "id": delivery.id,
        "event": delivery.event,
        "at": round(delivery.at, 3),
        "site": site,
        "subject": delivery.subject,
        "detail": delivery.detail,
    }
    return json.dumps(said, ensure_ascii=True).encode()


def headers(delivery: Delivery, message: bytes, secret: str) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": "DistServer",
        EVENT: delivery.event,
        DELIVERY: str(delivery.id),
        SIGNATURE: signature(message, secret),
    }


def signature(message: bytes, secret: str) -> str:
    """HMAC-SHA256 of the message, RFC 2104, with the secret's text as the key."""
    return f"sha256={hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()}"


def pause_seconds(tries: int) -> float | None:
    """How long to wait after so many tries that failed; None: no more."""
    return PAUSES[tries - 1] if tries <= len(PAUSES) else None
