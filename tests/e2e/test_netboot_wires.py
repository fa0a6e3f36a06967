"""Real firmware behind what a real network puts between it and its server: a relay, a VLAN, a bad wire."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.lab import APPLIANCE_ADDRESS as SERVER
from appliance.lab import BRIDGE, DHCP_ADDRESS, POOL, Lan, capture, foreign_dhcp, lan
from appliance.run import run, running
from tests.e2e.boot_server import boot_server, entries, furnish
from tests.e2e.netboot import Place, Row, lan_with, mac_of, observe, switched_on
from tests.e2e.wire import FILTER, Kind, Outcome, Way, Wire
from tests.integration.netyard import inside
from tests.integration.vlan import tagging

RELAY = "10.77.0.3"
FAR = "br1"
FAR_POOL = ("10.78.0.100", "10.78.0.199")
FAR_RELAY = "10.78.0.1"
VLAN_POOL = ("10.79.0.100", "10.79.0.199")
VLAN_SERVER, VLAN_DHCP = "10.79.0.2", "10.79.0.1"
LOSE_PERCENT = 2.0
MOST_BOOTS = 12
ROWS = {"bios": Row("ipxe", "plain"), "uefi": Row("x64", "plain")}
FOUND = {"bios": Outcome(Way.URL, Way.URL), "uefi": Outcome(Way.BINL, Way.URL)}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wires")
    furnish(place)
    return place


def ip(net: Lan, room: str, *words: str) -> None:
    run(["ip", *words], prefix=net.exec_prefix(room))


def far_bridge(net: Lan, *taps: str) -> None:
    """Another segment, for machines that are taken off the first."""
    ip(
        net,
        "lan",
        "link",
        "add",
        FAR,
        "type",
        "bridge",
        "stp_state",
        "0",
        "forward_delay",
        "0",
        "mcast_snooping",
        "0",
    )
    ip(net, "lan", "link", "set", FAR, "up")
    for tap in taps:
        ip(net, "lan", "link", "set", tap, "master", FAR)


def test_machines_boot_over_a_wire_that_loses_doubles_and_reorders(furnished: Path) -> None:
    rows = list(ROWS.values())
    with lan_with("plain", furnished, rows) as clean, ThreadPoolExecutor(len(rows)) as pool:
        place = replace(clean, lose_percent=LOSE_PERCENT)
        seen = list(pool.map(lambda job: observe(job[1], place, job[0], to_marker=True), enumerate(rows)))
    for one, expected in zip(seen, FOUND.values(), strict=True):
        assert (one.outcome, one.marker) == (expected, True), str(one)


@contextmanager
def relay(net: Lan, log_file: Path) -> Iterator[None]:
    """dnsmasq as the relay between the machines' segment and the one of both servers."""
    far_bridge(net, *net.taps)
    ip(
        net,
        "lan",
        "link",
        "add",
        "to-far",
        "type",
        "veth",
        "peer",
        "name",
        "far0",
        "netns",
        net.namespace("relay"),
    )
    ip(net, "lan", "link", "set", "to-far", "master", FAR, "up")
    ip(net, "relay", "link", "set", "far0", "up")
    ip(net, "relay", "address", "add", f"{FAR_RELAY}/24", "dev", "far0")
    ip(net, "relay", "address", "add", "fd78::1/64", "dev", "far0", "nodad")
    run(["tee", "/proc/sys/net/ipv4/ip_forward"], prefix=net.exec_prefix("relay"), stdin=b"1\n")
    for room in ("dhcp", "appliance"):
        ip(net, room, "route", "add", "10.78.0.0/24", "via", RELAY)
    words = [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--user=root",
        "--pid-file=",
    ]
    told = [f"--dhcp-relay={FAR_RELAY},{server}" for server in (DHCP_ADDRESS, SERVER)]
    # Without an IPv6 router iPXE would wait for one.
    router = ["--enable-ra", "--dhcp-range=fd78::,ra-only,64,1h", "--ra-param=far0,high,4,0"]
    argv = [*words, "--log-dhcp", "--log-facility=-", "--leasefile-ro", *told, *router]
    with running(argv, prefix=net.exec_prefix("relay"), output=log_file):
        yield


