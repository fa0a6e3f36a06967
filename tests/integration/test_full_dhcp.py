"""Full DHCP by the real boot process in a namespace, asked by real DHCP clients in others."""

import signal
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.lab import APPLIANCE_ADDRESS
from appliance.leases import LeaseState
from appliance.run import Argument, run, running
from appliance.store import Store
from tests.integration.dhcp_office import (
    CLIENT,
    OFFICE,
    RELAY,
    RELAY_ADDRESS,
    SECOND,
    SECONDS,
    Office,
    make_office,
    udhcpc,
)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Office]:
    with make_office(tmp_path, known_only=True) as made:
        yield made


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
