"""What compile hosts say and fetch: hello, signed orders, toolchain images; nothing is signed here."""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from appliance.compile_host import HASH, NAME, CompileHost, HostReport, HostState, heard, parse_report
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.site_model import SiteHost
from appliance.store import Store

POLL_SECONDS = 5
SOON_SECONDS = 1
"""For a host that does not run yet what it was ordered."""
UNKNOWN_POLL_SECONDS = 60
UNKNOWN_KEPT = 64
"""Anybody on the network can say hello."""
TOKEN = "compile"
TOKEN_SECONDS = 90 * 86400.0


class Lending:
    """The boot server's side of the compile cluster."""

    def __init__(self, live: LiveSite, tree: Tree, store: Store, clock: Callable[[], float]) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.clock = clock

    def hello(self, body: str, address: str) -> str:
        """`ok|unknown|refused|stop SECONDS EPOCH REASON`: when to come again, and whether to fetch orders.

        Raises Problem when the text makes no sense.
        """
        report = parse_report(body)
        now = self.clock()
        address = plain_address(address)
        with self.store.database.change():
            if report.token:
                return self._machine(report, address, now)
            known = self._known(report.name)
            if known is None or known.state is HostState.UNKNOWN:
                self._remember_unknown(report, address, now)
                reason = f"nobody said that {report.name} at {address} may be used"
                return f"unknown {UNKNOWN_POLL_SECONDS} {now:.0f} {reason}"
            if known.address != address:
                reason = f"{known.name} is {known.address}, not {address}"
                return f"refused {UNKNOWN_POLL_SECONDS} {now:.0f} {reason}"
            return self._heard(known, report, now)

    def orders(self, name: str) -> Path | None:
        """The signed orders of a host."""
        file = self.tree.path / "cluster" / "orders" / name
        return file if NAME.fullmatch(name) and file.is_file() else None

    def toolchain(self, name: str) -> Path | None:
        """A toolchain image by its file name, `<hash>.sqfs`."""
        file = self.tree.path / "toolchains" / name
        good = HASH.fullmatch(name.removesuffix(".sqfs")) and name.endswith(".sqfs")
        return file if good and file.is_file() else None

    def token(self, mac: str) -> str:
        """For a machine that boots as a compile host."""
        now = self.clock()
        return self.store.tokens.issue(mac, TOKEN, now=now, lifetime_seconds=TOKEN_SECONDS)

    def _machine(self, report: HostReport, address: str, now: float) -> str:
        """A machine that was booted from the network proves itself by its token, wherever it is now."""
        mac = self.store.tokens.owner(report.token, TOKEN, now=now)
        machine = self.store.machines.get(mac) if mac else None
        if machine is None or not machine.lends:
            return f"stop {UNKNOWN_POLL_SECONDS} {now:.0f} this machine is no compile host any more"
        quiet = replace(report, token="")
        known = self.store.compile_hosts.get(report.name)
        if known is None or known.origin != "machine":
            known = CompileHost(report.name, address, HostState.GONE, origin="machine")
        return self._heard(replace(known, address=address), quiet, now)

    def _heard(self, known: CompileHost, report: HostReport, now: float) -> str:
        self.store.compile_hosts.put(heard(known, report, now=now))
        done = self.store.compile_hosts.ports(known.name) == report.runs
        return f"ok {POLL_SECONDS if done else SOON_SECONDS} {now:.0f}"

    def _known(self, name: str) -> CompileHost | None:
        kept = self.store.compile_hosts.get(name)
        wanted = next((one for one in self.live.now().compile_hosts if one.name == name), None)
        return from_site(wanted, kept) if wanted else kept

    def _remember_unknown(self, report: HostReport, address: str, now: float) -> None:
        others = [one for one in self.store.compile_hosts.all() if one.state is HostState.UNKNOWN]
        if report.name in [one.name for one in others] or len(others) < UNKNOWN_KEPT:
            host = CompileHost(
                report.name, address, HostState.UNKNOWN, origin="hello", seen_at=now, report=report
            )
            self.store.compile_hosts.put(host)


def from_site(wanted: SiteHost, kept: CompileHost | None) -> CompileHost:
    """A host of the site with what is remembered of it."""
    if kept is None or kept.state is HostState.UNKNOWN:
        kept = CompileHost(wanted.name, wanted.address, HostState.GONE)
    return replace(kept, address=wanted.address, origin="site", arch=wanted.arch, slots=wanted.slots)


def plain_address(text: str) -> str:
    """An IPv4 address that came through an IPv6 socket is one of IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
