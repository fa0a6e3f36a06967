"""A lease of full DHCP: one address, who has it, and until when."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address


class LeaseState(Enum):
    BOUND = "bound"
    RELEASED = "released"
    """Given back, and remembered: its machine gets it again."""
    DECLINED = "declined"
    """Somebody else uses the address; nobody is offered it before the lease ends."""


@dataclass(frozen=True)
class Lease:
    """What is remembered of one address. Times are seconds of the server's steady clock (about Unix time)."""

    address: IPv4Address
    mac: str
    state: LeaseState
    since: float
    """When it came to this state; of a bound lease also when it was last renewed."""
    expires: float
    known: bool = True
    """False: nobody had made this machine known when it got the address."""
    port: str = ""
    """The relay's name for the port it came through (option 82), as hex; empty without one."""
    host: str = ""
    """How the machine calls itself, a host name in lower case; believe it no further than that."""

    def live(self, now: float) -> bool:
        """Does its machine have the address?"""
        return self.state is LeaseState.BOUND and now < self.expires

    def closed(self, now: float) -> bool:
        """May nobody else have the address?"""
        return self.state is not LeaseState.RELEASED and now < self.expires
