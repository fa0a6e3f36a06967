"""Lets machines that fetch large files take turns, by the clock and the site's settings."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web

from pxe.admission import Admission, Turn, places
from pxe.director import Director

WAITS = "X-Waits"
"""The header of a client that can be told to come again; others are never told."""
_NEVER_KEPT = {"Cache-Control": "no-store"}


class Turns:
    """One queue for kernels and installers, another for what installers fetch."""

    def __init__(
        self,
        director: Director,
        interfaces: Callable[[], tuple[str, ...]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`interfaces`: the network interfaces that are served."""
        self._director = director
        self._interfaces = interfaces
        self._clock = clock
        self._boots = Admission(random.random)
        self._installs = Admission(random.random)

    @property
    def places(self) -> int:
        """How many may fetch at a time: the site's word, or what its network can serve."""
        said = self._director.net().admission
        speeds = tuple(link_speed(name) for name in self._interfaces())
        return said or places(speeds, processors=os.cpu_count() or 1)

    def script(self, mac: str, since: str) -> Turn:
        """May a machine be told to fetch its kernel? `since`: what it says it was told before."""
        return self._boots.ask(mac, self._clock(), of=self.places, since=_seconds(since))

    def kernel(self, mac: str, request: web.Request) -> None:
        """Give a machine its place, or raise the answer that tells it to come again."""
        if request.headers.get("User-Agent", "").startswith("GRUB"):
            # It would take the error for the end; iPXE waits as Retry-After says (httpcore.c, since 2015).
            self._boots.enter(mac, self._clock())
            return
        _admit(self._boots.ask(mac, self._clock(), of=self.places))

    def began(self, mac: str) -> None:
        self._boots.began(mac, self._clock())

    def ended(self, mac: str, *, last: bool) -> None:
        self._boots.ended(mac, self._clock(), last=last)

    def install(self, request: web.Request) -> str:
        """The place of an installer that fetches something, empty for who cannot wait; or raise."""
        who = request.remote or ""
        if WAITS not in request.headers or request.method != "GET" or not who:
            return ""
        _admit(self._installs.ask(who, self._clock(), of=self.places))
        return who

    def installs(self, who: str) -> None:
        self._installs.began(who, self._clock())

    def installed(self, who: str) -> None:
        """An installer has its file."""
        self._installs.ended(who, self._clock(), last=True)


def link_speed(interface: str) -> int:
    """Mbit/s as the driver says it; 0 when it says nothing, as those of virtual interfaces."""
    try:
        return int(Path("/sys/class/net", interface, "speed").read_text())
    except (OSError, ValueError):
        return 0


def _admit(turn: Turn) -> None:
    if turn.admitted:
        return
    # The number is in the reason, too: busybox wget shows no headers of an error.
    reason = f"Come Again In {turn.wait_seconds}"
    headers = {"Retry-After": str(turn.wait_seconds), **_NEVER_KEPT}
    text = f"{turn.before} others come first; come again in {turn.wait_seconds} s\n"
    raise web.HTTPServiceUnavailable(reason=reason, text=text, headers=headers)


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() and len(text) < 12 else None
