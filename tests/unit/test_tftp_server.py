"""What the TFTP server serves, and what it refuses."""

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pxe import hot_loop
from pxe import tftp_packets as packets
from pxe.tftp_packets import Data, Error, OptionAck
from tests.tftp_caller import Caller, Served, with_server


def test_a_file_and_a_virtual_name_are_served_from_a_port_of_their_own(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        assert await caller.fetch("/file") == b"x" * 1024
        assert await caller.fetch("virtual") == b"made for 127.0.0.1\n"
        assert await served.next_finished() == ("127.0.0.1", "file", 1024)
        assert await served.next_finished() == ("127.0.0.1", "virtual", 19)

    with_server(tftp_root, talk)


# Each of these ends the serving loop of tftpy 0.8.7.
KILLERS = {
    "a directory": packets.request("directory"),
    "a name that is no ASCII": b"\0\1\xff\xfe\0octet\0",
    "a block size that is no number": packets.request("file", options=(("blksize", "abc"),)),
    "an option without its end": b"\0\1file\0octet\0blksize\0" + b"512",
}


@pytest.mark.parametrize("what", KILLERS)
def test_no_single_packet_ends_the_server(tftp_root: Path, what: str) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        killer = Caller(served.server)
        with killer.socket:
            killer.ask(KILLERS[what])
            assert await caller.fetch("file") == b"x" * 1024

    with_server(tftp_root, talk)


def test_a_malformed_request_is_counted_and_gets_no_answer(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for datagram in (b"", b"\0", b"\0\1", KILLERS["an option without its end"], b"\0\x09abcd"):
            caller.ask(datagram)
        assert served.server.dropped == 5
        with pytest.raises(BlockingIOError):
            caller.socket.recv(100)

    with_server(tftp_root, talk)


@pytest.mark.parametrize("name", ["directory", "link", "pipe", "missing", "../etc/passwd", "/"])
def test_what_is_no_regular_file_below_the_root_is_not_found(tftp_root: Path, name: str) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request(name))
        packet, _ = await caller.answer()
        assert isinstance(packet, Error) and packet.code == 1

    with_server(tftp_root, talk)


def test_writing_is_refused(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("new", write=True))
        packet, _ = await caller.answer()
        assert isinstance(packet, Error) and packet.code == 2
        assert not (tftp_root / "new").exists()

    with_server(tftp_root, talk)


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


@pytest.mark.parametrize("run", [asyncio.run, hot_loop.run])
def test_any_loop_of_asyncio_will_do(tftp_root: Path, run: Callable[..., None]) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        assert await caller.fetch("file") == b"x" * 1024

    with_server(tftp_root, talk, run=run)


def test_netascii_is_converted_and_its_size_is_not_told(tftp_root: Path) -> None:
    (tftp_root / "text").write_bytes(b"one\ntwo\r\n")

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("text", mode="netascii", options=(("tsize", "0"), ("blksize", "8"))))
        packet, peer = await caller.answer()
        assert packet == OptionAck((("blksize", "8"),))
        caller.socket.sendto(packets.ack(0), peer)
        assert await caller.answer() == (Data(1, b"one\r\ntwo"), peer)
        caller.socket.sendto(packets.ack(1), peer)
        assert await caller.answer() == (Data(2, b"\r\0\r\n"), peer)

    with_server(tftp_root, talk)


def test_what_is_no_text_is_not_converted(tftp_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pxe.tftp_files.MOST_NETASCII_BYTES", 1000)

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file", mode="netascii"))
        packet, _ = await caller.answer()
        assert packet == Error(1, "no such file")

    with_server(tftp_root, talk)


def test_a_name_in_capitals_finds_the_file_in_small_letters(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        assert await caller.fetch("FILE") == b"x" * 1024

    with_server(tftp_root, talk)


@pytest.mark.parametrize("mode", ["mail", "", "binary"])
def test_other_modes_are_refused(tftp_root: Path, mode: str) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file", mode=mode))
        packet, _ = await caller.answer()
        assert isinstance(packet, Error) and packet.code == 4

    with_server(tftp_root, talk)


def test_a_path_outside_of_the_roots_is_not_sent_whatever_the_resolver_says(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        for place in (Path("/etc/passwd"), tftp_root / ".." / "secret", tftp_root, Path("file")):
            served.named["outside"] = place
            caller.ask(packets.request("outside"))
            packet, _ = await caller.answer()
            assert packet == Error(1, "no such file")

    tftp_root = tftp_root / "inner"
    tftp_root.mkdir()
    (tftp_root.parent / "secret").write_bytes(b"secret")
    with_server(tftp_root, talk)


def test_no_link_is_followed_out_of_the_root(tftp_root: Path) -> None:
    (tftp_root / "etc").symlink_to("/etc")

    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("etc/passwd"))
        packet, _ = await caller.answer()
        assert packet == Error(1, "no such file")

    with_server(tftp_root, talk)


@pytest.mark.parametrize("datagram", [packets.request("x" * 2000), bytes(65507)])
def test_a_request_longer_than_any_is_dropped(tftp_root: Path, datagram: bytes) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(datagram)
        assert served.server.dropped == 1

    with_server(tftp_root, talk)
