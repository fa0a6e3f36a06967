"""The server as an update needs it: the door, or without a certificate the profile's signed channel."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from distserver_client import durable, trust
from distserver_client.errors import Away, Problem
from distserver_client.fetching import Fetcher
from distserver_client.paths import Places
from distserver_client.report import Phase, Report, message
from distserver_client.talking import Identity, Ordered, Talk
from distserver_client.telling import SOON_SECONDS
from distserver_client.updating import Order

FIRST_LINE = "distserver-channel 1"
STABLE = "stable"
TOLD = "told"
"""Beside the agent's other memories: the digest of the lists of the last report that was taken."""


class Server(Protocol):
    """Whom the agent asks and tells; each may raise Away."""

    def order(self) -> Order:
        """The one question of an update."""

    def policy(self) -> Mapping[str, object] | None:
        """`[client]` of the profile as the order brought it; None when nobody said anything."""

    def again_seconds(self) -> float | None:
        """So long to wait before the next question; None: as the policy says."""

    def has_news(self) -> bool:
        """Did the order say that answers about configuration files wait?"""

    @property
    def listens(self) -> bool:
        """Does it take reports?"""

    def report(self, said: Report) -> None:
        """What became of the machine."""


class Channel:
    """The public, signed statement of a channel: it says the release and nothing of this machine alone."""

    def __init__(self, places: Places, fetcher: Fetcher, profile: str, serial: int) -> None:
        self._places = places
        self._fetcher = fetcher
        self._profile = profile
        self._serial = serial

    def order(self) -> Order:
        path = f"/c/{self._profile}/{STABLE}"
        text = trust.signed_text(self._places.key, self._fetcher.small(path), "the channel")
        return read(text, self._profile, self._serial)

    def policy(self) -> Mapping[str, object] | None:
        return None

    def again_seconds(self) -> float | None:
        return None

    def has_news(self) -> bool:
        return False

    @property
    def listens(self) -> bool:
        return False

    def report(self, said: Report) -> None:
        """A channel takes no reports."""


class Door:
    """The server's door over TLS, which knows the machine by its certificate."""

    def __init__(self, talk: Talk, told: Path | None = None) -> None:
        """`told`: a file that remembers which lists the server has, so that they are not sent each time."""
        self.talk = talk
        self._told = told
        self._ordered: Ordered | None = None

    def order(self) -> Order:
        said = self._ordered = self.talk.order()
        return Order(said.release, go=said.go, why=said.why, serial=said.serial)

    def policy(self) -> Mapping[str, object] | None:
        return self._ordered.policy if self._ordered else None

    def again_seconds(self) -> float | None:
        return self._ordered.again_seconds if self._ordered else None

    def has_news(self) -> bool:
        return self._ordered is not None and self._ordered.merges > 0

    @property
    def listens(self) -> bool:
        return True

    def report(self, said: Report) -> None:
        # That an update begins is not worth a wait.
        seconds = SOON_SECONDS if said.phase is Phase.UPDATING else self.talk.answer_seconds
        talk = replace(self.talk, answer_seconds=seconds)
        held = self._told.read_text() if self._told and self._told.is_file() else ""
        short = message(said, held=held)
        if not talk.report(short):
            talk.report(message(said))
        if self._told and short["lists"] != held:
            durable.replace(self._told, str(short["lists"]).encode(), 0o600)


def door(places: Places) -> Door | None:
    """None for a machine that has no certificate, and whose key the server did not sign yet."""
    talk = Talk(Identity(places.settings))
    if not talk.identity.is_enrolled:
        return None
    with suppress(Away):  # with a certificate that is about to end it can still be told what to do
        talk.tend()
    return Door(talk, places.client / TOLD) if talk.identity.certificate.is_file() else None


def read(text: str, profile: str, serial: int) -> Order:
    """A verified statement as an order; raises Problem for one of another profile or from before."""
    first, *lines = text.splitlines() or [""]
    said = {key: value for key, _, value in (line.partition(" ") for line in lines)}
    if first != FIRST_LINE or said.get("profile") != profile or not said.get("serial", "").isdigit():
        raise Problem(f"the channel is not one of profile {profile}: it starts with {first[:80]!r}")
    if int(said["serial"]) < serial:
        raise Problem(f"the channel has serial {said['serial']}, one with {serial} was here before")
    return Order(said.get("release", ""), serial=int(said["serial"]))
