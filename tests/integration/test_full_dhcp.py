"""Full DHCP by the real boot process in a namespace, asked by real DHCP clients in others."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.daemon import BOOT_CAPABILITIES, unprivileged
from appliance.deadline import wait_until
from appliance.dhcp_settings import DhcpSettings
from appliance.errors import Problem
from appliance.lab import APPLIANCE_ADDRESS, DHCP_ADDRESS, Lan, foreign_dhcp, lan, wait_for_port
from appliance.leases import Lease, LeaseState
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.run import Argument, run, running
from appliance.site import read_site
from appliance.store import Store
from pxe import dhcp
from pxe.company import Watch, refuse_company
from pxe.dhcp import MessageType, Packet
from pxe.full import Guest
from pxe.full_server import SUBJECT, FullServer
from pxe.servers import Network
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector
from tests.integration.netyard import inside

CLIENT, SECOND, RELAY = "client", "second", "relay"
RELAY_ADDRESS = "10.77.0.3"
OFFICE = IPv4Network("10.77.0.0/24")
TABLE = """
[dhcp]
lease = "2 min"
known_only = KNOWN_ONLY
domain = "lan.example"

[[dhcp.subnet]]
network = "10.77.0.0/24"
ranges = ["10.77.0.100-10.77.0.250"]
router = "10.77.0.1"

[[dhcp.subnet]]
network = "10.88.0.0/24"
ranges = ["10.88.0.100-10.88.0.110"]
router = "10.88.0.1"
"""
SECONDS = 20.0


@dataclass
class Office:
    """A LAN, a site with [dhcp], and its store."""

    lan: Lan
    site: Path
    tree: Tree
    log: Path

    @contextmanager
    def served(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The boot process with the capabilities that `up` leaves it, answering."""
        words: list[Argument] = [
            sys.executable,
            "-m",
            "appliance.cli",
            "--state",
            self.tree.path,
            "process",
            "boot",
        ]
        options: list[Argument] = ["--site", self.site, "--interface", "eth0"]
        prefix = [*self.lan.exec_prefix("appliance"), *unprivileged(None, BOOT_CAPABILITIES)]
        with running([*words, *options], prefix=prefix, output=self.log) as server:
            wait_for_port(self.lan, "appliance", 67, seconds=SECONDS, udp=True)
            yield server

    def wait_for(self, text: str) -> None:
        def said() -> str:
            return self.log.read_text(errors="replace")

        wait_until(lambda: text in said() or None, seconds=SECONDS, what=repr(text), last_seen=said)

    def leases(self) -> list[Lease]:
        store = Store(self.tree.store)
        try:
            return store.leases.all()
        finally:
            store.close()

    def know(self, mac: str) -> None:
        store = Store(self.tree.store)
        store.machines.add(Machine(mac=mac, state=MachineState.DISCOVERED))
        store.close()

    def alarms(self) -> list[str]:
        store = Store(self.tree.store)
        try:
            return [event.message for _, event in store.events.after(SUBJECT)]
        finally:
            store.close()

    def mac(self, room: str) -> str:
        return run(["cat", "/sys/class/net/eth0/address"], prefix=self.lan.exec_prefix(room)).stdout.strip()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    yield from make_office(tmp_path, known_only=False)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Office]:
    yield from make_office(tmp_path, known_only=True)


def make_office(tmp_path: Path, *, known_only: bool) -> Iterator[Office]:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    table = TABLE.replace("KNOWN_ONLY", str(known_only).lower())
    with (site / "appliance.toml").open("a") as file:
        file.write(table)
    tree = Tree(tmp_path / "state")
    tree.room("boot")
    log = tmp_path / "boot.log"
    log.write_text("")
    with lan("full", taps=0, clients={CLIENT: "", SECOND: "", RELAY: RELAY_ADDRESS}) as made:
        yield Office(made, site, tree, log)


SCRIPT = """#!/bin/sh
# Called by udhcpc for every change: take the address, and note what was told.
case "$1" in
deconfig) ip address flush dev "$interface" ;;
bound | renew)
    ip address replace "$ip/$mask" dev "$interface"
    ip route replace default via "$router"
    ;;
esac
echo "$1 ${ip:-none} ${router:-none} ${domain:-none} ${lease:-none} ${serverid:-none}" >>"$0.told"
"""


@dataclass
class Udhcpc:
    """busybox's DHCP client in a room."""

    child: "subprocess.Popen[bytes]"
    told: Path

    def lines(self) -> list[str]:
        return self.told.read_text().splitlines() if self.told.exists() else []

    def wait_for(self, word: str, *, times: int = 1) -> list[str]:
        def seen() -> list[str] | None:
            found = [line.split() for line in self.lines() if line.split()[0] == word]
            return found[-1] if len(found) >= times else None

        return wait_until(
            seen, seconds=SECONDS, what=f"udhcpc says {word}", last_seen=lambda: str(self.lines())
        )


