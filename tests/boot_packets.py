"""What booting clients send (OVMF 2022.11, iPXE 2019), options in their order, and answers in hex."""

from ipaddress import IPv4Address, IPv4Network

from appliance.model import BootTarget, LocalBoot, NetBoot
from appliance.strategies import Strategy
from pxe.client import identify
from pxe.dhcp import MessageType, Packet
from pxe.links import Link
from pxe.policy import USUAL_HOUSE, Address, Here, House, Ignore, Reply, answer

HERE = Here(IPv4Address("10.77.0.2"), 80)
LINK = Link("eth0", 2, HERE.address, IPv4Network("10.77.0.0/24"), "52:54:00:77:00:02", 1500)
NETBOOT = NetBoot("20260101-0123456789ab", "quiet", "armed")
LOCAL = LocalBoot("installed")
MAC = "52:54:00:77:00:01"
UUID = b"\0" + bytes(range(16))

BIOS = ((93, b"\0\0"), (94, b"\1\2\1"), (60, b"PXEClient:Arch:00000:UNDI:002001"))
UEFI = ((93, b"\0\7"), (94, b"\1\3\0"), (60, b"PXEClient:Arch:00007:UNDI:003000"))
HTTP = ((93, b"\0\x10"), (94, b"\1\3\0"), (60, b"HTTPClient:Arch:00016:UNDI:003000"))
IPXE_175 = (175, bytes.fromhex("b1 05 01 1a f4 10 00  eb 03 01 00 00  13 01 01  21 01 01  18 01 01"))
IPXE = ((77, b"iPXE"), IPXE_175)


def packet(
    kind: MessageType = MessageType.DISCOVER,
    *options: tuple[int, bytes],
    machine_id: bytes | None = UUID,
    op: int = 1,
    giaddr: str = "0.0.0.0",
    ciaddr: str = "0.0.0.0",
    flags: int = 0x8000,
    mac: str = MAC,
    xid: int = 0x770001AA,
    secs: int = 4,
) -> Packet:
    identity = () if machine_id is None else ((97, machine_id),)
    return Packet(
        op=op,
        xid=xid,
        chaddr=bytes.fromhex(mac.replace(":", "")) + bytes(10),
        secs=secs,
        flags=flags,
        giaddr=IPv4Address(giaddr),
        ciaddr=IPv4Address(ciaddr),
        options=((53, bytes((kind,))), (57, b"\x05\xc0"), *identity, *options),
    )


def decided(
    request: Packet,
    target: BootTarget = NETBOOT,
    *,
    port: int = 67,
    sender: Address = ("0.0.0.0", 68),
    strategy: Strategy | None = None,
    house: House = USUAL_HOUSE,
    vendor_classes: tuple[str, ...] = (),
) -> Reply | Ignore:
    client = identify(request, vendor_classes)
    return answer(request, client, target, HERE, port=port, sender=sender, strategy=strategy, house=house)


def replied(
    request: Packet,
    target: BootTarget = NETBOOT,
    *,
    port: int = 67,
    sender: Address = ("0.0.0.0", 68),
    strategy: Strategy | None = None,
    house: House = USUAL_HOUSE,
    vendor_classes: tuple[str, ...] = (),
) -> Reply:
    decision = decided(
        request,
        target,
        port=port,
        sender=sender,
        strategy=strategy,
        house=house,
        vendor_classes=vendor_classes,
    )
    assert isinstance(decision, Reply), decision
    return decision


def golden(
    *options: str,
    file: bytes = b"",
    giaddr: str = "00000000",
    flags: str = "8000",
    ciaddr: str = "00000000",
    yiaddr: str = "00000000",
    chaddr: str = "525400770001",
) -> bytes:
    """An answer of 10.77.0.2 as bytes, field by field."""
    fixed = bytes.fromhex(
        "02 01 06 00"  # op htype hlen hops
        "770001aa"  # xid
        f"0000 {flags}"  # secs, flags
        f"{ciaddr} {yiaddr}"
        f"0a4d0002 {giaddr}"  # siaddr giaddr
        f"{chaddr} 00000000000000000000"
    )
    sname = b"10.77.0.2".ljust(64, b"\0")
    body = bytes.fromhex("63825363" + "".join(options) + "ff")
    return (fixed + sname + file.ljust(128, b"\0") + body).ljust(300, b"\0")


SERVER = "36 04 0a4d0002"
PXE_CLASS = "3c 09" + b"PXEClient".hex()
ECHO = "61 11 00" + bytes(range(16)).hex()
