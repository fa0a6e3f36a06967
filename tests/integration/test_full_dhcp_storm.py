"""Many leases of full DHCP at once: what was acknowledged is kept, and no address is given out twice."""

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address

from appliance.lab import APPLIANCE_ADDRESS
from appliance.leases import LeaseState
from appliance.run import run
from pxe import dhcp
from pxe.dhcp import MessageType, Packet
from tests.integration.dhcp_office import RELAY, RELAY_ADDRESS, Office
from tests.integration.netyard import inside

# A relay of our own, to ask for many leases at once and to see exactly which were acknowledged.


@contextmanager
def relay(office: Office) -> Iterator[socket.socket]:
    with inside(office.lan.namespace(RELAY)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.bind((RELAY_ADDRESS, 67))
        made.settimeout(5)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        yield made


def wish(number: int, address: IPv4Address) -> bytes:
    """A REQUEST that takes an offer of `address`."""
    mac = bytes.fromhex("525400aa") + number.to_bytes(2, "big")
    server = IPv4Address(APPLIANCE_ADDRESS).packed
    options = ((53, bytes((MessageType.REQUEST,))), (54, server), (50, address.packed))
    relayed = IPv4Address(RELAY_ADDRESS)
    return dhcp.encode(Packet(op=1, xid=number, chaddr=mac + bytes(10), giaddr=relayed, options=options))


def acknowledged(answers: Sequence[bytes]) -> dict[IPv4Address, str]:
    found = {}
    for packet in map(dhcp.decode, answers):
        if packet.message_type == MessageType.ACK:
            assert packet.yiaddr not in found
            found[packet.yiaddr] = packet.chaddr[:6].hex(":")
    return found


def test_what_was_acknowledged_is_in_the_store_after_sigkill(office: Office) -> None:
    addresses = [IPv4Address("10.77.0.100") + number for number in range(100)]
    with relay(office) as wire:
        with office.served() as server:
            for number, address in enumerate(addresses):
                wire.sendto(wish(number, address), (APPLIANCE_ADDRESS, 67))
            answers = [wire.recv(2048) for _ in range(40)]
            os.kill(server.pid, signal.SIGKILL)
            server.wait()
        wire.settimeout(0.2)
        try:
            while True:
                answers.append(wire.recv(2048))
        except TimeoutError:
            pass
        told = acknowledged(answers)
        assert len(told) >= 40
        kept = {lease.address: lease.mac for lease in office.leases()}
        assert told.items() <= kept.items()
        # The next process knows them: nobody else gets one of these addresses.
        wire.settimeout(5)
        with office.served():
            for number, address in enumerate(addresses):
                wire.sendto(wish(number + 1000, address), (APPLIANCE_ADDRESS, 67))
            again = acknowledged([wire.recv(2048) for _ in addresses])
        assert not again.keys() & kept.keys()


def test_a_burst_of_machines_gets_every_address_once(office: Office) -> None:
    options = ["-4", "-u", "-r", "100", "-p", "4", "-R", "120", "-l", "eth0", APPLIANCE_ADDRESS]
    with office.served():
        said = run(
            ["perfdhcp", *options], prefix=office.lan.exec_prefix(RELAY), ok=(0, 3), timeout_seconds=60
        ).stdout
    leases = [lease for lease in office.leases() if lease.state is LeaseState.BOUND]
    # Unknown machines have three quarters of the 151 addresses.
    assert len(leases) == 113, said
    assert len({lease.mac for lease in leases}) == len(leases)
    assert any(
        "113 addresses of 10.77.0.0/24 for machines nobody made known" in one for one in office.alarms()
    )
