"""Talks with the server's door: TLS with this machine's own certificate, JSON, bounds on time and size."""

import hashlib
import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from distserver_client import programs
from distserver_client.errors import Away, Problem
from distserver_client.news import Became, News, read_news
from distserver_client.triples import Answer, Item, answer

ANSWER_SECONDS = 60.0
"""Usually, from the first octet of a question to the last of its answer."""
OPENSSL_SECONDS = 30.0
MOST_BYTES = 1 << 20
"""Of an answer in JSON."""
MOST_CONTENT_BYTES = 16 << 20
"""Of a configuration file that comes from the server."""
MOST_SHOWN_BYTES = 256 << 10
"""Of a content that the server keeps to show it to a person (docs/merges.md)."""
TOO_LARGE = 413
PIECE_BYTES = 1 << 16
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0
LEAST_AGAIN_SECONDS = 10.0
LONGEST_AGAIN_SECONDS = 86400.0
RELEASE = re.compile(r"([0-9]{8}-[0-9a-f]{12})?")
HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")


class Refused(Problem):
    """The server answers, and will not: the same question gets the same answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_stranger(self) -> bool:
        """The certificate does not count: the machine was retired, or installed anew."""
        return self.status in (401, 403)


@dataclass(frozen=True)
class Identity:
    """Who the machine is, and whom it believes; files of one directory, /etc/distserver."""

    home: Path

    @property
    def door(self) -> Path:
        """`https://HOST:PORT`"""
        return self.home / "door"

    @property
    def authority(self) -> Path:
        """The authority whose certificate the door shows."""
        return self.home / "ca.crt"

    @property
    def key(self) -> Path:
        return self.home / "machine.key"

    @property
    def certificate(self) -> Path:
        return self.home / "machine.crt"

    @property
    def is_enrolled(self) -> bool:
        """Whether the installer left what it takes to come to the door."""
        return all(one.is_file() for one in (self.door, self.authority, self.key))


@dataclass(frozen=True)
class Ordered:
    """What the machine is to have, and whether it may begin."""

    release: str
    go: bool
    why: str
    serial: int
    again_seconds: float
    """So long it waits before it asks the next time."""
    policy: Mapping[str, object] = field(default_factory=dict)
    merges: int = 0
    """Answers about configuration files that wait for the machine: Talk.news() has them."""


@dataclass(frozen=True)
class Lifetime:
    """Of a certificate, in seconds since the epoch."""

    start: float
    end: float

    def is_due(self, now: float) -> bool:
        """Whether the next one should be there: in the last third, or when the clock makes no sense of it."""
        return not self.start - 86400 <= now < self.end - (self.end - self.start) / 3


def read_order(came: object) -> Ordered:
    """From the answer's JSON; raises ValueError for what no server of ours says."""
    if not isinstance(came, Mapping):
        raise ValueError(f"an order is {type(came).__name__}, expected an object")
    release, go, why, policy = (came.get(name) for name in ("release", "go", "why", "policy"))
    serial, again = came.get("serial", 0), came.get("again_seconds", 3600.0)
    merges = came.get("merges", 0)
    if not isinstance(release, str) or not RELEASE.fullmatch(release) or not isinstance(go, bool):
        raise ValueError(f"an order has the release {release!r:.60} and go {go!r:.20}")
    if not isinstance(serial, int) or not isinstance(again, int | float) or not isinstance(policy, Mapping):
        raise ValueError("an order has no serial, no time to ask again or no policy")
    if not isinstance(merges, int):
        raise ValueError(f"an order has the merges {merges!r:.20}")
    seconds = min(max(float(again), LEAST_AGAIN_SECONDS), LONGEST_AGAIN_SECONDS)
    return Ordered(release, go and bool(release), str(why or "")[:300], serial, seconds, policy, merges)


def pause(failures: int, draw: float) -> float:
    """Seconds until the next try after so many in a row that failed. `draw`: from 0 to 1, another each time.

    Half of it is by chance: machines that lost their server together do not come back together.
    """
    whole = min(FIRST_PAUSE_SECONDS * 2.0 ** min(max(failures - 1, 0), 20), LONGEST_PAUSE_SECONDS)
    return whole / 2 + draw * whole / 2


