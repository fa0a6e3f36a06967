"""A TCP relay that counts what goes through it, TLS and HTTP headers included."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

HOST = "127.0.0.1"
PIECE_BYTES = 1 << 16


@dataclass
class Relay:
    """Octets of TCP payload, from the client's side."""

    port: int
    received: int = 0
    sent: int = 0
    connections: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def total(self) -> int:
        return self.received + self.sent

    def clear(self) -> None:
        with self._lock:
            self.received = self.sent = self.connections = 0

    def serve(self, listener: socket.socket, target: int) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((HOST, target))
            except OSError:
                client.close()
                continue
            with self._lock:
                self.connections += 1
            for one, other, name in ((client, server, "sent"), (server, client, "received")):
                threading.Thread(target=self._pass, args=(one, other, name), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, name: str) -> None:
        """One direction; its end is passed on, too."""
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE_BYTES):
                with self._lock:
                    setattr(self, name, getattr(self, name) + len(piece))
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay(target: int) -> Iterator[Relay]:
    """A relay to a port of this host."""
    with socket.create_server((HOST, 0), backlog=64) as listener:
        made = Relay(listener.getsockname()[1])
        thread = threading.Thread(target=made.serve, args=(listener, target), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
