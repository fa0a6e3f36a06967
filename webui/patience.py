"""How long a caller may take to ask, and how many connections and threads one address may have."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from cheroot.makefile import StreamReader
from cheroot.server import HTTPConnection

READ_SECONDS = 10.0
"""Of waiting for one request, from its first byte to the last of its body."""
MOST_OPEN, MOST_BUSY = 64, 24
"""Connections and threads of one address. Behind one address may be a company whose browsers follow live."""
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRetry-After: 5\r\n"
    b"Connection: close\r\n\r\nToo many requests of this address are under way; try again in 5 seconds.\n"
)


@dataclass
class Visitors:
    """Counts by address; a proxy brings many callers, and is counted by nobody."""

    proxies: Collection[str] = ()
    most_open: int = MOST_OPEN
    most_busy: int = MOST_BUSY
    open: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def may(self, counts: Counter[str], address: str, most: int) -> bool:
        """Take one more unless there are too many; what was taken is given back."""
        with self.lock:
            if counts[address] >= most and address not in self.proxies:
                return False
            counts[address] += 1
            return True

    def give_back(self, counts: Counter[str], address: str) -> None:
        with self.lock:
            counts[address] -= 1
            if counts[address] <= 0:
                del counts[address]


class PatientSocket(socket.SocketIO):
    """Waits so long for a caller in all, and not so long for each byte."""

    left = READ_SECONDS

    def readinto(self, buffer: Any) -> int | None:
        if self.left <= 0:
            # The words by which cheroot knows that it has to answer 408.
            raise TimeoutError("timed out")
        sock: socket.socket = self._sock  # type: ignore[attr-defined]
        usual, begun = sock.gettimeout(), time.monotonic()
        try:
            sock.settimeout(self.left)
            return super().readinto(buffer)
        finally:
            self.left -= time.monotonic() - begun
            sock.settimeout(usual)


class PatientReader(StreamReader):
    def __init__(self, sock: socket.socket, size: int) -> None:
        self.patience = PatientSocket(sock, "rb")
        # cheroot's own would make a reader that waits for each byte anew.
        super(StreamReader, self).__init__(self.patience, size)
        self.bytes_read = 0


class Connection(HTTPConnection):
    """Gets a thread when something came, and not before."""

    visitors: Visitors
    read_seconds: float = READ_SECONDS

    def __init__(self, server: Any, sock: socket.socket, makefile: Callable[..., Any]) -> None:
        def make(of: socket.socket, mode: str, size: int) -> Any:
            return PatientReader(of, size) if "r" in mode else makefile(of, mode, size)

        self.spoke = False
        self.counted = False
        super().__init__(server, sock, make)

    def communicate(self) -> bool:
        """Answer one request; False: the connection ends."""
        visitors, address = self.visitors, self.address
        if not visitors.may(visitors.busy, address, visitors.most_busy):
            self.wfile.write(BUSY)
            return False
        try:
            self.rfile.patience.left = self.read_seconds
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            visitors.give_back(visitors.busy, address)

    @property
    def address(self) -> str:
        return str(getattr(self, "remote_addr", "") or "")

    def begin(self) -> bool:
        """Count it; False: its address has too many."""
        self.counted = self.visitors.may(self.visitors.open, self.address, self.visitors.most_open)
        return self.counted

    def close(self) -> None:
        if self.counted:
            self.counted = False
            self.visitors.give_back(self.visitors.open, self.address)
        super().close()
