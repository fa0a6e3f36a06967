"""Notices a boot that does not go on: which stage did not follow in time, and what that means. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from appliance.model import Firmware
from appliance.stages import Stage
from pxe.recent import Recent

RETRIES_SECONDS = 4.0 + 8.0 + 16.0 + 32.0
"""How long firmware asks for an OFFER it can use: edk2 (Dhcp4Impl.c) and PXE 2.1 wait 4, 8, 16 and 32 s."""


@dataclass(frozen=True)
class Window:
    """What has to follow a stage, and within how many seconds."""

    next: Stage
    seconds: float


@dataclass(frozen=True)
class Boot:
    """How far one machine came since it was switched on."""

    stage: Stage
    at: float
    firmware: Firmware | None = None
    ipxe: bool = False
    """The last DISCOVER was that of an iPXE, in the network card or fetched from here."""
    begun: Stage | None = None
    """It asked for what belongs to this stage and has not got all of it."""
    told: bool = False
    """That it does not go on was said."""


@dataclass(frozen=True)
class Stall:
    mac: str
    missing: Stage
    """The stage that did not follow."""
    after: Stage
    seconds: float
    cause: str

    def __str__(self) -> str:
        return f"nothing for {self.seconds:.0f} s after {self.after}: {self.cause}"


# A transfer that began: edk2 asks for a lost TFTP block 6 times every 4 s, iPXE for one for a minute; a large
# image over a slow line may take this long.
TRANSFER_SECONDS = 120.0
# edk2 asks port 4011 4 times (1, 2, 3, 4 s) and then for a file 6 times every 4 s.
PROGRAM_SECONDS = 40.0
# A program that was started waits for the link (spanning tree: 30 s), then iPXE asks DHCP for up to a minute.
STARTED_SECONDS = 100.0
# iPXE takes its lease (another 10 s when no IPv6 router answers) and fetches the script at once.
SCRIPT_SECONDS = 60.0
KERNEL_SECONDS = 60.0
# Servers with many disk controllers take minutes until their kernel has its network up.
HELLO_SECONDS = 240.0


def window(boot: Boot) -> Window:
    """What is expected of a machine now."""
    if boot.begun is not None:
        return Window(boot.begun, TRANSFER_SECONDS)
    if boot.stage in (Stage.DISCOVER, Stage.OFFER):
        if boot.ipxe:
            return Window(Stage.SCRIPT, SCRIPT_SECONDS)
        following = Stage.PROXY if boot.firmware is Firmware.UEFI else Stage.PROGRAM
        return Window(following, RETRIES_SECONDS)
    return _AFTER[boot.stage]


_AFTER: Mapping[Stage, Window] = {
    Stage.PROXY: Window(Stage.PROGRAM, PROGRAM_SECONDS),
    Stage.PROGRAM: Window(Stage.SCRIPT, STARTED_SECONDS),
    Stage.SCRIPT: Window(Stage.KERNEL, KERNEL_SECONDS),
    Stage.KERNEL: Window(Stage.INSTALLER, KERNEL_SECONDS),
    Stage.INSTALLER: Window(Stage.HELLO, HELLO_SECONDS),
}


_NO_ADDRESS = "no DHCP server gave it an address"
_FOREIGN_FILE = "another server's boot file came first"
_SPANNING_TREE = "the switch port blocks until spanning tree is done"

# (stage, firmware) -> what usually is wrong; the firmware None stands for every other.
_CAUSES: Mapping[tuple[Stage, Firmware | None], tuple[str, ...]] = {
    (Stage.OFFER, Firmware.UEFI): (
        _NO_ADDRESS,
        "another DHCP server sends option 60",
        "a firewall blocks UDP 4011",
        "the firmware does not merge the answers of two servers",
    ),
    (Stage.OFFER, None): (_NO_ADDRESS, _FOREIGN_FILE, "a firewall blocks UDP 69"),
    (Stage.PROXY, None): ("a firewall blocks UDP 69", "the MTU is not the same everywhere"),
    (Stage.PROGRAM, Firmware.UEFI): (
        "Secure Boot refused the program",
        "the program has no driver for the network card",
        _SPANNING_TREE,
    ),
    (Stage.PROGRAM, None): ("the program does not work with the network card", _SPANNING_TREE),
    (Stage.SCRIPT, None): ("a proxy or firewall stands in the way of HTTP",),
    (Stage.KERNEL, None): ("the machine has too little memory", "the connection broke"),
    (Stage.INSTALLER, None): (
        "the kernel stopped (its console says why)",
        "the installer has no driver for the network card",
    ),
}
_NO_SCRIPT = ("a firewall blocks TCP 80", "its DHCP lease has no route to this server", _FOREIGN_FILE)
_LOSSY = ("packets are lost", "those of this size are: the MTU, or a firewall that drops fragments")
_BROKEN = ("the line is slow or broken", "the machine has too little memory")


def cause(boot: Boot) -> str:
    """Why a boot usually ends where this one did."""
    if boot.begun is not None:
        broken = _LOSSY if boot.begun is Stage.PROGRAM else _BROKEN
        return f"{boot.begun} was begun and not ended: {' or '.join(broken)}"
    stage = Stage.OFFER if boot.stage is Stage.DISCOVER else boot.stage
    if stage is Stage.OFFER and boot.ipxe:
        return " or ".join(_NO_SCRIPT)
    reasons = _CAUSES.get((stage, boot.firmware)) or _CAUSES[stage, None]
    return " or ".join(reasons)


class Stalls:
    """Told of every step of every machine; says once of each boot that it does not go on.

    Times are seconds of any clock that does not run back. The last 4096 machines are remembered.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._boots: Recent[str, Boot] = Recent(limit)

    def __len__(self) -> int:
        return len(self._boots)

    def asked(self, mac: str, now: float, *, firmware: Firmware | None, ipxe: bool) -> None:
        """A first DISCOVER was offered something to boot from the network."""
        self._boots.put(mac, Boot(Stage.DISCOVER, now, firmware, ipxe))

    def offered(self, mac: str, now: float, *, firmware: Firmware | None, ipxe: bool) -> None:
        """What `asked` and reaching the OFFER say, in one step: thousands come to this at once."""
        self._boots.put(mac, Boot(Stage.OFFER, now, firmware, ipxe))

    def resume(self, mac: str, boot: Boot) -> None:
        """Follow a boot that began before; one that was heard of since is left as it is."""
        if self._boots.get(mac) is None:
            self._boots.put(mac, boot)

    def began(self, mac: str, stage: Stage, now: float) -> None:
        """It asked for what belongs to a stage."""
        if known := self._boots.get(mac):
            self._boots.put(mac, replace(known, begun=stage, at=now, told=False))

    def reached(self, mac: str, stage: Stage, now: float) -> None:
        """It got all that belongs to a stage."""
        if known := self._boots.get(mac):
            self._boots.put(mac, replace(known, stage=stage, at=now, begun=None, told=False))

    def waits(self, mac: str, now: float) -> None:
        """It was told to wait for its turn, and asks again."""
        if known := self._boots.get(mac):
            self._boots.put(mac, replace(known, at=now))

    def ended(self, mac: str) -> None:
        """Nothing more is expected of it: it boots its own disk, or its installer speaks for itself."""
        self._boots.pop(mac)

    def due(self, now: float) -> Iterator[Stall]:
        """The boots that stopped since this was asked last."""
        for mac, boot in self._boots.items():
            expected = window(boot)
            if boot.told or now - boot.at < expected.seconds:
                continue
            self._boots.put(mac, replace(boot, told=True))
            yield Stall(mac, expected.next, boot.stage, now - boot.at, cause(boot))
