"""`distserver doctor` in a namespace, beside real DHCP servers, proxies, firewalls and clients."""

import json
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from appliance.daemon import BOOT_CAPABILITIES
from appliance.deadline import wait_until
from appliance.firewall import Fate, Parcel, verdict
from appliance.lab import APPLIANCE_ADDRESS, DHCP_ADDRESS, FOREIGN, Lan, foreign_dhcp, lan, wait_for_port
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.rights import unprivileged
from appliance.run import Argument, run, running
from appliance.store import Store
from tests.integration.netyard import inside

SECOND, SECOND_ADDRESS = "second", "10.77.0.3"
SECONDS = 20.0
SUBNET = '\n[dhcp]\n[[dhcp.subnet]]\nnetwork = "10.77.0.0/24"\nranges = ["10.77.0.200-10.77.0.220"]\n'


@dataclass(frozen=True)
class Report:
    status: int
    level: str
    offers: list[dict[str, Any]]
    findings: list[dict[str, str]]

    def bad(self) -> list[dict[str, str]]:
        return [one for one in self.findings if one["level"] != "green"]

    def about(self, word: str) -> list[dict[str, str]]:
        return [one for one in self.bad() if word in f"{one['subject']} {one['said']}"]


@pytest.fixture(scope="module")
def office() -> Iterator[Lan]:
    with lan("doctor", taps=0, clients={SECOND: SECOND_ADDRESS}) as made:
        yield made


def argv(site: Path, state: Path, *options: str) -> list[Argument]:
    return [
        sys.executable,
        "-m",
        "appliance.cli",
        "--state",
        state,
        *options,
        "--site",
        site,
        "--interface",
        "eth0",
    ]


def doctor(on: Lan, place: Path, *, seconds: float = 1) -> Report:
    words = argv(place / "site", place / "state", "doctor", "--json", "--seconds", str(seconds))
    ended = run(words, prefix=on.exec_prefix("appliance"), ok=(0, 1, 2))
    said = json.loads(ended.stdout)
    (seen,) = said["interfaces"]
    return Report(ended.status, said["level"], seen["offers"], seen["findings"])


def make_site(place: Path, *, table: str = "") -> None:
    site = Path(shutil.copytree(example_site(), place / "site"))
    with (site / "appliance.toml").open("a") as file:
        file.write(table)
    Store(Tree(place / "state").store).close()
    Tree(place / "state").room("boot")


@contextmanager
def served(on: Lan, place: Path) -> Iterator[None]:
    log = place / "boot.log"
    words = argv(place / "site", place / "state", "process", "boot")
    prefix = [*on.exec_prefix("appliance"), *unprivileged(None, BOOT_CAPABILITIES)]
    with running(words, prefix=prefix, output=log):
        wait_until(
            lambda: "answering on eth0" in log.read_text() or None,
            seconds=SECONDS,
            what="it answers",
            last_seen=log.read_text,
        )
        yield


@contextmanager
def dnsmasq(on: Lan, room: str, place: Path, *options: str) -> Iterator[None]:
    words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0",
             "--bind-interfaces", "--no-ping", "--leasefile-ro", "--user=root", "--pid-file="]  # fmt: skip
    with running([*words, *options], prefix=on.exec_prefix(room), output=place / f"{room}.log"):
        wait_for_port(on, room, 67, seconds=SECONDS, udp=True)
        yield


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("plain", 1, ["siaddr"]),
        ("siaddr", 1, ["10.77.0.66"]),
        ("file", 1, ["siaddr", "foreign.0"]),
        ("class", 2, ["option 60", "siaddr"]),
    ],
)
def test_dnsmasq_in_each_configuration_is_judged(
    office: Lan, tmp_path: Path, name: str, status: int, words: Sequence[str]
) -> None:
    with foreign_dhcp(office, tmp_path / "log", netboot=FOREIGN[name]):
        report = doctor(office, tmp_path, seconds=2.5 if name == "class" else 1)
    assert {offer["server"] for offer in report.offers} == {DHCP_ADDRESS}
    assert {offer["architecture"] for offer in report.offers} >= {0}
    assert report.status == status
    for word in words:
        assert report.about(word), report.bad()
    # Nothing else is wrong with it but the DNS server that the lab leaves out.
    assert len(report.bad()) == len(words) + 1, report.bad()
    assert report.about("option 6)")


