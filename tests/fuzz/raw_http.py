"""`python -m tests.fuzz.raw_http ADDRESS SECONDS`: broken HTTP on real connections; prints how many."""

import contextlib
import random
import socket
import sys
import time
from collections.abc import Sequence

MAC = b"52:54:00:77:00:01"
SEEDS = (
    b"GET /boot/" + MAC + b".ipxe HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /boot/snponly.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /r/r1/kernel?mac=" + MAC + b" HTTP/1.1\r\nHost: x\r\nRange: bytes=0-99\r\n\r\n",
    b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 22\r\n\r\nmac 52:54:00:77:00:01\n",
    b"POST /event HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nrepor\r\n0\r\n\r\n",
    b"GET /boot/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //c///vm//stable HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nUpgrade: websocket\r\n\r\n",
)
PIECES = (
    b"\r\n",
    b"\0",
    b"%00",
    b"..",
    b"%2f",
    b"\xff\xfe",
    b": ",
    b"Content-Length: -1\r\n",
    b"chunked",
    b"9" * 20,
)
ANSWER_SECONDS = 0.2


def broken(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A request with some of its bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.randint(1, 4)):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(5):
            case 0:
                data[at:end] = b""
            case 1:
                data[at:at] = chance.choice(PIECES)
            case 2:
                data[at:end] = chance.randbytes(min(end - at, 8))
            case 3:
                data[at:at] = data[at:end]
            case _:
                data[at:at] = bytes((chance.randrange(256),)) * chance.choice((1, 100, 9000))
        if not data:
            break
    return bytes(data)


def main(address: str, seconds: str) -> None:
    chance, until, asked = random.Random(0), time.monotonic() + float(seconds), 0
    while time.monotonic() < until:
        with socket.create_connection((address, 80), timeout=5) as talk, contextlib.suppress(OSError):
            talk.sendall(broken(chance, SEEDS))
            talk.settimeout(ANSWER_SECONDS)
            if chance.random() < 0.5:
                talk.shutdown(socket.SHUT_WR)
            while talk.recv(65536):
                pass
        asked += 1
    print(asked)


if __name__ == "__main__":
    main(*sys.argv[1:])
