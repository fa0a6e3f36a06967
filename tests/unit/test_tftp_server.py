import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.tftp_settings import TftpSettings
from pxe import hot_loop
from pxe import tftp_packets as packets
from pxe.policy import Address
from pxe.tftp_packets import Data, Error, OptionAck
from pxe.tftp_server import TftpServer

places = [Path("/")]
"""What the name `outside` stands for."""


class Caller:
    """A client by hand: sends datagrams, waits for what comes back."""

    def __init__(self, server: TftpServer) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.bind(("127.0.0.1", 0))
        self.address: Address = self.socket.getsockname()

    def ask(self, datagram: bytes) -> None:
        """Put a datagram to port 69 of the server."""
        self.server.receive(datagram, self.address)

    async def answer(self) -> tuple[packets.Packet, Address]:
        loop = asyncio.get_running_loop()
        data, peer = await asyncio.wait_for(loop.sock_recvfrom(self.socket, 65536), 5)
        return packets.parse(data), peer

    async def fetch(self, name: str, *options: tuple[str, str]) -> bytes:
        """A whole small file in lock-step."""
        self.ask(packets.request(name, options=options))
        content = b""
        while True:
            packet, peer = await self.answer()
            if isinstance(packet, OptionAck):
                self.socket.sendto(packets.ack(0), peer)
                continue
            assert isinstance(packet, Data), packet
            content += packet.payload
            self.socket.sendto(packets.ack(packet.block), peer)
            if len(packet.payload) < 512:
                return content


@dataclass
class Served:
    server: TftpServer
    finished: "asyncio.Queue[tuple[str, str, int]]"
    port69: socket.socket

    async def next_finished(self) -> tuple[str, str, int]:
        return await asyncio.wait_for(self.finished.get(), 5)


@contextmanager
def serving(root: Path, chosen: TftpSettings) -> Iterator[Served]:
    finished: asyncio.Queue[tuple[str, str, int]] = asyncio.Queue()

    def resolve(name: str, peer: str) -> Path | bytes | None:
        if name == "outside":
            return places[0]
        if name == "virtual":
            return f"made for {peer}\n".encode()
        path = root / name
        return path if path.exists() or path.is_symlink() else None

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as port69:
        port69.bind(("127.0.0.1", 0))
        server = TftpServer(
            "127.0.0.1",
            resolve,
            roots=(root,),
            finished=lambda peer, name, size, _: finished.put_nowait((peer, name, size)),
            settings=chosen,
            port69=port69,
        )
        try:
            yield Served(server, finished, port69)
        finally:
            server.close()


Talk = Callable[[Served, Caller], Awaitable[None]]


