"""TFTP with foreign clients, over good wires, bad wires and wires that carry less than they say."""

import contextlib
import hashlib
import os
import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.run import run, running
from pxe import tftp_packets as packets
from tests import tftp_program, tftp_relay
from tests.benches_net.wire import INTERFACE, SERVER, Wire, wire

HERE = "127.0.0.1"
DEADLINE_SECONDS = 20.0
# Around the ends of blocks, and one block more than there are block numbers.
SIZES = (0, 1, 511, 512, 513, 1024, 1467, 1468, 1469, 512 * 65536 + 7)
TFTPY = (
    "import sys, tftpy; tftpy.TftpClient(sys.argv[1], 69, {'blksize': int(sys.argv[4]), 'tsize': 0})"
    ".download(sys.argv[2], sys.argv[3])"
)
SEND = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
    "for text in sys.argv[2:]: s.sendto(bytes.fromhex(text), (sys.argv[1], 69))\n"
)

Fetch = Callable[[str, str, Path, int], list[str | Path]]
CLIENTS: Mapping[str, Fetch] = {
    "tftp-hpa": lambda server, name, got, blksize: [
        *("tftp", "-m", "binary", server, "-c", "get", name),
        got,
    ],
    "atftp": lambda server, name, got, blksize: [
        *("atftp", "--option", f"blksize {blksize}", "-g", "-r", name, "-l"),
        *(got, server, "69"),
    ],
    "atftp in windows": lambda server, name, got, blksize: [
        *("atftp", "--option", f"blksize {blksize}", "--option", "windowsize 16", "-g", "-r", name, "-l"),
        *(got, server, "69"),
    ],
    "curl": lambda server, name, got, blksize: [
        *("curl", "-sS", "--max-time", "60", "--tftp-blksize", str(blksize), "-o"),
        *(got, f"tftp://{server}//{name}"),
    ],
    "busybox": lambda server, name, got, blksize: [
        *("busybox", "tftp", "-g", "-b", str(blksize), "-r", name, "-l"),
        *(got, server),
    ],
    "tftpy": lambda server, name, got, blksize: [
        sys.executable,
        "-c",
        TFTPY,
        server,
        name,
        got,
        str(blksize),
    ],
}
"""argv of a client that fetches a name from a server into a file with a block size (tftp-hpa: always 512)."""


@dataclass(frozen=True)
class Served:
    on: Wire
    root: Path
    log: Path

    def fetch(self, client: str, name: str, got: Path, blksize: int, *, server: str = SERVER) -> None:
        run(CLIENTS[client](server, name, got, blksize), prefix=self.on.clients, timeout_seconds=120)
        assert sha256(got) == sha256(self.root / name)

    def send(self, *datagrams: bytes) -> None:
        texts = [datagram.hex() for datagram in datagrams]
        run([sys.executable, "-c", SEND, SERVER, *texts], prefix=self.on.clients)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def ready(argv: list[str | Path], prefix: tuple[str, ...], log: Path, text: str) -> Iterator[None]:
    """A program that runs for as long as the block lasts, and has said `text`."""
    log.write_bytes(b"")
    with running([sys.executable, "-m", *argv], prefix=prefix, output=log):
        wait_until(
            lambda: text in log.read_text() or None,
            seconds=DEADLINE_SECONDS,
            what=text,
            last_seen=log.read_text,
        )
        yield


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = tmp_path_factory.mktemp("tftp")
    root = place / "root"
    root.mkdir()
    for size in SIZES:
        (root / f"{size}.bin").write_bytes(random.Random(size).randbytes(size))
    (root / "loss.bin").write_bytes(os.urandom(120_000))
    (root / "directory").mkdir()
    with wire() as on:
        argv: list[str | Path] = ["tests.tftp_program", SERVER, root, "1500"]
        with ready(argv, on.server, place / "log", tftp_program.READY):
            yield Served(on, root, place / "log")
        assert "ERROR" not in (place / "log").read_text()


