"""Asks another host's DistServer by its API, over TLS that is verified."""

import http.client
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from appliance.errors import Problem
from appliance.secret import read_secret
from appliance.web_settings import is_loopback

BASE = "/api/v1"
SECONDS = 30.0
MOST_BYTES = 64 * 2**20
MOST_ITEMS = 200
NOBODY = "is there a DistServer at this address?"
TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]+")
"""What may stand in the header, RFC 6750 2.1."""


class ApiClient:
    """One server and the token that is shown to it."""

    def __init__(self, url: str, token_file: Path, authority: Path | None = None) -> None:
        """`authority`: the only certificates to trust, PEM; None: those that this host trusts.

        Raises Problem for an address or a file that cannot be.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Problem(f"{url!r} is no address of a server", hint="https://HOST:8080")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise Problem(f"{url} is not encrypted: whoever is on the way could read the token", hint="https")
        self.url = url.rstrip("/")
        self.prefix = parts.path.rstrip("/")
        self.token = _token(token_file)
        self.link = _link(parts.scheme, parts.hostname, parts.port, authority)

    def get(self, *names: str, query: Mapping[str, str | int] | None = None) -> Any:
        """What is at an address below /api/v1. Raises Problem, with the server's own words if it has some."""
        return self._ask("GET", _path(names, query))

    def post(self, *names: str, body: Mapping[str, str | bool | int] | None = None) -> Any:
        return self._ask("POST", _path(names), None if body is None else json.dumps(body))

    def all(self, *names: str, query: Mapping[str, str | int] | None = None) -> Iterator[Any]:
        """Every object of a list, page by page; `query`: what it is filtered by, perhaps where it begins."""
        page = self.get(*names, query={"cursor": "", **(query or {}), "limit": MOST_ITEMS})
        yield from page["items"]
        while page["next"] is not None:
            page = self.get(*names, query={**(query or {}), "cursor": page["next"], "limit": MOST_ITEMS})
            yield from page["items"]

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            self.link.request(method, self.prefix + path, body, headers)
            answer = self.link.getresponse()
            text = answer.read(MOST_BYTES)
        except ssl.SSLCertVerificationError as wrong:
            hint = "--authority names the server's keys/web/ca.crt"
            raise Problem(f"{self.url} is not to be trusted: {wrong.verify_message}", hint=hint) from wrong
        except (OSError, http.client.HTTPException) as failed:
            raise Problem(f"{self.url} does not answer: {failed}") from failed
        return self._read(answer.status, text)

    def _read(self, status: int, text: bytes) -> Any:
        try:
            said = json.loads(text)
        except ValueError as odd:
            raise Problem(f"{self.url} answers {status} and no JSON", hint=NOBODY) from odd
        if not isinstance(said, dict):
            raise Problem(f"{self.url} answers {status} and no object", hint=NOBODY)
        if status >= 400:
            raise Problem(
                str(said.get("error", f"{self.url} answers {status}")), hint=str(said.get("hint", ""))
            )
        return said


def _path(names: tuple[str, ...], query: Mapping[str, str | int] | None = None) -> str:
    path = "/".join((BASE, *(quote(name, safe="") for name in names)))
    return f"{path}?{urlencode(query)}" if query else path


def _link(scheme: str, host: str, port: int | None, authority: Path | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    try:
        context = ssl.create_default_context(cafile=str(authority) if authority else None)
    except (OSError, ssl.SSLError) as wrong:
        raise Problem(f"{authority} holds no certificates: {wrong}") from wrong
    return http.client.HTTPSConnection(host, port, context=context, timeout=SECONDS)


def _token(file: Path) -> str:
    token = read_secret(file).strip()
    if not TOKEN.fullmatch(token):
        raise Problem(f"{file} holds no token", hint="`distserver account token NAME --add LABEL` prints one")
    return token
