"""The network links this server answers on, and which of its addresses a machine is answered from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

EVERYBODY = IPv4Address("255.255.255.255")


@dataclass(frozen=True)
class Link:
    """A network interface with the one of its addresses that machines on its subnet are told."""

    name: str
    index: int
    """The kernel's number of the interface; another one after it was removed and made again."""
    address: IPv4Address
    network: IPv4Network
    mac: str
    mtu: int
    """Bytes of the largest IP packet."""


@dataclass(frozen=True)
class Interface:
    """A network interface as the kernel describes it."""

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    addresses: tuple[IPv4Interface, ...] = ()
    """In the kernel's order: the primary address of the first subnet comes first."""


def find_link(interface: Interface, preferred: IPv4Address | None = None) -> Link | None:
    """The link an interface makes; None while it has no IPv4 address.

    Of several addresses the preferred one is used, otherwise the first.
    """
    if not interface.addresses:
        return None
    used = next((one for one in interface.addresses if one.ip == preferred), interface.addresses[0])
    return Link(interface.name, interface.index, used.ip, used.network, interface.mac, interface.mtu)


def find_links(
    names: Sequence[str], interfaces: Collection[Interface], preferred: IPv4Address | None = None
) -> Mapping[str, Link | str]:
    """For each name its link, or why there is none now.

    An only interface is not served without the preferred address; of several, the one that has it uses it.
    """
    known = {one.name: one for one in interfaces}
    found: dict[str, Link | str] = {}
    for name in names:
        interface = known.get(name)
        link = find_link(interface, preferred) if interface else None
        if interface is None:
            found[name] = f"there is no network interface {name!r}"
        elif link is None:
            found[name] = f"{name} has no IPv4 address"
        elif preferred and len(names) == 1 and link.address != preferred:
            found[name] = f"{preferred} is no address of {name}"
        else:
            found[name] = link
    return found


def answering(arrival: Link, asked: IPv4Address, served: Collection[Link]) -> Link:
    """The link whose address answers what came in by `arrival` and was sent to `asked`.

    A relay sends to the address it was configured with, which need not be that of the interface its route
    leads to: that address it surely reaches. Everybody else broadcasts and is told the one of its own subnet.
    """
    return next((link for link in served if link.address == asked), arrival)


def is_for_us(link: Link, asked: IPv4Address, served: Collection[Link]) -> bool:
    """Whether a datagram that was heard on a link is for this host, and not one that it only passes on."""
    return asked in (EVERYBODY, link.network.broadcast_address) or any(one.address == asked for one in served)
