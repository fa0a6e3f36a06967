"""What went over a virtual LAN, machine by machine, read from its capture while it grows."""

import re
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address
from pathlib import Path

from appliance.lab import APPLIANCE_ADDRESS
from pxe import dhcp
from pxe.dhcp import PXE_PORT, SERVER_PORT, MessageType, Option, sub_options
from pxe.malformed import Malformed

# What `capture` keeps: questions and short answers, not the files.
FILTER = "udp port 67 or udp port 4011 or udp dst port 69 or (tcp dst port 80 and tcp[13] & 8 != 0)"
# edk2 asks port 4011 four times before it gives up (MdeModulePkg, PXEBC_BOOT_REQUEST_RETRIES).
TRIES = 4
# Sub-option 71 is the item that was chosen from a menu.
ITEM = "4704"
# What is not a boot program but says what to boot.
SCRIPT = re.compile(r"\.ipxe$|grub\.cfg|pxelinux\.cfg/|/r/[^/]+/kernel")


class Kind(Enum):
    DISCOVER = "DISCOVER"
    OFFER = "OFFER"
    REQUEST = "REQUEST"
    ACK = "ACK"
    ASK = "asks port 4011 of"
    TOLD = "told from port 4011 by"
    TFTP = "asks for a file by TFTP of"
    HTTP = "asks for a file by HTTP of"


KINDS: Mapping[int, Kind] = {
    MessageType.DISCOVER: Kind.DISCOVER,
    MessageType.OFFER: Kind.OFFER,
    MessageType.REQUEST: Kind.REQUEST,
    MessageType.ACK: Kind.ACK,
}


@dataclass(frozen=True)
class Heard:
    """One packet of a machine's boot."""

    mac: str
    kind: Kind
    peer: str = ""
    """The server's address; empty in what goes to everybody."""
    detail: str = ""
    """A file's name, or the bytes of option 43 in hexadecimal."""

    def __str__(self) -> str:
        return f"{self.kind.value} {self.peer} {self.detail}".rstrip()


class Way(Enum):
    """How a program came to a boot file; the value is what the table says."""

    DIRECT = "TFTP"
    BINL = "4011, TFTP"
    MENU = "menu, 4011, TFTP"
    URL = "HTTP"
    BINL_URL = "4011, HTTP"
    THEIR_FILE = "**their file**"
    THEIR_4011 = "**their 4011**"

    @property
    def ours(self) -> bool:
        return self not in (Way.THEIR_FILE, Way.THEIR_4011)


@dataclass(frozen=True)
class Outcome:
    """How a machine came to its boot program and that to its script; None: it did not."""

    firmware: Way | None = None
    program: Way | None = None

    @property
    def final(self) -> bool:
        """Nothing better follows."""
        return self.program is not None or bool(self.firmware and not self.firmware.ours)

    def __str__(self) -> str:
        if self.firmware is None:
            return "no boot file"
        if not self.firmware.ours or self.program is self.firmware:
            return self.firmware.value
        return f"{self.firmware.value}; {self.program.value if self.program else 'nothing'}"


def judge(heard: Sequence[Heard], us: str = APPLIANCE_ADDRESS) -> Outcome:
    """What a machine's packets amount to until now."""
    at, way = _way(heard, us)
    if way is None or not way.ours or SCRIPT.search(heard[at].detail):
        return Outcome(way, way if way and way.ours else None)
    later = heard[at + 1 :]
    scripts = [number for number, one in enumerate(later) if one.peer == us and SCRIPT.search(one.detail)]
    starts = [number for number, one in enumerate(later) if one.kind is Kind.DISCOVER]
    # Programs that take their address from the firmware (GRUB, PXELINUX) ask for files at once.
    if scripts and (not starts or scripts[0] < starts[0]):
        return Outcome(way, _way(later[scripts[0] :], us)[1])
    return Outcome(way, _way(later[starts[0] :], us)[1] if starts else None)


