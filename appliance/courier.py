"""Sends one message to a receiver that is not trusted: bounded in time and size, and never led elsewhere."""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from urllib.parse import SplitResult, urlsplit

from appliance.timeline import clean
from appliance.webhook_model import Answer

SECONDS = 10.0
"""For all of it, whatever the receiver does meanwhile."""
LONGEST_SAID = 200


def post(url: str, message: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS) -> Answer:
    """What the receiver says. Certificates are verified as this host does; a redirect is an answer."""
    parts, late = urlsplit(url), f"no answer within {seconds:g} s"
    try:
        with _socket(parts, seconds) as sock, _cut_off(sock, seconds) as cut:
            try:
                status, reason = _ask(parts, sock, message, headers)
            except (OSError, http.client.HTTPException, ValueError) as failed:
                # The handshake has the same time as the whole, and either may end first.
                return Answer(
                    None, late if cut.is_set() or isinstance(failed, TimeoutError) else _why(failed)
                )
            if cut.is_set():
                # An answer that is cut off in its headers looks whole to http.client.
                return Answer(None, late)
    except (OSError, ValueError) as failed:
        return Answer(None, _why(failed))
    said = clean(f"{status} {reason}".strip())[:LONGEST_SAID]
    return Answer(status, f"{said}: redirects are not followed" if 300 <= status < 400 else said)


def _socket(parts: SplitResult, seconds: float) -> socket.socket:
    port = parts.port or (443 if parts.scheme == "https" else 80)
    sock = socket.create_connection((parts.hostname or "", port), timeout=seconds)
    if parts.scheme == "http":
        return sock
    context = ssl.create_default_context()
    return context.wrap_socket(sock, server_hostname=parts.hostname, do_handshake_on_connect=False)


@contextlib.contextmanager
def _cut_off(sock: socket.socket, seconds: float) -> Iterator[threading.Event]:
    """End the connection when the time is over: a receiver may send a byte now and then for ever."""
    cut = threading.Event()

    def end() -> None:
        cut.set()
        with contextlib.suppress(OSError):
            # Of the socket itself: unwrapping TLS would wait for the receiver.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield cut
    finally:
        timer.cancel()


def _ask(
    parts: SplitResult, sock: socket.socket, message: bytes, headers: Mapping[str, str]
) -> tuple[int, str]:
    if isinstance(sock, ssl.SSLSocket):
        sock.do_handshake()
    link = http.client.HTTPConnection(parts.hostname or "", parts.port)
    link.sock = sock
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    link.request("POST", path, message, {**headers, "Host": parts.netloc, "Connection": "close"})
    answer = link.getresponse()
    return answer.status, answer.reason


def _why(failed: Exception) -> str:
    if isinstance(failed, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {failed.verify_message}"[:LONGEST_SAID]
    return clean(str(failed) or type(failed).__name__)[:LONGEST_SAID]
