"""A machine of the client yard that its server knows; all that it asks goes through counting relays."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from appliance.client_keys import ClientKeys
from appliance.client_tending import lead
from appliance.client_view import ClientView
from appliance.services import Services
from tests.client_yard import ADDRESS, DoorThread, settle
from tests.integration.clientyard import Yard
from tests.relay import Relay, relay

MAC = "52:54:00:00:00:01"
SETTINGS = '\n[client]\nspread = "0 s"\n'
WITNESS = """#!/bin/sh
# Every start of emerge leaves a line.
echo "$*" >>/var/log/emerge-starts
exec /usr/bin/emerge "$@"
"""


@dataclass(frozen=True)
class Enrolled:
    yard: Yard
    services: Services
    http: Relay
    door: Relay

    @property
    def received(self) -> int:
        return self.http.received + self.door.received

    @property
    def total(self) -> int:
        return self.http.total + self.door.total

    def clear(self) -> None:
        """Count from nothing, octets and starts of emerge."""
        self.http.clear()
        self.door.clear()
        (self.yard.machine.disk / "var/log/emerge-starts").unlink(missing_ok=True)

    def emerges(self) -> list[str]:
        place = self.yard.machine.disk / "var/log/emerge-starts"
        return place.read_text().splitlines() if place.is_file() else []

    def view(self) -> ClientView:
        return self.services.clients.view(self.services.machine(MAC))

    def stages(self) -> list[tuple[str, str]]:
        """(stage, status) of every event of updates."""
        events = [event for _, event in self.services.show_machine(MAC).events]
        return [(one.stage, one.status) for one in events if one.stage.startswith("update")]


@contextmanager
def enrolled(yard: Yard, place: Path) -> Iterator[Enrolled]:
    site, machine = yard.press.site, yard.machine
    profile = site / "profiles" / yard.farm.name
    if not profile.is_dir():
        shutil.copytree(site / "profiles/vm", profile)
        with (profile / "profile.toml").open("a") as settings:
            settings.write(SETTINGS)
    services = Services(site, yard.farm.tree)
    ClientKeys.below(services.tree).keep("lab", (ADDRESS,), group=0)
    lead(services)
    with (
        DoorThread(services).open() as opened,
        relay(opened.port) as door,
        relay(urlsplit(machine.server).port or 0) as http,
    ):
        identity = settle(services, MAC, place, door.port, profile=yard.farm.name)
        services.clients.sign_next()
        for one in identity.home.iterdir():
            machine.write(f"etc/distserver/{one.name}", one.read_bytes(), 0o600)
        machine.write("etc/distserver/server", f"http://{ADDRESS}:{http.port}\n".encode())
        machine.write("usr/local/sbin/emerge", WITNESS.encode(), 0o755)
        yield Enrolled(yard, services, http, door)
