"""A LAN in network namespaces with a foreign DHCP server, and that nothing of it stays."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.console import ConsoleTimeout
from appliance.deadline import DeadlinePassed, wait_until
from appliance.lab import (
    FOREIGN,
    NAMESPACES,
    Lan,
    capture,
    foreign_dhcp,
    lan,
    leftovers,
    listening_ports,
    remove_leftovers,
    wait_for_port,
)
from appliance.model import Firmware
from appliance.run import run, running
from appliance.vm import Vm
from appliance.vm_power import power_on

UDHCPC = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-s", "/bin/true"]
MAC = "52:54:00:77:00:01"


@pytest.fixture
def net() -> Iterator[Lan]:
    with lan("test", taps=2, clients={"desk": "", "fixed": "10.77.0.3"}) as made:
        yield made


def namespaces_of(made: Lan) -> list[str]:
    return [place.name for place in NAMESPACES.iterdir() if place.name.startswith(made.name)]


def test_a_client_gets_a_lease_from_the_foreign_server_and_no_boot_file(net: Lan, tmp_path: Path) -> None:
    log = tmp_path / "dhcp.log"
    with foreign_dhcp(net, log):
        printed = run(UDHCPC, prefix=net.exec_prefix("desk")).stdout
    assert re.search(r"lease of 10\.77\.0\.1\d\d obtained from 10\.77\.0\.1,", printed), printed
    assert "DHCPACK(eth0) 10.77.0.1" in log.read_text()
    assert "bootfile" not in log.read_text()


SAID = {
    "plain": ("next server: 10.77.0.1", "", ""),
    "siaddr": ("next server: 10.77.0.66", "", ""),
    "file": ("next server: 10.77.0.1", "bootfile name: foreign.0", ""),
    "class": ("next server: 10.77.0.1", "", "option: 60 vendor-class  50:58:45:43:6c:69:65:6e:74"),
}


@pytest.mark.parametrize("kind", sorted(FOREIGN))
def test_a_foreign_server_says_of_network_boot_what_it_is_told_to(
    net: Lan, tmp_path: Path, kind: str
) -> None:
    log = tmp_path / "dhcp.log"
    with foreign_dhcp(net, log, netboot=FOREIGN[kind]):
        run(UDHCPC, prefix=net.exec_prefix("desk"))
    found = [
        re.search(f"{part}[^\\n]*", log.read_text()) for part in ("next server", "bootfile", "option: 60")
    ]
    assert tuple(match[0] if match else "" for match in found) == SAID[kind]


def test_without_the_server_there_is_no_lease(net: Lan) -> None:
    assert "no lease" in run([*UDHCPC, "-t", "1", "-T", "1"], prefix=net.exec_prefix("desk"), ok=(1,)).stdout


def test_the_rooms_reach_one_another_and_not_the_host(net: Lan) -> None:
    for address in ("10.77.0.1", "10.77.0.3"):
        run(["busybox", "ping", "-c", "1", "-W", "5", address], prefix=net.exec_prefix("appliance"))
    links = run(["ip", "-brief", "link"], prefix=net.exec_prefix("appliance")).stdout
    assert [line.split("@")[0].split()[0] for line in links.splitlines()] == ["lo", "eth0"]
    assert run(["ip", "route", "show", "default"], prefix=net.exec_prefix("appliance")).stdout == ""
    assert "to-appliance" not in run(["ip", "-brief", "link"]).stdout


def test_the_taps_are_ports_of_the_bridge(net: Lan) -> None:
    ports = run(["ip", "-brief", "link", "show", "master", "br0"], prefix=net.exec_prefix("lan")).stdout
    assert {"tap0", "tap1"} <= {line.split()[0] for line in ports.splitlines()}


def test_the_server_advertises_an_ipv6_router_unless_told_not_to(net: Lan, tmp_path: Path) -> None:
    with foreign_dhcp(net, tmp_path / "quiet.log", advertise=False):
        assert "RA" not in (tmp_path / "quiet.log").read_text()
        assert "fd77:" not in addresses(net)
    with foreign_dhcp(net, tmp_path / "ra.log"):
        wait_until(lambda: "fd77:" in addresses(net) or None, seconds=15, what="an address from the router")


def addresses(net: Lan) -> str:
    return run(["ip", "-6", "address", "show", "dev", "eth0"], prefix=net.exec_prefix("desk")).stdout


def test_a_machine_on_a_tap_gets_its_address_from_the_foreign_server(net: Lan, tmp_path: Path) -> None:
    log, vm = (
        tmp_path / "dhcp.log",
        Vm("alpha", tmp_path, Firmware.BIOS, mac=MAC, tap=net.taps[1], memory_mb=256),
    )
    with foreign_dhcp(net, log), power_on(vm, prefix=net.exec_prefix("lan")) as machine:
        machine.console.wait_for("iPXE", seconds=30)
        machine.console.wait_for(re.compile(r"net0: 10\.77\.0\.1\d\d/255"), seconds=60)
        with pytest.raises(ConsoleTimeout):
            machine.console.wait_for("login:", seconds=0)
    assert MAC in log.read_text()


def test_a_capture_holds_what_went_over_the_bridge(net: Lan, tmp_path: Path) -> None:
    file = tmp_path / "lan.pcap"
    with foreign_dhcp(net, tmp_path / "dhcp.log"), capture(net, file):
        run(UDHCPC, prefix=net.exec_prefix("desk"))
    packets = run(["tcpdump", "-n", "-v", "-r", file, "udp port 67"]).stdout
    for message in ("Discover", "Offer", "Request", "ACK"):
        assert re.search(rf"DHCP-Message.*: {message}", packets), packets


def test_an_open_port_is_awaited_in_its_room(net: Lan, tmp_path: Path) -> None:
    with pytest.raises(DeadlinePassed, match="TCP port 8080 is open in appliance"):
        wait_for_port(net, "appliance", 8080, seconds=0.2)
    server = [sys.executable, "-m", "http.server", "8080", "--directory", str(tmp_path)]
    with running(server, prefix=net.exec_prefix("appliance")):
        wait_for_port(net, "appliance", 8080, seconds=20)
        with pytest.raises(DeadlinePassed):
            wait_for_port(net, "dhcp", 8080, seconds=0.2)
    with foreign_dhcp(net, tmp_path / "dhcp.log"):
        wait_for_port(net, "dhcp", 67, seconds=20, udp=True)


def test_a_room_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match=r"no room 'kitchen'.*lan, dhcp, appliance, desk"):
        Lan("x", (), ("desk",)).exec_prefix("kitchen")


def test_two_labs_are_up_at_once_and_all_is_gone_afterwards(tmp_path: Path) -> None:
    with lan("a", clients={"desk": ""}) as one, lan("a", clients={"desk": ""}) as two:
        with foreign_dhcp(one, tmp_path / "one.log"), foreign_dhcp(two, tmp_path / "two.log"):
            for net in (one, two):
                assert "obtained from 10.77.0.1" in run(UDHCPC, prefix=net.exec_prefix("desk")).stdout
        assert len(namespaces_of(one)) == len(namespaces_of(two)) == 4
    assert namespaces_of(one) == namespaces_of(two) == []


def pids_in(net: Lan, room: str) -> list[int]:
    return [int(pid) for pid in run(["ip", "netns", "pids", net.namespace(room)]).stdout.split()]


def test_a_process_left_in_a_room_ends_with_the_lan() -> None:
    with lan("stray") as net:
        run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 &"], prefix=net.exec_prefix("appliance"))
        (pid,) = wait_until(lambda: pids_in(net, "appliance") or None, seconds=10, what="the stray process")
    wait_until(lambda: not alive(pid) or None, seconds=10, what=f"the end of {pid}")
    assert namespaces_of(net) == []


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_what_a_killed_owner_left_is_removed_and_a_living_owners_lan_is_not(net: Lan, tmp_path: Path) -> None:
    out = tmp_path / "name"
    program = (
        "import time; from pathlib import Path; from appliance.lab import foreign_dhcp, lan\n"
        f"with lan('dead') as net, foreign_dhcp(net, Path({str(tmp_path / 'dhcp.log')!r})):\n"
        "    print(net.name, flush=True); time.sleep(600)\n"
    )
    with running([sys.executable, "-c", program], output=out, cwd=Path.cwd()) as owner:
        name = wait_until(lambda: out.read_text().strip() or None, seconds=30, what="the other lab is up")
        dead = Lan(name, (), ())
        (dnsmasq,) = pids_in(dead, "dhcp")
        remove_leftovers()
        assert len(namespaces_of(dead)) == 3
        owner.kill()
        owner.wait(10)
        assert len(namespaces_of(dead)) == 3
        remove_leftovers()
    assert namespaces_of(dead) == []
    assert not alive(dnsmasq)
    assert len(namespaces_of(net)) == 5


def test_a_pid_that_came_again_does_not_keep_a_dead_owners_lan() -> None:
    names = [
        "distserver-7-100-a-dhcp",
        "distserver-7-200-a-dhcp",
        "distserver-8-1-a-lan",
        "blue",
        f"x-{os.getpid()}-1",
    ]
    alive_now = {7: "distserver-7-200"}
    found = leftovers(names, lambda pid: alive_now.get(pid, ""))
    assert found == ["distserver-7-100-a-dhcp", "distserver-8-1-a-lan"]


def test_listening_ports_are_read_from_every_address_form() -> None:
    printed = (
        "LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\n"
        "LISTEN 0 5 [::]:2024 [::]:*\n"
        "LISTEN 0 5 10.77.0.2%eth0:4011 0.0.0.0:*\n\n"
    )
    assert listening_ports(printed) == {80, 2024, 4011}
