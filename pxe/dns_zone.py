"""The site's zone: which names there are, forward and reverse, and what each of them has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from pxe.dns_packets import Kind, Name, Record, Soa, Srv, Target, Text, name_of

TTL_SECONDS = 30
"""A machine gets another address or another name, and everybody knows it half a minute later."""
NEGATIVE_SECONDS = 5
"""How long nobody asks again for a name that is not there: a machine that was just named is soon found."""
SERVER = b"boot"
ALIASES = (SERVER, b"distserver", b"ns")
"""Names of this server in the zone; no machine can take one of them."""
REVERSE = (b"in-addr", b"arpa")
TFTP_PORT = 69


@dataclass(frozen=True)
class Found:
    """A name below one of our zones: where the zone begins, whether the name is there, and its records."""

    apex: Name
    exists: bool
    records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Zone:
    """What one server is authoritative for, as seen from one of its links."""

    name: str
    """Lower case, IDNA-encoded."""
    server: IPv4Address
    """Our address on the link."""
    http_port: int
    networks: tuple[IPv4Network, ...]
    """Networks of all links: the reverse zones, and who may have names of others resolved."""
    hosts: Mapping[str, tuple[IPv4Address, ...]] = field(default_factory=dict)
    serial: int = 1
    allow: tuple[Name, ...] = ()
    """Names that are asked of other servers, with all below them; `()` as a name is every name."""

    @cached_property
    def apex(self) -> Name:
        return name_of(self.name)

    @cached_property
    def names(self) -> Mapping[IPv4Address, tuple[str, ...]]:
        """The machines at each address."""
        found: dict[IPv4Address, tuple[str, ...]] = {}
        for host, addresses in sorted(self.hosts.items()):
            for address in addresses:
                found[address] = (*found.get(address, ()), host)
        return found

    def below(self, label: bytes) -> Name:
        return (label, *self.apex)

    def allows(self, name: Name) -> bool:
        """Whether a name (lower case) may be asked of other servers."""
        return any(not one or name[-len(one) :] == one for one in self.allow)

    def find(self, name: Name) -> Found | None:
        """What is known of a name (lower case); None when it belongs to none of our zones."""
        if name[-len(self.apex) :] == self.apex:
            return self._forward(name[: -len(self.apex)])
        if name[-2:] == REVERSE:
            return self._reverse(name[:-2])
        return None

    def soa(self, apex: Name) -> Record:
        soa = Soa(
            self.below(SERVER), self.below(b"hostmaster"), self.serial, 300, 60, 86400, NEGATIVE_SECONDS
        )
        return Record(Kind.SOA, apex, NEGATIVE_SECONDS, soa)

    def _ns(self, apex: Name) -> Record:
        return Record(Kind.NS, apex, TTL_SECONDS, Target(self.below(SERVER)))

    def server_address(self) -> Record:
        return self._a(self.below(SERVER), self.server)

    def _a(self, name: Name, address: IPv4Address) -> Record:
        return Record(Kind.A, name, TTL_SECONDS, address)

    def _forward(self, relative: Name) -> Found:
        name = (*relative, *self.apex)
        match relative:
            case ():
                text = Text(f"DistServer http://{self.server}:{self.http_port}/")
                own = Record(Kind.TXT, name, TTL_SECONDS, text)
                return Found(
                    self.apex, True, (self._a(name, self.server), self._ns(name), self.soa(name), own)
                )
            case (label,) if label in ALIASES:
                return Found(self.apex, True, (self._a(name, self.server),))
            case (b"_tcp",) | (b"_udp",):
                return Found(self.apex, True)
            case (b"_distserver" | b"_http", b"_tcp"):
                return Found(self.apex, True, (self._srv(name, self.http_port),))
            case (b"_tftp", b"_udp"):
                return Found(self.apex, True, (self._srv(name, TFTP_PORT),))
            case (label,):
                addresses = self.hosts.get(label.decode("latin-1"), ())
                return Found(self.apex, bool(addresses), tuple(self._a(name, one) for one in addresses))
            case _:
                return Found(self.apex, False)

    def _srv(self, name: Name, port: int) -> Record:
        return Record(Kind.SRV, name, TTL_SECONDS, Srv(self.below(SERVER), port))

    def _reverse(self, labels: Name) -> Found | None:
        """A name below in-addr.arpa: 4 labels are an address, fewer a block of addresses."""
        octets = [label.decode("latin-1") for label in reversed(labels)][:4]
        try:
            start = IPv4Address(".".join([*octets, *["0"] * (4 - len(octets))]))
        except AddressValueError:
            return self._odd(labels)
        block = IPv4Network((start, 8 * len(octets)))
        for network in self.networks:
            depth = reverse_depth(network)
            if not block.overlaps(network) or len(octets) < depth:
                continue
            apex = (*labels[-depth:], *REVERSE)
            if len(labels) > 4:
                return Found(apex, False)
            if len(labels) == 4:
                return self._pointer(apex, start)
            here = (self._ns(apex), self.soa(apex)) if len(labels) == depth else ()
            return Found(apex, True, here)
        return None

    def _odd(self, labels: Name) -> Found | None:
        """A name that is no address: not there when it lies in a zone of ours."""
        for network in self.networks:
            depth = reverse_depth(network)
            above = self._reverse(labels[-depth:]) if len(labels) > depth else None
            if above:
                return Found(above.apex, False)
        return None

    def _pointer(self, apex: Name, address: IPv4Address) -> Found:
        hosts = (SERVER,) if address == self.server else self.names.get(address, ())
        own = (*reversed([b"%d" % octet for octet in address.packed]), *REVERSE)
        labels = [host if isinstance(host, bytes) else host.encode() for host in hosts]
        targets = [Target(self.below(label)) for label in labels]
        return Found(apex, bool(targets), tuple(Record(Kind.PTR, own, TTL_SECONDS, one) for one in targets))


def reverse_depth(network: IPv4Network) -> int:
    """How many octets name the network's reverse zone: DNS cuts at octets, so a /22 is four zones of a /24.

    A network smaller than a /24 shares its zone with others; what lies outside of it is not ours to answer.
    """
    return min(max(-(-network.prefixlen // 8), 1), 3)
