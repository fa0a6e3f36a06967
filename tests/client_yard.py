"""The door of installed machines served for real, and machines with keys that come to it."""

import asyncio
import contextlib
import http.client
import json
import shutil
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from appliance.client_keys import ClientKeys
from appliance.clients import ClientDesk
from appliance.deadline import wait_until
from appliance.model import MachineState, Tree
from appliance.overlays import example_site
from appliance.run import run
from appliance.services import Services
from distserver_client.talking import Identity
from pxe.client_disks import routes as disk_routes
from pxe.client_door import MOST_CONNECTIONS, ClientDoor, Route
from pxe.client_merges import routes

ADDRESS = "127.0.0.1"
SOON_SECONDS = 15.0
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]


@dataclass
class DoorThread:
    """A door in a thread of its own, with a store of its own, as the boot process has it."""

    services: Services
    routes: Sequence[Route] = ()
    """Further questions in place of those on merges."""
    most: int = MOST_CONNECTIONS
    port: int = 0
    errors: list[BaseException] = field(default_factory=list)

    @contextlib.contextmanager
    def open(self) -> Iterator["DoorThread"]:
        stop, ready = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(stop, ready)), daemon=True)
        thread.start()
        wait_until(
            lambda: ready.is_set() or self.errors or None, seconds=SOON_SECONDS, what="the door is open"
        )
        try:
            yield self
        finally:
            stop.set()
            thread.join(SOON_SECONDS)
        assert not self.errors, self.errors

    async def _serve(self, stop: threading.Event, ready: threading.Event) -> None:
        own = Services(self.services.live.path, self.services.tree, self.services.clock)
        keys = ClientKeys.below(own.tree)
        desk: ClientDesk = own.desk.clients
        further = self.routes or (*routes(own.merges), *disk_routes(own.disk_keys))
        door = ClientDoor(desk, 0, pem=keys.served, authority=keys.authority, routes=further, most=self.most)
        address = IPv4Address(ADDRESS)
        door.attend(address)
        serving = asyncio.create_task(door.run())
        try:
            while not stop.is_set():
                if serving.done():
                    self.errors.append(serving.exception() or RuntimeError("the door closed by itself"))
                    return
                self.port = door.bound(address)
                if self.port:
                    ready.set()
                await asyncio.sleep(0.01)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            own.store.close()


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Caller:
    """Somebody who comes to the door, with or without a key and certificate."""

    port: int
    authority: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(self.authority))
        if self.certificate:
            made.load_cert_chain(self.certificate, self.key)
        return made

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        link = http.client.HTTPSConnection(ADDRESS, self.port, context=self.context(), timeout=SOON_SECONDS)
        with contextlib.closing(link):
            link.request(method, path, body)
            came = link.getresponse()
            return Answer(came.status, came.read().decode())


def open_services(place: Path) -> Services:
    """A site with the door's keys made."""
    site = Path(shutil.copytree(example_site(), place / "site"))
    services = Services(site, Tree(place / "state"))
    ClientKeys.below(services.tree).keep("lab", (ADDRESS, "localhost"), group=0)
    return services


def make_key(place: Path, name: str = "machine", kind: Sequence[str] = EC) -> tuple[Path, str]:
    """A key and its signing request."""
    key, request = place / f"{name}.key", place / f"{name}.csr"
    run(["openssl", "req", "-new", *kind, "-subj", "/CN=evil", "-keyout", key, "-out", request])
    return key, request.read_text()


def add_machine(services: Services, mac: str, *, channel: str = "stable", profile: str = "vm") -> str:
    """A machine that is being installed; its secret."""
    services.add_machine(mac, profile=profile)
    services.store.machines.set_channel(mac, channel)
    services.arm(mac)
    services.store.machines.move(mac, MachineState.INSTALLING)
    return services.store.tokens.issue(mac, "report", now=services.clock(), lifetime_seconds=3600)


def enrol(services: Services, mac: str, place: Path, port: int, **how: str) -> Caller:
    """A machine that was installed with a key of its own, and has its certificate."""
    secret = add_machine(services, mac, **how)
    key, request = make_key(place, mac.replace(":", ""))
    said = services.desk.enroll(f"report {secret}\n{request}")
    while services.clients.sign_next():
        pass
    services.store.machines.move(mac, MachineState.INSTALLED)
    pem = services.desk.clients.certificate(said.partition(" ")[2])
    assert pem
    certificate = key.with_suffix(".crt")
    certificate.write_text(pem)
    return Caller(port, services.clients.keys.authority, certificate, key)


def settle(services: Services, mac: str, place: Path, port: int, **how: str) -> Identity:
    """What the installer leaves on a machine that was installed; it has not fetched its certificate yet."""
    identity = Identity(place / mac.replace(":", ""))
    identity.home.mkdir()
    secret = add_machine(services, mac, **how)
    key, request = make_key(identity.home)
    assert key == identity.key
    services.desk.enroll(f"report {secret}\n{request}")
    services.store.machines.move(mac, MachineState.INSTALLED)
    identity.door.write_text(f"https://{ADDRESS}:{port}\n")
    shutil.copy(services.clients.keys.authority, identity.authority)
    return identity
