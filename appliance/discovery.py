"""Whose installer finds out what a machine is: of the newest releases, by the processor they are for."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from appliance.farm_model import Release
from appliance.profile_model import Profile

WIDE, NARROW, ARM64 = "amd64", "x86", "arm64"
"""Portage's names of the two kinds of x86, and of a machine whose boot program says what it is."""


@dataclass(frozen=True)
class Installers:
    wide: str | None
    """For any machine; None: there is no release."""
    narrow: str
    """For an x86 of 32 bits, when that is another one; else empty."""
    arm64: str
    """The same for an arm64."""


def installers(
    profiles: Mapping[str, Profile], newest: Callable[[Collection[str] | None], Release | None]
) -> Installers:
    """`newest` gives the newest sound release of any profile (None) or of those."""

    def of(arch: str) -> Release | None:
        return newest([name for name, profile in profiles.items() if profile.arch == arch])

    wide, narrow, arm64 = of(WIDE), of(NARROW), of(ARM64)
    # One for 32 bits runs on either; any is better than none.
    first = wide or narrow or newest(None)
    return Installers(
        first.id if first else None,
        narrow.id if wide and narrow else "",
        arm64.id if arm64 and arm64 != first else "",
    )
