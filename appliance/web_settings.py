"""The table [web] of the site: where the web page is, and whether it is encrypted."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from appliance.schema import Keys, Kind

WEB = Keys(
    {
        "port": Kind.INTEGER,
        "host": Kind.TEXT,
        "tls": Kind.BOOLEAN,
        "names": Kind.WORDS,
        "certificate": Kind.TEXT,
        "key": Kind.TEXT,
        "proxy": Kind.WORDS,
    }
)
HOST, PORT = "127.0.0.1", 8080
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class WebSettings:
    host: str = HOST
    port: int = PORT
    tls: bool = False
    """By default unless the host is loopback: passwords go through it."""
    names: tuple[str, ...] = ()
    """Further names and addresses by which browsers come; the first is the one in links."""
    certificate: Path | None = None
    """The site's own, with what leads to an authority; None: of an authority of our own."""
    key: Path | None = None
    proxies: tuple[str, ...] = ()
    """Addresses of proxies before the page, which say who came to them and whether by TLS."""


def is_loopback(host: str) -> bool:
    """Whether only this host reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_web(table: Mapping[str, Any], file: Path, complaints: list[str]) -> WebSettings:
    """The settings, each checked beyond its kind."""
    host, port = table.get("host", HOST), table.get("port", PORT)
    tls = table.get("tls", not is_loopback(host))
    if not 0 < port < 65536:
        complaints.append(f"{file}: web.port: expected a port from 1 to 65535, got {port}")
    if not tls and not is_loopback(host):
        complaints.append(
            f"{file}: web.tls: expected true with the host {host}, which is not loopback: whoever is on the"
            " network could read passwords"
        )
    bad = [name for name in table.get("names", ()) if not is_name(name)]
    complaints += [f"{file}: web.names: expected a host name or an address, got {name!r}" for name in bad]
    proxies = table.get("proxy", ())
    odd = [name for name in proxies if not is_address(name)]
    complaints += [f"{file}: web.proxy: expected an address, got {name!r}" for name in odd]
    own = {key: (file.parent / table[key]).resolve() for key in ("certificate", "key") if key in table}
    if len(own) == 1:
        complaints.append(f"{file}: web.{next(iter(own))}: expected certificate and key together")
    if own and not tls:
        complaints.append(f"{file}: web.certificate: expected none without tls")
    complaints += [f"{file}: web.{key}: {path} is no file" for key, path in own.items() if not path.is_file()]
    given = own.get("certificate"), own.get("key")
    known = tuple(str(ip_address(name)) for name in proxies if is_address(name))
    return WebSettings(host, port, tls, tuple(table.get("names", ())), *given, known)


def is_name(name: str) -> bool:
    """Whether a certificate may be for it: a host name, or an address."""
    return is_address(name) or bool(HOST_NAME.fullmatch(name))


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