def test_the_fix_that_is_named_makes_dnsmasq_green(office: Lan, tmp_path: Path) -> None:
    options = ["--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--dhcp-option=6,10.77.0.1"]
    with dnsmasq(office, "dhcp", tmp_path, *options):
        (finding,) = doctor(office, tmp_path).bad()
    fix = f"dhcp-boot=,,{APPLIANCE_ADDRESS}"
    assert f"`{fix}`" in finding["fix"]
    with dnsmasq(office, "dhcp", tmp_path, *options, f"--{fix}"):
        report = doctor(office, tmp_path)
    assert (report.status, report.level, report.bad()) == (0, "green", [])


def test_without_a_server_full_dhcp_is_proposed(office: Lan, tmp_path: Path) -> None:
    report = doctor(office, tmp_path)
    assert (report.status, report.offers) == (1, [])
    assert "[dhcp]" in report.about("no DHCP server")[0]["fix"]


def test_two_servers_and_a_second_proxy_are_told_apart(office: Lan, tmp_path: Path) -> None:
    good = ["--dhcp-option=6,10.77.0.1", f"--dhcp-boot=,,{APPLIANCE_ADDRESS}"]
    with dnsmasq(office, "dhcp", tmp_path, "--dhcp-range=10.77.0.100,10.77.0.150,255.255.255.0,1h", *good):
        with dnsmasq(
            office, SECOND, tmp_path, "--dhcp-range=10.77.0.151,10.77.0.199,255.255.255.0,1h", *good
        ):
            two = doctor(office, tmp_path)
        proxy = ["--dhcp-range=10.77.0.0,proxy,255.255.255.0", "--pxe-service=x86PC,one,undionly.kpxe"]
        with dnsmasq(office, SECOND, tmp_path, *proxy, "--pxe-service=X86-64_EFI,two,snponly.efi"):
            other = doctor(office, tmp_path)
    (both,) = two.bad()
    assert (both["level"], two.status) == ("yellow", 1) and f"{DHCP_ADDRESS}, {SECOND_ADDRESS}" in both[
        "said"
    ]
    (red,) = other.bad()
    assert (red["level"], other.status) == ("red", 2) and SECOND_ADDRESS in red["subject"]


def test_our_own_server_is_seen_though_it_is_on_this_host(office: Lan, tmp_path: Path) -> None:
    make_site(tmp_path, table=SUBNET)
    with served(office, tmp_path):
        report = doctor(office, tmp_path)
    assert {offer["server"] for offer in report.offers} == {APPLIANCE_ADDRESS}
    assert {offer["architecture"] for offer in report.offers} == {0, 7, 11, 16}
    assert report.status == 0, report.bad()
    said = [one["said"] for one in report.findings]
    assert said.count("this server has it") == 4
    assert "has what it needs and no capability more" in said
    # The probe took no address for good.
    store = Store(Tree(tmp_path / "state").store)
    assert store.leases.all() == []
    store.close()


def test_a_proxy_with_nothing_to_boot_says_why_it_is_silent(office: Lan, tmp_path: Path) -> None:
    make_site(tmp_path)
    with served(office, tmp_path):
        report = doctor(office, tmp_path)
    assert report.offers == []
    assert "there is no release" in report.about("get no answer")[0]["said"]


def test_a_dhcp_server_on_the_same_host_is_named_and_judged(office: Lan, tmp_path: Path) -> None:
    make_site(tmp_path)
    # It leaves room for others on port 67 as dnsmasq does on a router, where it serves some interfaces.
    options = ["--dhcp-range=10.77.0.100,10.77.0.199,255.255.255.0,1h", "--dhcp-option-force=60,PXEClient"]
    with dnsmasq(office, "appliance", tmp_path, *options), served(office, tmp_path):
        report = doctor(office, tmp_path)
    assert {offer["server"] for offer in report.offers} == {APPLIANCE_ADDRESS}
    assert report.about("option 60")[0]["subject"].startswith(f"DHCP server {APPLIANCE_ADDRESS}")
    assert "dnsmasq" in report.about("DHCP, UDP port 67")[0]["said"]
    assert not report.about("its OFFER did not come")