@pytest.mark.parametrize("kind", ROWS)
def test_a_machine_behind_a_relay_comes_to_its_script(furnished: Path, tmp_path: Path, kind: str) -> None:
    pcap = tmp_path / "far.pcap"
    with (
        lan("relay", taps=1, clients={"relay": RELAY}) as net,
        relay(net, tmp_path / "relay.log"),
        foreign_dhcp(net, tmp_path / "dhcp.log", pools=(POOL, FAR_POOL)),
        capture(net, pcap, only=FILTER, bridge=FAR),
        boot_server(furnished, net),
    ):
        seen = observe(ROWS[kind], Place(net, tmp_path, Wire(pcap)), 0, to_marker=False)
    assert seen.outcome == FOUND[kind], f"{seen}\n{(tmp_path / 'relay.log').read_text()[-3000:]}"


def test_a_vlan_and_the_lan_below_it_are_served_at_once_each_from_its_own_address(
    furnished: Path, tmp_path: Path
) -> None:
    pcaps = {BRIDGE: tmp_path / "lan.pcap", FAR: tmp_path / "vlan.pcap"}
    with lan("vlan", taps=2) as net, ExitStack() as stack:
        far_bridge(net, net.taps[1])
        for room, parent, name in (
            ("lan", BRIDGE, "vlan5"),
            ("dhcp", "eth0", "eth0.5"),
            ("appliance", "eth0", "eth0.5"),
        ):
            # In user space: not every kernel that runs these tests has 8021q.
            with inside(net.namespace(room)):
                stack.enter_context(tagging(parent, name, 5))
            ip(net, room, "link", "set", name, "up")
        ip(net, "lan", "link", "set", "vlan5", "master", FAR)
        ip(net, "dhcp", "address", "add", f"{VLAN_DHCP}/24", "dev", "eth0.5")
        ip(net, "appliance", "address", "add", f"{VLAN_SERVER}/24", "dev", "eth0.5")
        with (
            foreign_dhcp(net, tmp_path / "dhcp.log"),
            foreign_dhcp(net, tmp_path / "vlan.log", interface="eth0.5", pools=(VLAN_POOL,), advertise=False),
            capture(net, pcaps[BRIDGE], only=FILTER),
            capture(net, pcaps[FAR], only=FILTER, bridge=FAR),
            boot_server(furnished, net, interfaces=("eth0", "eth0.5")),
            ThreadPoolExecutor(2) as pool,
        ):
            places = [
                Place(net, tmp_path / "below", Wire(pcaps[BRIDGE])),
                Place(net, tmp_path / "vlan", Wire(pcaps[FAR]), server=VLAN_SERVER),
            ]
            for place in places:
                place.path.mkdir()
            jobs = enumerate(places)
            seen = list(pool.map(lambda job: observe(ROWS["uefi"], job[1], job[0], to_marker=False), jobs))
    assert [one.outcome for one in seen] == [FOUND["uefi"], FOUND["uefi"]], "\n".join(map(str, seen))


def test_a_machine_that_follows_nothing_is_reported_with_what_to_change_on_the_other_server(
    furnished: Path,
) -> None:
    row, mac = Row("x64", "class"), mac_of(0)
    with lan_with("class", furnished, [row]) as place, switched_on(row, place, 0) as machine:
        asked = 0

        def asks_them() -> bool | None:
            return len([one for one in place.wire.of(mac) if one.kind is Kind.ASK]) > asked or None

        def reported() -> list[str]:
            found = entries(furnished, mac)
            return [one.message for one in found if (one.stage, one.status) == ("offer", "failed")]

        # The server sees a machine start again and again, and offers it something else each time.
        while not reported() and asked < MOST_BOOTS:
            wait_until(
                asks_them,
                seconds=60,
                what="the firmware asks the other server",
                last_seen=machine.console.tail,
            )
            asked = len([one for one in place.wire.of(mac) if one.kind is Kind.ASK])
            machine.reset()
    (message,) = reported()
    assert DHCP_ADDRESS in message and "60" in message
