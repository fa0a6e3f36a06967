"""Machines with real firmware on LANs with all kinds of DHCP servers: switched on and watched."""

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.boards import UEFI_ARM64, UEFI_IA32, UEFI_SECURE, Board
from appliance.console import ConsoleClosed, ConsoleTimeout
from appliance.deadline import DeadlinePassed, wait_until
from appliance.lab import APPLIANCE_ADDRESS, FOREIGN, Lan, capture, foreign_dhcp, lan
from appliance.model import Firmware
from appliance.strategies import Strategy
from appliance.vm import Vm
from appliance.vm_power import PoweredOn, power_on
from tests import snakeoil
from tests.e2e.boot_server import MARKER, boot_server, furnish
from tests.e2e.relay import relayed
from tests.e2e.wire import FILTER, Heard, Outcome, Wire, judge

DECIDED_SECONDS = 600.0
MARKER_SECONDS = 600.0
AT_ONCE = 4
"""Machines that are on at the same time: most of a boot is waiting for offers."""


@dataclass(frozen=True)
class Kind:
    """A kind of machine: the firmware it has, and how it is made to use the network."""

    title: str
    firmware: Firmware
    board: Board | None = None
    ipv4_pxe: bool = True
    poor: bool = False
    """Its iPXE ROM looks like a plain PXE ROM until it fetched its boot program."""
    keys: Path | None = None


KINDS: Mapping[str, Kind] = {
    "ipxe": Kind("SeaBIOS, iPXE ROM", Firmware.BIOS),
    "bios": Kind("SeaBIOS, plain PXE ROM", Firmware.BIOS, poor=True),
    "x64": Kind("OVMF x64", Firmware.UEFI),
    "http": Kind("OVMF x64, HTTP boot", Firmware.UEFI, ipv4_pxe=False),
    "secure": Kind("OVMF x64, Secure Boot", Firmware.UEFI, board=UEFI_SECURE, keys=snakeoil.VARIABLES),
    "ia32": Kind("OVMF ia32", Firmware.UEFI, board=UEFI_IA32),
    "arm64": Kind("AAVMF arm64", Firmware.UEFI, board=UEFI_ARM64),
}


@dataclass(frozen=True)
class Row:
    """One machine on one LAN."""

    kind: str
    foreign: str
    strategy: Strategy | None = None
    """How the firmware is offered its program; None: as the server chooses."""

    def __str__(self) -> str:
        return f"{self.kind}-{self.foreign}-{self.strategy_name}"

    @property
    def strategy_name(self) -> str:
        return self.strategy.value if self.strategy else "usual"


@dataclass(frozen=True)
class Seen:
    """What a machine did."""

    outcome: Outcome
    marker: bool
    """The stand-in installer runs on it."""
    heard: tuple[Heard, ...]
    console: str

    def __str__(self) -> str:
        steps = "\n".join(f"  {one}" for one in self.heard)
        return f"{self.outcome}, marker: {self.marker}\n{steps}\n{self.console[-1500:]}"


@dataclass(frozen=True)
class Place:
    """A LAN that is up, with its boot server and its capture."""

    net: Lan
    path: Path
    wire: Wire
    server: str = APPLIANCE_ADDRESS
    """Our address as machines see it."""
    lose_percent: float = 0
    """So much of what machines send and get is lost, as much doubled, as much overtaken."""


def mac_of(number: int) -> str:
    return f"52:54:00:7a:{number >> 8:02x}:{number & 255:02x}"


@contextmanager
def lan_with(foreign: str, path: Path, rows: Sequence[Row]) -> Iterator[Place]:
    """A LAN with one of the foreign DHCP servers, our boot server and taps; `path` is furnished."""
    strategies = {mac_of(number): row.strategy for number, row in enumerate(rows) if row.strategy}
    pcap = path / "lan.pcap"
    with (
        lan("matrix", taps=len(rows)) as net,
        foreign_dhcp(net, path / "dhcp.log", netboot=FOREIGN[foreign]),
        capture(net, pcap, only=FILTER),
        boot_server(path, net, strategies=strategies),
    ):
        yield Place(net, path, Wire(pcap))


@contextmanager
def switched_on(row: Row, place: Place, number: int) -> Iterator[PoweredOn]:
    """A row's machine, on until the block is left."""
    kind, mac, tap = KINDS[row.kind], mac_of(number), place.net.taps[number]
    directory = place.path / str(row)
    directory.mkdir()
    vm = Vm(str(row), directory, kind.firmware, mac=mac, tap=tap, memory_mb=384, board=kind.board)
    vm = replace(vm, ipv4_pxe=kind.ipv4_pxe, keys=kind.keys)
    with ExitStack() as stack:
        if kind.poor or place.lose_percent:
            log = directory / "relay.log"
            wire = relayed(place.net, tap, log, poor=kind.poor, lose_percent=place.lose_percent)
            stack.enter_context(wire)
        yield stack.enter_context(power_on(vm, prefix=place.net.exec_prefix("lan")))


def observe(row: Row, place: Place, number: int, *, to_marker: bool) -> Seen:
    """Switch a machine on and see how it comes to its boot file, or does not."""
    with switched_on(row, place, number) as machine:
        outcome = _outcome(place, mac_of(number))
        marker = to_marker and outcome.program is not None and _reaches_marker(machine)
        return Seen(outcome, marker, tuple(place.wire.of(mac_of(number))), machine.console.tail())


def _outcome(place: Place, mac: str) -> Outcome:
    def final() -> Outcome | None:
        outcome = judge(place.wire.of(mac), place.server)
        return outcome if outcome.final else None

    try:
        return wait_until(final, seconds=DECIDED_SECONDS, what="an outcome")
    except DeadlinePassed:
        return judge(place.wire.of(mac), place.server)


def _reaches_marker(machine: PoweredOn) -> bool:
    try:
        machine.console.wait_for(MARKER, seconds=MARKER_SECONDS)
    except (ConsoleTimeout, ConsoleClosed):
        return False
    return True


def run_rows(rows: Collection[Row], path: Path, *, to_marker: Collection[Row] = ()) -> dict[Row, Seen]:
    """All rows, some until the stand-in installer runs; one LAN for each foreign server, all up at once."""
    furnish(path / "furnished")
    with ExitStack() as stack:
        jobs = []
        for foreign in sorted({row.foreign for row in rows}):
            shutil.copytree(path / "furnished", path / foreign)
            here = [row for row in rows if row.foreign == foreign]
            place = stack.enter_context(lan_with(foreign, path / foreign, here))
            jobs += [(row, place, number) for number, row in enumerate(here)]
        # What takes longest comes first.
        jobs.sort(key=lambda job: job[0] not in to_marker)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            seen = pool.map(lambda job: observe(*job, to_marker=job[0] in to_marker), jobs)
            return {job[0]: one for job, one in zip(jobs, seen, strict=True)}
