"""A proxy before the web page: believed when the site names its address, and nobody else is."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]
SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Proxied:
    """A WSGI application that sees who came to the proxy, and by which scheme."""

    application: Application
    proxies: Collection[str]

    def __call__(self, environ: Environ, start: Any) -> Iterable[bytes]:
        if environ.get("REMOTE_ADDR") in self.proxies:
            caller = caller_of(environ.get("HTTP_X_FORWARDED_FOR", ""), self.proxies)
            scheme = last(environ.get("HTTP_X_FORWARDED_PROTO", "")).lower()
            environ["REMOTE_ADDR"] = caller or environ["REMOTE_ADDR"]
            if scheme in SCHEMES:
                environ["wsgi.url_scheme"] = scheme
        return self.application(environ, start)


def caller_of(said: str, proxies: Collection[str]) -> str:
    """Whom the nearest proxy that is not ours saw; what is further left anybody may have written.

    Empty when the header says nothing that is an address.
    """
    for word in reversed(said.split(",")):
        try:
            address = str(ip_address(word.strip()))
        except ValueError:
            return ""
        if address not in proxies:
            return address
    return ""


def last(said: str) -> str:
    """The word that the nearest proxy added."""
    return said.rpartition(",")[2].strip()
