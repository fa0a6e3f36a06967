"""Serves the web page: threads, bounds, and TLS whose certificate may change while it runs."""

import logging
import socket
import ssl
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cheroot import errors, wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter
from flask import Flask

from webui.patience import Connection, Visitors
from webui.proxy import Proxied

log = logging.getLogger(__name__)

THREADS = 32
"""Live connections take one each: they are bounded far below it."""
MOST_HEADER_BYTES, MOST_BODY_BYTES = 32 * 1024, 8 * 2**20
"""Of all requests; forms are bounded below that."""
TIMEOUT_SECONDS = 10
HANDSHAKE = b"\x16"
"""The first byte of TLS, RFC 8446 5.1."""
PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS only: write https:// in place of http:// before the address.\n"
)


class TlsSocket(ssl.SSLSocket):
    """Shakes hands when it is first read from, in the thread of its connection.

    cheroot would do it where it accepts connections: one caller who says nothing would hold up all others.
    """

    greeted = False

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if not self.greeted:
            self._greet()
        return super().recv_into(buffer, nbytes, flags)

    def _greet(self) -> None:
        try:
            first = socket.socket.recv(self, 1, socket.MSG_PEEK)
            if first and first != HANDSHAKE:
                socket.socket.recv(self, MOST_HEADER_BYTES)
                socket.socket.sendall(self, PLAIN)
                raise errors.FatalSSLAlert("it does not speak TLS")
            self.do_handshake()
        except OSError as error:  # ssl.SSLError is one, too
            raise errors.FatalSSLAlert(str(error)) from error
        self.greeted = True


class Certificate(BuiltinSSLAdapter):
    """A file with key and certificates; another file in its place counts for whoever comes next."""

    def __init__(self, pem: Path) -> None:
        super().__init__(str(pem), str(pem))
        self.pem = pem
        self.loaded = self._stamp()
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.sslsocket_class = TlsSocket

    def wrap(self, sock: socket.socket) -> tuple[ssl.SSLSocket, dict[str, str]]:
        try:
            if (now := self._stamp()) != self.loaded:
                self.context.load_cert_chain(self.pem)
                self.loaded = now
        except OSError as error:
            log.warning("%s cannot be read, the certificate before it is used: %s", self.pem, error)
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}

    def _stamp(self) -> tuple[int, int]:
        status = self.pem.stat()
        return status.st_ino, status.st_mtime_ns


class Server(wsgi.Server):
    """Logs like everything else, and gives a thread to who says something."""

    def process_conn(self, conn: Connection) -> None:
        """cheroot gives every connection a thread at once: those who are silent would hold all of them."""
        if conn.spoke:
            super().process_conn(conn)
        elif conn.begin():
            conn.spoke = True
            self.put_conn(conn)
        else:
            conn.close()

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        log.log(level, "%s", msg, exc_info=traceback)


def make_server(
    app: Flask, host: str, port: int, *, pem: Path | None = None, proxies: Collection[str] = ()
) -> Server:
    """A server that start() runs; with TLS when there is a file with key and certificates.

    `proxies`: addresses whose word counts on who came to them.
    """
    app.wsgi_app = Proxied(app.wsgi_app, proxies)  # type: ignore[method-assign,assignment]
    server = Server((host, port), app, numthreads=THREADS, server_name="DistServer", request_queue_size=128)
    server.timeout = TIMEOUT_SECONDS
    server.ConnectionClass = type("Connected", (Connection,), {"visitors": Visitors(proxies)})
    server.max_request_header_size = MOST_HEADER_BYTES
    server.max_request_body_size = MOST_BODY_BYTES
    if pem:
        server.ssl_adapter = Certificate(pem)
        app.config["SESSION_COOKIE_SECURE"] = True
    return server