def with_server(
    root: Path,
    talk: Talk,
    *,
    chosen: TftpSettings = TftpSettings(),  # noqa: B008
    run: Callable[..., None] = hot_loop.run,
) -> None:
    async def conversation() -> None:
        with serving(root, chosen) as served:
            caller = Caller(served.server)
            with caller.socket:
                await talk(served, caller)

    run(conversation())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"x" * 1024)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def test_a_file_and_a_virtual_name_are_served_from_a_port_of_their_own(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        assert await caller.fetch("/file") == b"x" * 1024
        assert await caller.fetch("virtual") == b"made for 127.0.0.1\n"
        assert await served.next_finished() == ("127.0.0.1", "file", 1024)
        assert await served.next_finished() == ("127.0.0.1", "virtual", 19)

    with_server(root, talk)


# Each of these ends the serving loop of tftpy 0.8.7.
KILLERS = {
    "a directory": packets.request("directory"),
    "a name that is no ASCII": b"\0\1\xff\xfe\0octet\0",
    "a block size that is no number": packets.request("file", options=(("blksize", "abc"),)),
    "an option without its end": b"\0\1file\0octet\0blksize\0" + b"512",
}


@pytest.mark.parametrize("what", KILLERS)
def test_no_single_packet_ends_the_server(root: Path, what: str) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        killer = Caller(served.server)
        with killer.socket:
            killer.ask(KILLERS[what])
            assert await caller.fetch("file") == b"x" * 1024

    with_server(root, talk)


def test_a_malformed_request_is_counted_and_gets_no_answer(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for datagram in (b"", b"\0", b"\0\1", KILLERS["an option without its end"], b"\0\x09abcd"):
            caller.ask(datagram)
        assert served.server.dropped == 5
        with pytest.raises(BlockingIOError):
            caller.socket.recv(100)

    with_server(root, talk)


@pytest.mark.parametrize("name", ["directory", "link", "pipe", "missing", "../etc/passwd", "/"])
def test_what_is_no_regular_file_below_the_root_is_not_found(root: Path, name: str) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request(name))
        packet, _ = await caller.answer()
        assert isinstance(packet, Error) and packet.code == 1

    with_server(root, talk)


def test_writing_is_refused(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("new", write=True))
        packet, _ = await caller.answer()
        assert isinstance(packet, Error) and packet.code == 2
        assert not (root / "new").exists()

    with_server(root, talk)


def test_the_same_port_asking_again_starts_anew(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file", options=(("tsize", "0"),)))
        first, _ = await caller.answer()
        assert first == OptionAck((("tsize", "1024"),))
        assert await caller.fetch("file") == b"x" * 1024

    with_server(root, talk)


def test_the_size_probe_of_uefi_firmware_is_no_finished_transfer(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(
            packets.request("file", options=(("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")))
        )
        packet, peer = await caller.answer()
        assert packet == OptionAck((("tsize", "1024"), ("blksize", "1468"), ("windowsize", "4")))
        caller.socket.sendto(packets.error(8, "User aborted the transfer"), peer)
        assert await caller.fetch("file") == b"x" * 1024
        await served.next_finished()
        assert served.finished.empty()

    with_server(root, talk)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60)
        | st.builds(
            lambda opcode, tail: struct.pack("!H", opcode) + tail,
            st.sampled_from([1, 2]),
            st.binary(max_size=40).map(lambda tail: tail + b"\0octet\0"),
        ),
        max_size=5,
    )
)
def test_no_bytes_raise_out_of_the_server(datagrams: list[bytes]) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for datagram in datagrams:
            caller.ask(datagram)

    with_server(Path("/nonexistent"), talk)


# What is new beside that.


@pytest.mark.parametrize("run", [asyncio.run, hot_loop.run])
def test_any_loop_of_asyncio_will_do(root: Path, run: Callable[..., None]) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        assert await caller.fetch("file") == b"x" * 1024

    with_server(root, talk, run=run)


def test_netascii_is_converted_and_its_size_is_not_told(root: Path) -> None:
    (root / "text").write_bytes(b"one\ntwo\r\n")

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("text", mode="netascii", options=(("tsize", "0"), ("blksize", "8"))))
        packet, peer = await caller.answer()
        assert packet == OptionAck((("blksize", "8"),))
        caller.socket.sendto(packets.ack(0), peer)
        assert await caller.answer() == (Data(1, b"one\r\ntwo"), peer)
        caller.socket.sendto(packets.ack(1), peer)
        assert await caller.answer() == (Data(2, b"\r\0\r\n"), peer)

    with_server(root, talk)


def test_what_is_no_text_is_not_converted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pxe.tftp_files.MOST_NETASCII_BYTES", 1000)

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file", mode="netascii"))
        packet, _ = await caller.answer()
        assert packet == Error(1, "no such file")

    with_server(root, talk)