@contextmanager
def udhcpc(office: Office, room: str, place: Path, interface: str = "eth0") -> Iterator[Udhcpc]:
    script = place / f"udhcpc-{room}"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    words: list[Argument] = ["busybox", "udhcpc", "-f", "-i", interface, "-s", script, "-t", "5", "-T", "2"]
    with running(words, prefix=office.lan.exec_prefix(room), output=place / f"{room}.log") as child:
        yield Udhcpc(child, Path(f"{script}.told"))


def test_udhcpc_gets_a_lease_renews_it_and_gives_it_back(office: Office, tmp_path: Path) -> None:
    with office.served(), udhcpc(office, CLIENT, tmp_path) as client:
        _, ip, router, domain, seconds, server = client.wait_for("bound")
        assert (router, domain, seconds, server) == ("10.77.0.1", "lan.example", "120", APPLIANCE_ADDRESS)
        (lease,) = office.leases()
        assert (str(lease.address), lease.mac, lease.state) == (ip, office.mac(CLIENT), LeaseState.BOUND)
        # Two signals of udhcpc: renew now (by unicast), release now.
        client.child.send_signal(signal.SIGUSR1)
        assert client.wait_for("renew")[1] == ip
        (renewed,) = office.leases()
        assert renewed.expires > lease.expires
        client.child.send_signal(signal.SIGUSR2)
        client.wait_for("deconfig", times=2)
        wait_until(
            lambda: office.leases()[0].state is LeaseState.RELEASED or None,
            seconds=SECONDS,
            what="the address is free",
        )
        client.child.send_signal(signal.SIGUSR1)
        assert client.wait_for("bound", times=2)[1] == ip


def test_dhclient_that_comes_from_another_network_is_nakked_and_gets_an_address(
    office: Office, tmp_path: Path
) -> None:
    leases = tmp_path / "dhclient.leases"
    never = "4 2038/01/14 03:14:07"
    leases.write_text(
        'lease { interface "eth0"; fixed-address 192.168.5.9; option subnet-mask 255.255.255.0;\n'
        f" option dhcp-server-identifier 192.168.5.1; renew {never}; rebind {never}; expire {never}; }}\n"
    )
    script = tmp_path / "dhclient-script"
    script.write_text('#!/bin/sh\necho "$reason $new_ip_address" >>"$0.told"\nexit 0\n')
    script.chmod(0o755)
    files: list[Argument] = ["-lf", leases, "-pf", tmp_path / "pid", "-cf", "/dev/null", "-sf", script]
    with office.served():
        run(
            ["dhclient", "-1", "-v", *files, "eth0"],
            prefix=office.lan.exec_prefix(CLIENT),
            timeout_seconds=60,
        )
        try:
            told = Path(f"{script}.told").read_text()
            (lease,) = office.leases()
            assert f"BOUND {lease.address}" in told
            assert lease.address in OFFICE
            office.wait_for("192.168.5.9 is not of this network")
        finally:
            run(["dhclient", "-x", *files, "eth0"], prefix=office.lan.exec_prefix(CLIENT), ok=(0, 1, 2))


def test_an_address_that_somebody_uses_without_a_lease_is_not_offered(office: Office, tmp_path: Path) -> None:
    with office.served():
        with udhcpc(office, CLIENT, tmp_path) as client:
            first = client.wait_for("bound")[1]
        store = Store(office.tree.store)
        store.database.execute("DELETE FROM lease")
        store.close()
    # The client takes its address with it into the next server's time; a second one shares its MAC's choice.
    prefix = office.lan.exec_prefix(SECOND)
    mac = office.mac(CLIENT)
    run(["ip", "link", "set", "eth0", "address", mac], prefix=prefix)
    run(["ip", "link", "set", "eth0", "down"], prefix=office.lan.exec_prefix(CLIENT))
    run(["ip", "address", "flush", "dev", "eth0"], prefix=office.lan.exec_prefix(CLIENT))
    run(["ip", "address", "add", f"{first}/24", "dev", "eth0"], prefix=office.lan.exec_prefix(RELAY))
    with office.served(), udhcpc(office, SECOND, tmp_path) as second:
        other = second.wait_for("bound")[1]
        assert other != first
    states = {str(lease.address): lease for lease in office.leases()}
    assert states[first].state is LeaseState.DECLINED
    assert states[first].mac == office.mac(RELAY)
    assert any(first in said for said in office.alarms())


def test_an_unknown_machine_gets_nothing_until_it_is_made_known(strict: Office, tmp_path: Path) -> None:
    with strict.served(), udhcpc(strict, CLIENT, tmp_path) as client:
        strict.wait_for(f"distserver machine add {strict.mac(CLIENT)}")
        assert strict.leases() == []
        strict.know(strict.mac(CLIENT))
        assert IPv4Address(client.wait_for("bound")[1]) in OFFICE


