"""A LAN whose addresses are given out by the real boot process, and busybox's DHCP client on it."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from appliance.daemon import BOOT_CAPABILITIES
from appliance.deadline import wait_until
from appliance.lab import Lan, lan, wait_for_port
from appliance.leases import Lease
from appliance.model import Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.rights import unprivileged
from appliance.run import Argument, run, running
from appliance.store import Store
from pxe.full_server import SUBJECT

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


@contextmanager
def make_office(tmp_path: Path, *, known_only: bool = False) -> Iterator[Office]:
    """The LAN, with nobody on it yet; `known_only`: machines that nobody made known get no address."""
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