def _way(heard: Sequence[Heard], us: str) -> tuple[int, Way | None]:
    """The first file that was asked for: its place in what was heard, and the way there."""
    asked_us, asked_them = list[str](), 0
    for number, one in enumerate(heard):
        if one.kind is Kind.ASK and one.peer == us:
            asked_us.append(one.detail)
        elif one.kind is Kind.ASK:
            asked_them += 1
            if asked_them == TRIES:
                return number, Way.THEIR_4011
        elif one.kind in (Kind.TFTP, Kind.HTTP):
            return number, _asked_file(one, asked_us, us)
    return len(heard), None


def _asked_file(one: Heard, asked_us: Sequence[str], us: str) -> Way:
    if one.peer != us:
        return Way.THEIR_FILE
    if one.kind is Kind.HTTP:
        return Way.BINL_URL if asked_us else Way.URL
    if any(detail.startswith(ITEM) for detail in asked_us):
        return Way.MENU
    return Way.BINL if asked_us else Way.DIRECT


@dataclass
class Wire:
    """A capture that is still written; machines that are watched at the same time share it."""

    file: Path
    heard: dict[str, list[Heard]] = field(default_factory=dict)
    _at: int = 24  # after the file's header
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, mac: str) -> list[Heard]:
        """Everything heard of a machine until now, in order."""
        with self._lock:
            for frame in self._frames():
                if one := read_frame(frame):
                    self.heard.setdefault(one.mac, []).append(one)
            return list(self.heard.get(mac, ()))

    def _frames(self) -> Iterator[bytes]:
        data = self.file.read_bytes()
        while self._at + 16 <= len(data):
            kept = struct.unpack_from("<I", data, self._at + 8)[0]
            if self._at + 16 + kept > len(data):
                return
            yield data[self._at + 16 : self._at + 16 + kept]
            self._at += 16 + kept


def read_frame(frame: bytes) -> Heard | None:
    """An Ethernet frame as a step of somebody's boot, None when it is none."""
    if len(frame) < 34 or frame[12:14] != b"\x08\0":
        return None
    sender, packet = frame[6:12].hex(":"), frame[14:]
    protocol, (source, target) = packet[9], (str(IPv4Address(packet[at : at + 4])) for at in (12, 16))
    segment = packet[4 * (packet[0] & 15) : int.from_bytes(packet[2:4], "big")]
    if len(segment) < 8:
        return None
    source_port, target_port = struct.unpack_from("!HH", segment)
    if protocol == 6:
        return _http(sender, target, segment[4 * (segment[12] >> 4) :])
    if target_port == 69:
        return _rrq(sender, target, segment[8:])
    if {SERVER_PORT, PXE_PORT} & {source_port, target_port}:
        return _dhcp(source, target, segment[8:], boot_server=PXE_PORT in (source_port, target_port))
    return None


def _http(mac: str, peer: str, payload: bytes) -> Heard | None:
    words = payload.split(b"\r\n", 1)[0].split()
    if len(words) != 3 or words[0] not in (b"GET", b"HEAD"):
        return None
    return Heard(mac, Kind.HTTP, peer, words[1].decode(errors="replace"))


def _rrq(mac: str, peer: str, payload: bytes) -> Heard | None:
    if payload[:2] != b"\0\1":
        return None
    return Heard(mac, Kind.TFTP, peer, payload[2:].split(b"\0", 1)[0].decode(errors="replace"))


def _dhcp(source: str, target: str, payload: bytes, *, boot_server: bool) -> Heard | None:
    try:
        packet = dhcp.decode(payload)
        vendor = packet.option(Option.VENDOR) or b""
        item = dict(sub_options(vendor, "option 43 sub-option")).get(71) if vendor else None
    except Malformed:
        return None
    mac = packet.chaddr[:6].hex(":")
    asks = packet.op == dhcp.BOOTREQUEST
    if boot_server:
        kind, peer = (Kind.ASK, target) if asks else (Kind.TOLD, source)
        return Heard(mac, kind, peer, f"{ITEM}{item.hex()}" if item else vendor.hex())
    named = KINDS.get(packet.message_type or 0)
    if named is None:
        return None
    return Heard(mac, named, "" if asks else source, f"{packet.secs} s" if asks else vendor.hex())