def test_it_works_while_a_dhcp_client_has_port_68(office: Lan, tmp_path: Path) -> None:
    with ExitStack() as stack:
        with inside(office.namespace("appliance")):
            taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            taken.bind(("0.0.0.0", 68))
        stack.enter_context(foreign_dhcp(office, tmp_path / "log"))
        assert {offer["server"] for offer in doctor(office, tmp_path).offers} == {DHCP_ADDRESS}


def test_an_interface_that_is_not_there_is_red(office: Lan, tmp_path: Path) -> None:
    words: list[Argument] = [
        sys.executable,
        "-m",
        "appliance.cli",
        "doctor",
        "--interface",
        "eth7",
        "--site",
        tmp_path,
    ]
    ended = run(words, prefix=office.exec_prefix("appliance"), ok=(2,))
    assert "there is no network interface 'eth7'" in ended.stdout
    assert "\x1b" not in ended.stdout


def test_a_smaller_frame_on_the_way_is_found(office: Lan, tmp_path: Path) -> None:
    bridge = ["ip", "-netns", office.namespace("lan"), "link", "set", "to-dhcp", "mtu"]
    with foreign_dhcp(office, tmp_path / "log"):
        run([*bridge, "1400"])
        try:
            report = doctor(office, tmp_path)
        finally:
            run([*bridge, "1500"])
    assert "those of 1500 bytes do not" in report.about(f"the way to {DHCP_ADDRESS}")[0]["said"]


# The firewall: what the rules are said to do is what the kernel does.

RULESETS = {
    "closed": ("chain input { type filter hook input priority 0; policy drop; }", set()),
    "a set of ports": (
        """set boot { type inet_service; flags interval; elements = { 67, 69, 4000-4020 } }
        chain input { type filter hook input priority 0; policy drop;
          ct state established,related accept
          iifname { "eth0", "br*" } udp dport @boot jump lan
          meta l4proto icmp accept
          reject with icmp type port-unreachable
        }
        chain lan { ip saddr { 10.77.0.0/24, 192.0.2.1 } accept; }""",
        {67, 69, 4011},
    ),
    "another interface": (
        """chain input { type filter hook input priority 0; policy drop; iifname "eth1" accept; }""",
        set(),
    ),
    "a map": (
        """chain input { type filter hook input priority 0; policy accept;
          udp dport vmap { 69 : drop, 4011 : accept } ; udp dport != 67-4011 drop
        }""",
        {67, 4011},
    ),
    "two hooks": (
        """chain early { type filter hook prerouting priority -300; policy accept; udp dport 4011 drop; }
        chain input { type filter hook input priority 0; policy drop; udp dport { 67, 4011 } accept; }""",
        {67},
    ),
}


@pytest.mark.parametrize("name", sorted(RULESETS))
def test_the_kernel_drops_what_is_said_to_be_dropped(office: Lan, tmp_path: Path, name: str) -> None:
    text, expected = RULESETS[name]
    prefix = office.exec_prefix("appliance")
    with ExitStack() as stack:
        listeners = {}
        with inside(office.namespace("appliance")):
            for port in (67, 69, 4011):
                listeners[port] = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                listeners[port].bind(("", port))
        with inside(office.namespace(SECOND)):
            sender = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sender.bind((SECOND_ADDRESS, 2070))
        run(["nft", "-f", "-"], prefix=prefix, stdin=f"table inet test {{\n{text}\n}}\n".encode())
        try:
            listed = json.loads(run(["nft", "-j", "list", "ruleset"], prefix=prefix).stdout)
            arrives = {port for port, one in listeners.items() if delivered(sender, one, port)}
            report = doctor(office, tmp_path, seconds=0.2) if name == "closed" else None
        finally:
            run(["nft", "flush", "ruleset"], prefix=prefix)
    source, target = (IPv4Address(one) for one in (SECOND_ADDRESS, APPLIANCE_ADDRESS))
    said = {
        port
        for port in listeners
        if verdict(listed, Parcel("eth0", "udp", port, source, 2070, target)).fate is Fate.PASSES
    }
    assert arrives == said == expected
    assert report is None or (report.status == 2 and report.about("firewall, UDP port 69"))


def delivered(sender: socket.socket, listener: socket.socket, port: int) -> bool:
    listener.settimeout(0.5)
    try:
        sender.sendto(b"hello", (APPLIANCE_ADDRESS, port))
        return bool(listener.recv(10))
    except (TimeoutError, ConnectionRefusedError):
        return False