# curl 7.88 ends with status 71 when the file is empty, whoever serves it.
@pytest.mark.parametrize(
    ("client", "size"),
    [(client, size) for client in CLIENTS for size in SIZES if (client, size) != ("curl", 0)],
)
def test_every_client_gets_a_file_of_every_size(
    served: Served, tmp_path: Path, client: str, size: int
) -> None:
    served.fetch(client, f"{size}.bin", tmp_path / "got", 512)


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "tftp-hpa"])
@pytest.mark.parametrize("size", [1467, 1468, 1469])
def test_every_client_gets_large_blocks(served: Served, tmp_path: Path, client: str, size: int) -> None:
    served.fetch(client, f"{size}.bin", tmp_path / "got", 1468)


# Each of these ends the serving loop of tftpy 0.8.7.
KILLERS = {
    "a directory": packets.request("directory"),
    "a name that is no ASCII": b"\0\1\xff\xfe\0octet\0",
    "a block size that is no number": packets.request("513.bin", options=(("blksize", "abc"),)),
    "an option without its end": b"\0\1513.bin\0octet\0blksize\0" + b"512",
}


@pytest.mark.parametrize("what", KILLERS)
def test_no_single_packet_ends_the_server(served: Served, tmp_path: Path, what: str) -> None:
    served.send(KILLERS[what])
    served.fetch("curl", "513.bin", tmp_path / "got", 512)


def test_a_thousand_broken_packets_do_not_end_the_server(served: Served, tmp_path: Path) -> None:
    chance = random.Random(7)
    served.send(*(chance.randbytes(chance.randrange(40)) for _ in range(500)))
    served.send(*(b"\0\1" + chance.randbytes(chance.randrange(40)) + b"\0octet\0" for _ in range(500)))
    served.fetch("tftp-hpa", "513.bin", tmp_path / "got", 512)


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "tftpy"])
@pytest.mark.parametrize(
    ("loss", "doubled", "late"), [(0.05, 0, 0), (0, 1, 0), (0, 0, 0.2), (0.03, 0.1, 0.1)]
)
def test_a_file_arrives_whole_over_a_bad_wire(
    served: Served, tmp_path: Path, client: str, loss: float, doubled: float, late: float
) -> None:
    argv: list[str | Path] = ["tests.tftp_relay", HERE, SERVER, *map(str, (loss, doubled, late, 5))]
    with ready(argv, served.on.clients, tmp_path / "log", tftp_relay.READY):
        served.fetch(client, "loss.bin", tmp_path / "got", 1024, server=HERE)


def test_a_client_behind_a_smaller_mtu_gets_blocks_that_arrive(served: Served, tmp_path: Path) -> None:
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3.5)\n"
        "s.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 69)); oack, peer = s.recvfrom(2048)\n"
        "s.sendto(b'\\0\\4\\0\\0', peer)\n"
        "try: print(len(s.recv(2048)))\n"
        "except TimeoutError: print('nothing')\n"
    )
    asked = packets.request("1469.bin", options=(("blksize", "1400"),)).hex()
    argv: list[str | Path] = [sys.executable, "-c", program, SERVER, asked]
    namespace = served.on.clients[-1]
    run(["ip", "-n", namespace, "link", "set", INTERFACE, "mtu", "1000"])
    try:
        # The wire says 1500 to the server and drops what is longer than 1000.
        assert run(argv, prefix=served.on.clients).stdout == "nothing\n"
        served.fetch("curl", "1469.bin", tmp_path / "got", 1400)
    finally:
        run(["ip", "-n", namespace, "link", "set", INTERFACE, "mtu", "1500"])


def test_a_frame_that_the_servers_link_does_not_carry_is_never_offered(served: Served) -> None:
    with wire() as on:
        argv: list[str | Path] = ["tests.tftp_program", SERVER, served.root, "576"]
        with ready(argv, on.server, served.root.parent / "small.log", tftp_program.READY):
            words = ["--trace", "--option", "blksize 1468", "-g", "-r", "1469.bin", "-l", "/dev/null"]
            printed = run(["atftp", *words, SERVER, "69"], prefix=on.clients).stdout
    assert "blksize: 544" in printed
