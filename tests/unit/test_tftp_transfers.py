"""Many transfers of the TFTP server, doubled, broken off or waiting, and the ports they use."""

import asyncio
import os
import socket
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from appliance.tftp_settings import TftpSettings
from pxe import tftp_packets as packets
from pxe.tftp_packets import Data, Error, OptionAck
from tests.tftp_caller import Caller, Served, with_server


def test_the_same_port_asking_again_starts_anew(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file", options=(("tsize", "0"),)))
        first, _ = await caller.answer()
        assert first == OptionAck((("tsize", "1024"),))
        assert await caller.fetch("file") == b"x" * 1024

    with_server(tftp_root, talk)


def test_the_size_probe_of_uefi_firmware_is_no_finished_transfer(tftp_root: Path) -> None:
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

    with_server(tftp_root, talk)


def test_a_file_that_is_cut_off_ends_its_transfer_with_an_error_and_nothing_else(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        (tftp_root / "long").write_bytes(b"y" * 100_000)
        caller.ask(packets.request("long"))
        packet, peer = await caller.answer()
        assert packet == Data(1, b"y" * 512)
        os.truncate(tftp_root / "long", 0)
        for number in range(1, 60):
            caller.socket.sendto(packets.ack(number), peer)
            packet, _ = await caller.answer()
            if isinstance(packet, Error):
                break
        assert packet == Error(0, "the file changed")
        assert len(served.server) == 0
        assert await caller.fetch("file") == b"x" * 1024

    with_server(tftp_root, talk)


def test_a_doubled_request_is_answered_again_from_the_same_port(tftp_root: Path) -> None:
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

    with_server(tftp_root, talk)


def test_a_machine_that_is_switched_on_anew_and_asks_from_the_same_port_is_answered(
    tftp_root: Path, monkeypatch: pytest.MonkeyPatch
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

    with_server(tftp_root, talk)


def test_one_client_has_four_transfers_at_a_time_and_the_next_ones_wait(tftp_root: Path) -> None:
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

    with_server(tftp_root, talk)


def test_a_hundred_requests_of_one_client_are_all_answered(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        others = [Caller(served.server) for _ in range(100)]
        fetched = await asyncio.gather(*(other.fetch("file") for other in others))
        assert fetched == [b"x" * 1024] * 100
        for other in others:
            other.socket.close()

    with_server(tftp_root, talk)


def test_transfers_that_wait_for_their_client_give_way_to_new_ones(
    tftp_root: Path, monkeypatch: pytest.MonkeyPatch
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

    with_server(tftp_root, talk, chosen=TftpSettings(transfers=2))


def test_transfers_use_the_ports_of_the_range_and_no_other(tftp_root: Path) -> None:
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

        with_server(tftp_root, talk, chosen=TftpSettings(first_port=first, last_port=first + 1))


def test_with_a_single_port_everything_comes_from_port_69(tftp_root: Path) -> None:
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

    with_server(tftp_root, talk, chosen=TftpSettings(single_port=True))


def test_a_stranger_at_a_transfers_port_does_not_disturb_it(tftp_root: Path) -> None:
    async def talk(served: Served, caller: Caller) -> None:
        caller.ask(packets.request("file"))
        _, peer = await caller.answer()
        stranger = Caller(served.server)
        with stranger.socket:
            for datagram in (packets.ack(1), packets.error(0, "die"), b""):
                stranger.socket.sendto(datagram, peer)
        caller.socket.sendto(packets.ack(1), peer)
        assert await caller.answer() == (Data(2, b"x" * 512), peer)

    with_server(tftp_root, talk)


def test_clients_that_count_on_with_one_are_named_by_the_site(tftp_root: Path) -> None:
    (tftp_root / "big").write_bytes(bytes(8 * 65_537))

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

    with_server(tftp_root, talk, chosen=TftpSettings(rollover_1=(IPv4Network("127.0.0.0/8"),)))


def test_a_client_that_large_packets_do_not_reach_gets_small_ones_the_next_time(
    tftp_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pxe.tftp.STUCK_SECONDS", 0.1)
    for name in ("FIRST_RTO_SECONDS", "SHORTEST_RTO_SECONDS"):
        monkeypatch.setattr(f"pxe.tftp.{name}", 0.1)
    (tftp_root / "long").write_bytes(b"y" * 3000)

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

    with_server(tftp_root, talk)


def test_a_thousand_transfers_leave_nothing_behind(tftp_root: Path) -> None:
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
    with_server(tftp_root, talk)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
