"""Who reads while releases are published: ours by channel and release, and the nearest peer's by links."""

import asyncio
import hashlib
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from appliance import statement
from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.store import Store
from buildfarm import index, manifest
from buildfarm.signing import Notary
from pxe.http import application
from pxe.sightings import Sightings
from tests.press import Press

READY_SECONDS = 30.0
HOST = "127.0.0.1"
PARTS = ("repos", "binpkgs", "etc-portage", "var-lib-portage")
"""What a generation consists of in gentoo-build-publisher's storage; each has a link of its own."""
Between = Callable[[], None]
"""Called after each request of a reader but the last."""


@contextmanager
def serving(make: Callable[[int], web.Application]) -> Iterator[str]:
    """An application on a free port of this host, in a thread that also makes it; its URL."""
    ready, urls = threading.Event(), list[str]()
    stopping: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        stopping.append((asyncio.get_running_loop(), stop))
        runner = web.AppRunner(make(0), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        urls.append(f"http://{HOST}:{runner.addresses[0][1]}")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(READY_SECONDS)
        yield urls[0]
    finally:
        loop, stop = stopping[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(READY_SECONDS)


def release_server(press: Press) -> Callable[[int], web.Application]:
    """The appliance's own HTTP server over its own boot desk."""

    def make(port: int) -> web.Application:
        channels = Channels(press.tree.path / "channels", press.notary.signed_text)
        desk = BootDesk(LiveSite(press.site), press.tree, Store(press.tree.store), channels, press.clock)
        return application(desk, press.tree.room("boot"), Sightings())

    return make


def link_server(place: Path) -> Callable[[int], web.Application]:
    """A web server over a directory of links."""

    def make(port: int) -> web.Application:
        app = web.Application()
        app.router.add_static("/", place, follow_symlinks=True)
        return app

    return make


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=READY_SECONDS) as answer:
        body: bytes = answer.read()
        return body


@dataclass
class Seen:
    """What a reader saw in all its rounds."""

    rounds: int = 0
    mixed: list[str] = field(default_factory=list)
    """A sentence for each round that saw parts of two generations, or something unsigned."""
    releases: set[str] = field(default_factory=set)
    serial: int = 0


def read_release(url: str, notary: Notary, seen: Seen, between: Between, scratch: Path) -> None:
    """One round of a client: the channel once, and then only what the release it names consists of."""
    seen.rounds += 1
    try:
        signed = fetch(f"{url}/c/vm/stable")
        said = statement.parse(notary.signed_text(signed, "the channel").decode())
        if said.serial < seen.serial:
            raise Problem(f"serial {said.serial} came after {seen.serial}")
        seen.serial = said.serial
        seen.releases.add(said.release)
        between()
        _read_files(f"{url}/r/{said.release}", said.release, notary, between, scratch)
    except (Problem, urllib.error.HTTPError) as wrong:
        seen.mixed.append(str(wrong))


def _read_files(base: str, release: str, notary: Notary, between: Between, scratch: Path) -> None:
    for name in ("manifest", "manifest.sig"):
        (scratch / name).write_bytes(fetch(f"{base}/{name}"))
        between()
    notary.check(scratch / "manifest", scratch / "manifest.sig")
    sealed = manifest.parse((scratch / "manifest").read_text())
    if sealed.id != release:
        raise Problem(f"release {release} has the manifest of {sealed.id}")
    files: Mapping[str, str] = {item.name: item.sha256 for item in sealed.files}
    packages = {item.sha256 for item in sealed.packages}
    listing = _fetch_checked(base, "Packages", files["Packages"])
    between()
    for name in ("tree-gentoo.sqfs", "portage.tar"):
        _fetch_checked(base, name, files[name])
        between()
    for fields in index.parse(listing.decode()).paragraphs:
        sha256 = Path(fields["PATH"]).name.partition(".")[0]
        if sha256 not in packages:
            raise Problem(f"the index names a package that {release} does not have")
        _fetch_checked(base, fields["PATH"], sha256)


def _fetch_checked(base: str, name: str, sha256: str) -> bytes:
    content = fetch(f"{base}/{name}")
    if hashlib.sha256(content).hexdigest() != sha256:
        raise Problem(f"{base}/{name} is of another generation")
    return content


@dataclass(frozen=True)
class Links:
    """Generations that are published link by link, as the nearest peer does it."""

    place: Path

    @property
    def live(self) -> Path:
        return self.place / "live"

    def make(self, generation: int) -> None:
        for part in PARTS:
            folder = self.place / "generations" / str(generation) / part
            folder.mkdir(parents=True)
            (folder / "content").write_text(str(generation))

    def publish(self, generation: int, between: Between = lambda: None) -> None:
        """Each link is replaced by one rename; all four are not."""
        self.live.mkdir(exist_ok=True)
        for part in PARTS:
            fresh = self.live / f".{part}"
            fresh.symlink_to(self.place / "generations" / str(generation) / part)
            fresh.rename(self.live / part)
            between()


def read_links(url: str, seen: Seen, between: Between) -> None:
    """One round of a client that asks for each part by its one name."""
    seen.rounds += 1
    found = []
    for part in PARTS:
        found.append(fetch(f"{url}/{part}/content").decode())
        between()
    seen.releases |= set(found)
    if len(set(found)) > 1:
        seen.mixed.append(f"generations {', '.join(found)} in one round")