def test_a_name_in_capitals_finds_the_file_in_small_letters(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        assert await caller.fetch("FILE") == b"x" * 1024

    with_server(root, talk)


@pytest.mark.parametrize("mode", ["mail", "", "binary"])
def test_other_modes_are_refused(root: Path, mode: str) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file", mode=mode))
        packet, _ = await caller.answer()
        assert isinstance(packet, Error) and packet.code == 4

    with_server(root, talk)


def test_a_path_outside_of_the_roots_is_not_sent_whatever_the_resolver_says(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for place in (Path("/etc/passwd"), root / ".." / "secret", root, Path("file")):
            places[0] = place
            caller.ask(packets.request("outside"))
            packet, _ = await caller.answer()
            assert packet == Error(1, "no such file")

    root = root / "inner"
    root.mkdir()
    (root.parent / "secret").write_bytes(b"secret")
    with_server(root, talk)


def test_no_link_is_followed_out_of_the_root(root: Path) -> None:
    (root / "etc").symlink_to("/etc")

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("etc/passwd"))
        packet, _ = await caller.answer()
        assert packet == Error(1, "no such file")

    with_server(root, talk)


def test_a_file_that_is_cut_off_ends_its_transfer_with_an_error_and_nothing_else(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        (root / "long").write_bytes(b"y" * 100_000)
        caller.ask(packets.request("long"))
        packet, peer = await caller.answer()
        assert packet == Data(1, b"y" * 512)
        os.truncate(root / "long", 0)
        for number in range(1, 60):
            caller.socket.sendto(packets.ack(number), peer)
            packet, _ = await caller.answer()
            if isinstance(packet, Error):
                break
        assert packet == Error(0, "the file changed")
        assert len(served.server) == 0
        assert await caller.fetch("file") == b"x" * 1024

    with_server(root, talk)


def test_a_doubled_request_is_answered_again_from_the_same_port(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for _ in range(2):
            caller.ask(packets.request("file", options=(("blksize", "1024"),)))
        first, second = await caller.answer(), await caller.answer()
        assert first == second
        caller.socket.sendto(packets.ack(0), first[1])
        assert await caller.answer() == (Data(1, b"x" * 1024), first[1])
        # A copy that was delayed does not end the transfer it began.
        caller.ask(packets.request("file", options=(("blksize", "1024"),)))
        caller.socket.sendto(packets.ack(1), first[1])
        assert await caller.answer() == (Data(2, b""), first[1])

    with_server(root, talk)


def test_a_machine_that_is_switched_on_anew_and_asks_from_the_same_port_is_answered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxe.tftp_server.DOUBLED_SECONDS", 0.0)

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file"))
        _, before = await caller.answer()
        caller.socket.sendto(packets.ack(1), before)
        assert await caller.answer() == (Data(2, b"x" * 512), before)
        caller.ask(packets.request("file"))
        packet, now = await caller.answer()
        assert packet == Data(1, b"x" * 512) and now != before
        assert len(served.server) == 1

    with_server(root, talk)


def test_one_client_has_four_transfers_at_a_time_and_the_next_ones_wait(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        others = [Caller(served.server) for _ in range(4)]
        for other in others:
            other.ask(packets.request("file"))
        caller.ask(packets.request("file"))
        assert len(served.server) == 4
        with pytest.raises(BlockingIOError):
            caller.socket.recv(600)
        _, peer = await others[0].answer()
        others[0].socket.sendto(packets.error(0, "enough"), peer)
        packet, _ = await caller.answer()
        assert packet == Data(1, b"x" * 512)
        for other in others:
            other.socket.close()

    with_server(root, talk)


def test_a_hundred_requests_of_one_client_are_all_answered(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        others = [Caller(served.server) for _ in range(100)]
        fetched = await asyncio.gather(*(other.fetch("file") for other in others))
        assert fetched == [b"x" * 1024] * 100
        for other in others:
            other.socket.close()

    with_server(root, talk)


@pytest.mark.parametrize("datagram", [packets.request("x" * 2000), bytes(65507)])
def test_a_request_longer_than_any_is_dropped(root: Path, datagram: bytes) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(datagram)
        assert served.server.dropped == 1

    with_server(root, talk)


def test_transfers_that_wait_for_their_client_give_way_to_new_ones(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxe.tftp_server.GIVE_WAY_SECONDS", 0.0)

    async def talk(served: Served, caller: Caller) -> None:
        others = [Caller(served.server) for _ in range(3)]
        for other in others:
            other.ask(packets.request("file"))
        assert len(served.server) == 2
        assert await caller.fetch("file") == b"x" * 1024
        for other in others:
            other.socket.close()

    with_server(root, talk, chosen=TftpSettings(transfers=2))


def test_transfers_use_the_ports_of_the_range_and_no_other(root: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        first = port if port < 65000 else port - 1

        async def talk(served: Served, caller: Caller) -> None:
            caller.ask(packets.request("file"))
            _, (_, used) = await caller.answer()
            assert used in (first, first + 1) and used != port
            other = Caller(served.server)
            with other.socket:
                other.ask(packets.request("file"))
                with pytest.raises(BlockingIOError):
                    other.socket.recv(600)
            assert len(served.server) == 1

        with_server(root, talk, chosen=TftpSettings(first_port=first, last_port=first + 1))


def test_with_a_single_port_everything_comes_from_port_69(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        port69, finished = served.port69.getsockname(), served.finished
        loop = asyncio.get_running_loop()
        loop.add_reader(served.port69, lambda: served.server.receive(*served.port69.recvfrom(2048)))
        other = Caller(served.server)
        with other.socket:
            for one in (caller, other):
                one.ask(packets.request("file", options=(("blksize", "1000"), ("windowsize", "2"))))
            for one in (caller, other):
                packet, peer = await one.answer()
                assert isinstance(packet, OptionAck) and peer == port69
                one.socket.sendto(packets.ack(0), peer)
                assert await one.answer() == (Data(1, b"x" * 1000), peer)
                assert await one.answer() == (Data(2, b"x" * 24), peer)
                one.socket.sendto(packets.ack(2), peer)
                await asyncio.wait_for(finished.get(), 5)
            caller.socket.sendto(packets.ack(7), port69)
            assert await caller.answer() == (Error(5, "there is no such transfer"), port69)
        loop.remove_reader(served.port69)

    with_server(root, talk, chosen=TftpSettings(single_port=True))


def test_a_stranger_at_a_transfers_port_does_not_disturb_it(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file"))
        _, peer = await caller.answer()
        stranger = Caller(served.server)
        with stranger.socket:
            for datagram in (packets.ack(1), packets.error(0, "die"), b""):
                stranger.socket.sendto(datagram, peer)
        caller.socket.sendto(packets.ack(1), peer)
        assert await caller.answer() == (Data(2, b"x" * 512), peer)

    with_server(root, talk)


def test_clients_that_count_on_with_one_are_named_by_the_site(root: Path) -> None:
    (root / "big").write_bytes(bytes(8 * 65_537))

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("big", options=(("blksize", "8"), ("windowsize", "64"))))
        _, peer = await caller.answer()
        caller.socket.sendto(packets.ack(0), peer)
        got = 0
        while got < 65_536:
            packet, _ = await caller.answer()
            assert isinstance(packet, Data)
            if packet.block == (got + 1 if got < 65_535 else 1):
                got += 1
            if got % 64 == 0 or got == 65_535 or packet.block != got:
                caller.socket.sendto(packets.ack(min(got, 65_535)), peer)

    with_server(root, talk, chosen=TftpSettings(rollover_1=(IPv4Network("127.0.0.0/8"),)))


def test_a_client_that_large_packets_do_not_reach_gets_small_ones_the_next_time(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxe.tftp.STUCK_SECONDS", 0.1)
    (root / "long").write_bytes(b"y" * 3000)

    async def talk(served: Served, caller: Caller) -> None:
        options = (("blksize", "1400"), ("windowsize", "2"))
        caller.ask(packets.request("long", options=options))
        packet, peer = await caller.answer()
        assert packet == OptionAck(options)
        caller.socket.sendto(packets.ack(0), peer)
        for _ in range(8):  # two blocks, four times: none of them is acknowledged
            await caller.answer()
        again = Caller(served.server)
        with again.socket:
            again.ask(packets.request("long", options=options))
            packet, _ = await again.answer()
            assert packet == OptionAck((("blksize", "512"), ("windowsize", "2")))

    with_server(root, talk)


def test_a_thousand_transfers_leave_nothing_behind(root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for number in range(1000):
            caller.ask(packets.request("file", options=(("tsize", str(number)),)))
            _, peer = await caller.answer()
            caller.socket.sendto(packets.error(8, "User aborted the transfer"), peer)
        assert await caller.fetch("file") == b"x" * 1024
        await served.next_finished()
        assert len(served.server) == 0
        assert len(served.server.files) == 1

    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with_server(root, talk)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
