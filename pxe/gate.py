"""The gate of boots by network, asked again at every step: what was allowed a moment ago may not be now."""

from appliance.model import NetBoot
from pxe.director import Director
from pxe.sightings import Sightings


def closed(director: Director, sightings: Sightings, mac: str) -> str | None:
    """Why a machine does not boot from the network now; None: it does."""
    target = director.boot_target(mac, sightings.firmware_of(mac))
    return None if isinstance(target, NetBoot) else target.reason
