"""The addresses of full DHCP in memory: who has which, and which one a machine gets next."""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from itertools import chain, islice

from appliance.dhcp_settings import Subnet
from appliance.leases import Lease, LeaseState

HOLD_SECONDS = 20.0
"""How long an offered address waits for its REQUEST: edk2 collects offers for 4 s, iPXE for 2 s. Who only
sends DISCOVERs holds an address no longer."""
QUARANTINE_SECONDS = 3600.0
"""How long an address that somebody else uses is left alone."""
MOST_DECLINES = 3
"""Addresses that one machine can put into quarantine at a time."""


@dataclass(frozen=True)
class Hold:
    """An address that was offered and not yet asked for; only remembered in memory."""

    address: IPv4Address
    mac: str
    until: float
    port: str = ""


@dataclass(frozen=True)
class Nothing:
    """No address, and why."""

    reason: str
    exhausted: bool = False
    """The range is too small: a person should know."""


class Leases:
    """An index of leases and holds. It has at most one entry for each address that is given out."""

    def __init__(self, kept: Iterable[Lease] = ()) -> None:
        self._at: dict[IPv4Address, Lease] = {}
        self._of: dict[str, set[IPv4Address]] = {}
        self._through: dict[str, set[IPv4Address]] = {}
        self._holds: dict[IPv4Address, Hold] = {}
        self._held_by: dict[str, Hold] = {}
        for lease in kept:
            self.put(lease)

    def put(self, lease: Lease) -> None:
        """Remember a lease in the place of what was known of its address."""
        before = self._at.get(lease.address)
        if before:
            _take(self._of, before.mac, lease.address)
            _take(self._through, before.port, lease.address)
        self._at[lease.address] = lease
        self._of.setdefault(lease.mac, set()).add(lease.address)
        if lease.port:
            self._through.setdefault(lease.port, set()).add(lease.address)
        hold = self._holds.get(lease.address)
        if hold and lease.state is not LeaseState.RELEASED:
            self.drop(hold.mac)

    def hold(self, hold: Hold) -> None:
        """A machine holds one address at a time."""
        self.drop(hold.mac)
        other = self._holds.get(hold.address)
        if other:
            self.drop(other.mac)
        self._holds[hold.address] = hold
        self._held_by[hold.mac] = hold

    def drop(self, mac: str) -> None:
        """Forget what was offered to a machine."""
        hold = self._held_by.pop(mac, None)
        if hold:
            del self._holds[hold.address]

    def at(self, address: IPv4Address) -> Lease | None:
        return self._at.get(address)

    def of(self, mac: str, subnet: Subnet) -> list[Lease]:
        """What a machine has or had on a subnet, the newest first."""
        found = (self._at[address] for address in self._of.get(mac, ()))
        own = (one for one in found if one.address in subnet.network)
        return sorted(own, key=lambda one: (-one.since, one.address))

    def held(self, mac: str, now: float) -> Hold | None:
        hold = self._held_by.get(mac)
        return hold if hold and now < hold.until else None

    def holder(self, address: IPv4Address, now: float) -> str | None:
        """Who has an address, was offered it, or keeps others from it by a quarantine."""
        lease = self._at.get(address)
        if lease and lease.closed(now):
            return lease.mac if lease.state is LeaseState.BOUND else ""
        hold = self._holds.get(address)
        return hold.mac if hold and now < hold.until else None

    def strangers_behind(self, port: str, now: float) -> set[str]:
        """The unknown machines that have or were offered an address through one port of a relay."""
        leases = (self._at[address] for address in self._through.get(port, ()))
        live = {one.mac for one in leases if one.live(now) and not one.known}
        return live | {one.mac for one in self._holds.values() if one.port == port and now < one.until}

    def declined_by(self, mac: str, now: float) -> int:
        found = (self._at[address] for address in self._of.get(mac, ()))
        return sum(one.state is LeaseState.DECLINED and one.closed(now) for one in found)


def _take(index: dict[str, set[IPv4Address]], key: str, address: IPv4Address) -> None:
    kept = index.get(key)
    if kept:
        kept.discard(address)
        if not kept:
            del index[key]


@dataclass(frozen=True)
class Wish:
    """Who needs an address, and which one it would like."""

    mac: str
    known: bool = True
    fixed: IPv4Address | None = None
    requested: IPv4Address | None = None


def choose(
    wish: Wish,
    subnet: Subnet,
    leases: Leases,
    *,
    reserved: frozenset[IPv4Address],
    now: float,
) -> IPv4Address | Nothing:
    """The address for a machine: the one it has, had, was offered, asks for, or a new one (RFC 2131, 4.3.1).

    `reserved` are addresses nobody gets from the range: of fixed machines, of this server, of routers.
    """
    if wish.fixed:
        return _fixed(wish.fixed, wish.mac, subnet, leases, now=now)

    def free(address: IPv4Address) -> bool:
        return (
            subnet.covers(address)
            and address not in reserved
            and leases.holder(address, now) in (None, wish.mac)
        )

    hold = leases.held(wish.mac, now)
    own = leases.of(wish.mac, subnet)
    liked = [one.address for one in own if one.live(now)]
    liked += [hold.address] if hold else []
    liked += [one.address for one in own if one.state is not LeaseState.DECLINED]
    liked += [wish.requested] if wish.requested else []
    return next((address for address in liked if free(address)), None) or _new(
        wish, subnet, leases, reserved=reserved, now=now
    )


def _fixed(
    address: IPv4Address, mac: str, subnet: Subnet, leases: Leases, *, now: float
) -> IPv4Address | Nothing:
    if address not in subnet.network:
        return Nothing(f"its fixed address {address} is not on the subnet {subnet.network} it asks from")
    holder = leases.holder(address, now)
    if holder in (None, mac):
        return address
    return Nothing(
        f"its fixed address {address} is in use by {holder or 'a machine with an address of its own'}"
    )


def _new(
    wish: Wish, subnet: Subnet, leases: Leases, *, reserved: frozenset[IPv4Address], now: float
) -> IPv4Address | Nothing:
    """An address nobody ever had, else the one that has been free for the longest time.

    Where the search starts depends on the MAC alone: a machine gets the same address from an empty store, and
    two servers that lost it do not give the first address to everybody.
    """
    pool = addresses(subnet)
    # A quarter of the range is kept for known machines, however many strangers come.
    room = len(pool) if wish.known else max(len(pool) * 3 // 4, 1)
    start = zlib.crc32(wish.mac.encode()) % room if room else 0
    oldest: Lease | None = None
    for address in chain(islice(pool, start, room), islice(pool, start)):
        if address in reserved or leases.holder(address, now) is not None:
            continue
        lease = leases.at(address)
        if lease is None:
            return address
        if oldest is None or (lease.expires, lease.address) < (oldest.expires, oldest.address):
            oldest = lease
    if oldest:
        return oldest.address
    kept = "" if wish.known else " for machines nobody made known"
    return Nothing(f"all {room} addresses of {subnet.network}{kept} are taken", exhausted=True)


@lru_cache(maxsize=64)
def addresses(subnet: Subnet) -> tuple[IPv4Address, ...]:
    """Every address of a subnet's ranges, in order."""
    return tuple(
        IPv4Address(number) for first, last in subnet.ranges for number in range(int(first), int(last) + 1)
    )