def test_a_machine_behind_a_relay_gets_an_address_of_its_subnet_and_renews_it_through_the_router(
    office: Office, tmp_path: Path
) -> None:
    client, router = (office.lan.namespace(room) for room in (CLIENT, RELAY))
    behind = ["10.88.0.0/24", "via", RELAY_ADDRESS]
    run(
        [
            "ip",
            "-netns",
            router,
            "link",
            "add",
            "eth1",
            "type",
            "veth",
            "peer",
            "name",
            "eth1",
            "netns",
            client,
        ]
    )
    run(["ip", "-netns", router, "address", "add", "10.88.0.1/24", "dev", "eth1"])
    for namespace in (router, client):
        run(["ip", "-netns", namespace, "link", "set", "eth1", "up"])
    run(["ip", "-netns", client, "link", "set", "eth0", "down"])
    run(["ip", "-netns", office.lan.namespace("appliance"), "route", "add", *behind])
    run(["tee", "/proc/sys/net/ipv4/ip_forward"], prefix=office.lan.exec_prefix(RELAY), stdin=b"1\n")
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file=",
    ]
    words.append(f"--dhcp-relay=10.88.0.1,{APPLIANCE_ADDRESS}")
    with (
        office.served(),
        running(words, prefix=office.lan.exec_prefix(RELAY), output=tmp_path / "relay.log"),
        udhcpc(office, CLIENT, tmp_path, "eth1") as machine,
    ):
        _, ip, gateway, *_ = machine.wait_for("bound")
        assert gateway == "10.88.0.1" and ip.startswith("10.88.0.1")
        (lease,) = office.leases()
        machine.child.send_signal(signal.SIGUSR1)
        assert machine.wait_for("renew")[1] == ip
        (renewed,) = office.leases()
        assert renewed.address == lease.address and renewed.expires > lease.expires
    assert office.alarms() == []


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


# Other servers.


def test_full_dhcp_is_refused_beside_another_server_and_names_it(office: Office, tmp_path: Path) -> None:
    site = read_site(office.site)
    with inside(office.lan.namespace("appliance")):
        link = Network(("eth0",)).links()[0]
        refuse_company([link], site.dhcp)
        with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"), pytest.raises(Problem) as refused:
            refuse_company([link], site.dhcp)
    assert f"another DHCP server answers on eth0: {DHCP_ADDRESS} (" in refused.value.message
    assert "[dhcp]" in refused.value.hint


def test_up_does_not_start_beside_another_server(office: Office, tmp_path: Path) -> None:
    words: list[Argument] = [
        sys.executable,
        "-m",
        "appliance.cli",
        "--state",
        office.tree.path,
        "up",
        "--site",
        office.site,
    ]
    with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"):
        ended = run(
            [*words, "--interface", "eth0"],
            prefix=office.lan.exec_prefix("appliance"),
            ok=(1,),
            timeout_seconds=60,
        )
    assert f"another DHCP server answers on eth0: {DHCP_ADDRESS}" in ended.stdout


def test_a_server_that_comes_later_raises_an_alarm(office: Office, tmp_path: Path) -> None:
    with office.served():
        office.wait_for("answering on eth0")
        with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"), udhcpc(office, CLIENT, tmp_path) as client:
            client.wait_for("bound")
            office.wait_for(f"another DHCP server, {DHCP_ADDRESS}, answers on eth0")
    assert any(DHCP_ADDRESS in said for said in office.alarms())


class Lonely:
    """A registry without machines or leases."""

    def __init__(self, settings: DhcpSettings) -> None:
        self._settings = settings

    def settings(self) -> DhcpSettings:
        return self._settings

    def guest(self, mac: str) -> Guest:
        return Guest(known=False)

    def kept(self) -> Sequence[Lease]:
        return ()

    def keep(self, leases: Sequence[Lease]) -> None:
        raise AssertionError("nobody asked for an address")


def test_a_server_that_no_machine_asked_yet_is_found_by_asking(office: Office, tmp_path: Path) -> None:
    director = FakeDirector()
    full = FullServer(Lonely(read_site(office.site).dhcp), director, Sightings(director.saw_address))

    async def watch() -> None:
        with inside(office.lan.namespace("appliance")):
            links = Network(("eth0",)).links()
            watching = asyncio.create_task(Watch(full, lambda: links, ask_seconds=0.2).run())
            async with asyncio.timeout(SECONDS):
                while not director.records:
                    await asyncio.sleep(0.05)
            watching.cancel()

    with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"):
        asyncio.run(watch())
    (alarm,) = director.records
    assert (alarm.mac, alarm.stage) == (SUBJECT, "foreign")
    assert DHCP_ADDRESS in alarm.message and "offers 10.77.0." in alarm.message
