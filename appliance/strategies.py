"""How a boot server may word its OFFER to a firmware, and who says which wording a machine gets."""

from dataclasses import dataclass
from enum import Enum


class Strategy(Enum):
    """One way to tell a firmware what to boot; no single one works on every firmware."""

    BINL = "binl"
    """No option 43: the firmware asks port 4011 (BINL is edk2's word for that)."""
    DIRECT = "direct"
    """Option 43 says: there is a boot file, just fetch it."""
    MENU = "menu"
    """Option 43 has a boot menu of one item that is chosen at once on port 4011."""
    PLAIN = "plain"
    """Without option 60: for firmware that ignores the boot file of what calls itself PXEClient."""


class Source(Enum):
    """Who prefers a strategy, the strongest first."""

    SITE = "site"
    """An admin: nothing else is tried."""
    MACHINE = "machine"
    """This machine followed it."""
    KIND = "kind"
    """A machine of the same vendor class, manufacturer and architecture followed it."""


@dataclass(frozen=True)
class Preference:
    strategy: Strategy
    source: Source