@dataclass
class Talk:
    """One machine's questions; each is a connection of its own, so that none is kept while it works."""

    identity: Identity
    clock: Callable[[], float] = time.time
    source: str = ""
    """The address of this host that is used; empty: as its routes say."""
    answer_seconds: float = ANSWER_SECONDS

    def order(self) -> Ordered:
        """The one question of an update. Raises Away, Refused or Problem."""
        try:
            return read_order(self._json("GET", "/client/order"))
        except ValueError as wrong:
            raise Problem(f"the server's order makes no sense: {wrong}") from wrong

    def report(self, said: Mapping[str, object]) -> bool:
        """What became of the machine, as report.message() makes it; False: its lists are wanted, too."""
        came = self._json("POST", "/client/report", said)
        return not (isinstance(came, Mapping) and came.get("lists") is False)

    def event(self, stage: str, status: str = "done", message: str = "", **took: float | int) -> None:
        """A step of the timeline; `took`: seconds and bytes."""
        self._json("POST", "/client/event", {"stage": stage, "status": status, "message": message, **took})

    # triples.Ask

    def known(self, items: Sequence[Item]) -> Sequence[Answer]:
        """One answer for each item, in their order."""
        came = self._json("POST", "/client/merges", [one.json() for one in items])
        if not isinstance(came, list) or len(came) != len(items):
            raise Problem(f"the server did not answer each of {len(items)} questions")
        try:
            return [answer(one) for one in came]
        except ValueError as wrong:
            raise Problem(f"the server's answer makes no sense: {wrong}") from wrong

    def give(self, sha256: str, content: bytes) -> None:
        """Without one that is too large, or has no place there, its question is answered, too."""
        if len(content) > MOST_SHOWN_BYTES:
            return
        try:
            self.ask("PUT", f"/client/blob/{sha256}", content)
        except Refused as refused:
            if refused.status != TOO_LARGE:
                raise

    def get(self, sha256: str) -> bytes:
        return self.ask("GET", f"/client/blob/{sha256}", most=MOST_CONTENT_BYTES)

    def news(self) -> list[News]:
        """What was decided, or taken back, since the machine was told."""
        came = self._json("GET", "/client/merges")
        if not isinstance(came, list):
            raise Problem("the server's answers about configuration files are no list")
        try:
            return [read_news(one) for one in came]
        except ValueError as wrong:
            raise Problem(f"the server's answer makes no sense: {wrong}") from wrong

    def told(self, item: Item | News, became: Became, result: str, said: str = "") -> bool:
        """Say what became of an answer; False: it was taken back meanwhile, and news() has it.

        `result`: SHA256 of what was decided; `said`: why it was refused, in the words of the file's program.
        """
        line = {"path": item.path, "base": item.base, "ours": item.ours, "theirs": item.theirs}
        line |= {"state": became.value, "result": result, "said": said}
        came = self._json("POST", "/client/merges", {"items": [line]})
        return not (isinstance(came, list) and came and came[0] == {"state": "undo", "result": result})

    # the certificate

    def tend(self) -> bool:
        """Fetch the machine's certificate when it has none, or one that ends soon; whether it is another.

        It needs no certificate: who was switched off for long comes back with it.
        """
        held = self.identity.certificate
        if held.is_file() and not self._lifetime(held).is_due(self.clock()):
            return False
        came = self.ask("GET", f"/client/certificate/{self._key_hash()}", known=False)
        if not came:
            raise Away("the server has not signed this machine's key yet")
        if held.is_file() and held.read_bytes() == came:
            return False
        part = held.with_name(".machine.crt.part")
        part.write_bytes(came)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(part, self.identity.key)
        except ssl.SSLError as wrong:
            part.unlink()
            raise Problem("the server sent a certificate of another key") from wrong
        part.chmod(0o644)
        part.rename(held)
        return True

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, most: int = MOST_BYTES, known: bool = True
    ) -> bytes:
        """The body of an answer with status 200; empty for 202. `known`: with the machine's certificate.

        Raises Away when nobody answers, Refused when the server will not.
        """
        status, came = self._asked(method, path, body, most=most, known=known)
        if status == 202:
            return b""
        if status == 200:
            return came
        said = came[:300].decode(errors="replace").strip()
        if status >= 500 or status in (408, 429):
            raise Away(f"the server has a problem of its own ({status}): {said}")
        raise Refused(f"the server refuses {path} ({status}): {said}", status)

    def _json(self, method: str, path: str, said: object = None) -> Any:
        body = None if said is None else json.dumps(said).encode()
        try:
            return json.loads(self.ask(method, path, body))
        except (ValueError, RecursionError) as wrong:
            raise Problem(f"the server's answer to {path} is no JSON") from wrong

    def _asked(
        self, method: str, path: str, body: bytes | None, *, most: int, known: bool
    ) -> tuple[int, bytes]:
        host, port = self._address()
        deadline = time.monotonic() + self.answer_seconds
        where = f"https://{host}:{port}"
        link = http.client.HTTPSConnection(
            host,
            port,
            context=self._context(known=known),
            timeout=self.answer_seconds,
            source_address=(self.source, 0) if self.source else None,
        )
        try:
            with closing(link):
                headers = {"Connection": "close", "Content-Type": "application/json"}
                link.request(method, path, body, headers)
                came = link.getresponse()
                content = bytearray()
                while piece := came.read(PIECE_BYTES):
                    content += piece
                    if len(content) > most:
                        raise Problem(f"the answer to {path} is longer than {most} bytes")
                    if time.monotonic() > deadline:
                        raise TimeoutError("the answer did not end in time")
        except ssl.SSLCertVerificationError as wrong:
            said = f"{where} is not the server of this machine: {wrong.verify_message}"
            raise Problem(said, hint=f"{self.identity.authority} is the authority it should have") from wrong
        except (OSError, http.client.HTTPException) as failure:
            raise Away(f"{where} does not answer: {failure or type(failure).__name__}") from failure
        return came.status, bytes(content)

    def _address(self) -> tuple[str, int]:
        try:
            text = self.identity.door.read_text().strip()
            where = urlsplit(text)
            host, port = where.hostname or "", where.port or 443
        except FileNotFoundError:
            raise Problem(f"this machine knows no door: there is no {self.identity.door}") from None
        except ValueError as wrong:
            raise Problem(f"{self.identity.door} holds no address: {wrong}") from wrong
        if where.scheme != "https" or not HOST.fullmatch(host):
            raise Problem(f"{self.identity.door} holds {text[:80]!r}, expected https://HOST:PORT")
        return host, port

    def _context(self, *, known: bool) -> ssl.SSLContext:
        """Believes this one authority, and nothing that the machine's own store of certificates has."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            made.load_verify_locations(self.identity.authority)
            if known and self.identity.certificate.is_file():
                made.load_cert_chain(self.identity.certificate, self.identity.key)
        except (OSError, ssl.SSLError) as wrong:
            raise Problem(f"key or certificates in {self.identity.home} cannot be read: {wrong}") from wrong
        return made

    def _key_hash(self) -> str:
        """SHA-256 of the public key, by which the server knows the machine's certificate."""
        argv = ["openssl", "pkey", "-in", str(self.identity.key), "-pubout", "-outform", "DER"]
        done = programs.run(argv, seconds=OPENSSL_SECONDS, apart=True)
        if done.status:
            raise Problem(f"{self.identity.key} is no key that openssl reads")
        return hashlib.sha256(done.output).hexdigest()

    def _lifetime(self, certificate: Path) -> Lifetime:
        """That of a file that is no certificate is over."""
        argv = ["openssl", "x509", "-in", str(certificate), "-noout", "-startdate", "-enddate"]
        done = programs.run(argv, seconds=OPENSSL_SECONDS, apart=True)
        words = dict(line.partition("=")[::2] for line in done.output.decode(errors="replace").splitlines())
        try:
            start, end = (ssl.cert_time_to_seconds(words[name]) for name in ("notBefore", "notAfter"))
        except (KeyError, ValueError):
            return Lifetime(0.0, 0.0)
        return Lifetime(start, end)
