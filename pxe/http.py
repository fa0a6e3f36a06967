"""Serves boot programs, scripts and releases over HTTP, and takes what installers post."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path, PurePath

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from appliance.stages import Stage
from pxe import gate, mirror
from pxe.asked import TEXTS, classify
from pxe.director import Director
from pxe.http_limits import Limits
from pxe.http_posts import Posts
from pxe.malformed import printable
from pxe.names import Names, stage_of
from pxe.outermost import LIMITS, handled
from pxe.policy import Here
from pxe.script import script_of, wait_script
from pxe.sightings import Sightings
from pxe.turns import Turns

log = logging.getLogger(__name__)

# What aiohttp itself has to say of a connection.
protocol_log = logging.getLogger(f"{__name__}.protocol")

LONGEST_BODY = 64 * 1024
# Fetching these two is a stage of a machine's timeline.
TIMED = (Stage.KERNEL, Stage.INSTALLER)

# Releases and packages are named by their content; a proxy may keep them. A channel is asked for each time.
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
NEVER_KEPT = {"Cache-Control": "no-store"}

FRONT = web.AppKey("front", int)

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
# No name of ours begins with a dot, so none leads out of its directory.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+:-]{0,200}")

# UEFI HTTP boot decides by the type whether it got a program or a disk image.
_TYPES = {".efi": "application/efi", ".iso": "application/vnd.efi-iso", ".img": "application/vnd.efi-img"}


def application(
    director: Director,
    boot_dir: Path,
    sightings: Sightings,
    interfaces: Callable[[], tuple[str, ...]] = lambda: (),
    *,
    front: int = 0,
) -> web.Application:
    """The web application; it logs what requests did and tells machines the address they came to.

    `interfaces`: those it is reached by; how many machines fetch at a time depends on their speed.
    `front`: the port of another web server on this host through which machines come, 0 for none.
    """
    files = _Files(director, boot_dir, sightings, Turns(director, interfaces))
    posts = Posts(director, sightings, _here)
    # A larger body is refused with 413 as soon as it is read.
    app = web.Application(client_max_size=LONGEST_BODY, middlewares=[_guard])
    app[FRONT] = front
    app[LIMITS] = Limits(front=bool(front))
    app.router.add_post("/hello", posts.hello, expect_handler=_expect)
    app.router.add_post("/plan", posts.plan, expect_handler=_expect)
    app.router.add_post("/event", posts.event, expect_handler=_expect)
    app.router.add_post("/installed", posts.installed, expect_handler=_expect)
    app.router.add_post("/enroll", posts.enroll, expect_handler=_expect)
    app.router.add_post("/cluster/hello", posts.cluster_hello, expect_handler=_expect)
    app.router.add_get("/{path:.*}", files.get, expect_handler=_expect)
    return app


def _senders_fault(record: logging.LogRecord) -> bool:
    """Bytes that are no HTTP are a line with their sender, not a traceback."""
    wrong = record.exc_info[1] if record.exc_info else None
    if isinstance(wrong, HttpProcessingError):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = f"{record.getMessage()}: {type(wrong).__name__}"
        record.args = record.exc_info = record.exc_text = None
    return True


protocol_log.addFilter(_senders_fault)


async def _expect(request: web.Request) -> None:
    """Tell a client that waits for it to go on. aiohttp's own has a traceback for what is no text."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="this server expects nothing but 100-continue\n")
    with contextlib.suppress(ConnectionError):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # It counts as none of the answer.
        request.writer.output_size = 0


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    return await handled(request, lambda asked: handler(_through_front(asked)))


def _through_front(request: web.Request) -> web.Request:
    """The question as the front had it: only from there, and from this host, its word on who asks counts."""
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    name = request.get_extra_info("sockname")
    if not request.app[FRONT] or not told or not name or request.remote not in ("127.0.0.1", name[0]):
        return request
    try:
        return request.clone(remote=str(IPv4Address(told)))
    except AddressValueError:
        return request


def _here(request: web.Request) -> Here:
    """This server as the machine sees it: the address and port its connection came to."""
    name = request.get_extra_info("sockname")
    if not name:
        raise ConnectionResetError("the connection is closed")
    return Here(IPv4Address(name[0]), request.app[FRONT] or name[1])


def _asker(request: web.Request) -> str:
    """The MAC a machine names in its question, empty when it names none."""
    mac = request.query.get("mac", "").lower()
    return mac if _MAC.fullmatch(mac) else ""


class _Files:
    def __init__(self, director: Director, boot_dir: Path, sightings: Sightings, turns: Turns) -> None:
        self._turns = turns
        self._director = director
        self._names = Names(director, boot_dir, sightings)
        self._sightings = sightings

    async def get(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD of everything. Doubled slashes are one: shim asks for /boot//grubx64.efi."""
        parts = [part for part in request.path.split("/") if part]
        if parts[:1] == ["distfiles"]:
            return self._distfile(request, parts[1:])
        if not all(_NAME.fullmatch(part) for part in parts):
            raise web.HTTPNotFound(text="no such file\n")
        match parts:
            case ["boot", name] if name.endswith(".ipxe") and _MAC.fullmatch(name[:-5].lower()):
                return self._script(request, name[:-5].lower())
            case ["boot", *rest] if rest:
                return self._boot(request, "/".join(rest))
            case ["profiles"]:
                return web.Response(text=self._director.profiles(), headers=NEVER_KEPT)
            case ["c", profile, channel]:
                return self._channel(profile, channel)
            case ["r", release, name]:
                path = self._director.release_file(release, name)
                if name not in TIMED or not (mac := _asker(request)):
                    return self._install_file(request, path)
                self._check_gate(mac, name)
                return self._file(request, path, stage=Stage(name), mac=mac, headers=FOR_EVER)
            # An index without a URI line means places below the release itself.
            case ["r", release, "pool", *relative] if relative:
                known = self._director.release_file(release, "manifest")
                path = self._director.pool_file("/".join(relative)) if known else None
                return self._file(request, path, headers=FOR_EVER)
            case ["pool", *relative] if relative:
                return self._file(request, self._director.pool_file("/".join(relative)), headers=FOR_EVER)
            case ["cluster", "orders", name]:
                return self._file(request, self._director.cluster_orders(name))
            case ["toolchain", name]:
                return self._file(request, self._director.toolchain_file(name), headers=FOR_EVER)
        # Boot loaders look beside themselves and at the root for what they are to do.
        return self._boot(request, "/".join(parts))

    def _install_file(self, request: web.Request, path: Path | None) -> web.StreamResponse:
        """A file of a release for an installer, which may have to wait for its turn."""
        who = self._turns.install(request) if path else ""
        if not who or path is None:
            return self._file(request, path, headers=FOR_EVER)
        return _WatchedFile(
            path,
            _headers(path, FOR_EVER),
            began=lambda: self._turns.installs(who),
            ended=lambda size, seconds: self._turns.installed(who),
        )

    def _boot(self, request: web.Request, name: str) -> web.StreamResponse:
        asked = classify(name)
        if request.method != "GET" and asked and asked.wanted in TEXTS:
            raise web.HTTPMethodNotAllowed(request.method, ["GET"])
        found = self._names.resolve(name, request.remote or "", _here(request))
        if isinstance(found, bytes):
            kind = _TYPES.get(PurePath(name).suffix, "text/plain")
            return web.Response(body=found, content_type=kind, headers=NEVER_KEPT)
        mac, stage = self._sightings.mac_at(request.remote or ""), stage_of(name)
        if not mac or stage is None:
            return self._file(request, found)
        return self._file(request, found, stage=stage, mac=mac)

    def _distfile(self, request: web.Request, parts: Sequence[str]) -> web.StreamResponse:
        if list(parts) == ["layout.conf"]:
            return web.Response(text=mirror.LAYOUT)
        name = mirror.distfile(parts)
        return self._file(request, self._director.distfile(name) if name else None)

    def _script(self, request: web.Request, mac: str) -> web.Response:
        if request.method != "GET":
            # A script may carry a token that is good once: no one gets it without its text.
            raise web.HTTPMethodNotAllowed(request.method, ["GET"])
        firmware = self._sightings.firmware_of(mac)
        here = _here(request)
        if request.remote:
            self._sightings.saw_address(mac, request.remote)
        if text := self._waits(request, mac, here):
            return web.Response(text=text, headers=NEVER_KEPT)
        target, text = script_of(self._director, mac, firmware, here)
        log.info("%s gets its script: %s, %s", mac, type(target).__name__, printable(target.reason))
        self._director.record(mac, Stage.SCRIPT, size_bytes=len(text), message=target.reason)
        self._sightings.finished(mac, Stage.SCRIPT)
        return web.Response(text=text, headers=NEVER_KEPT)

    def _waits(self, request: web.Request, mac: str, here: Here) -> str:
        """The script for a machine whose turn has not come; empty: it may go on."""
        if gate.closed(self._director, self._sightings, mac) is not None:
            return ""
        turn = self._turns.script(mac, request.query.get("since", ""))
        self._sightings.progressed(mac, Stage.SCRIPT)
        if turn.admitted:
            return ""
        if turn.first:
            said = f"waits for its turn, {turn.before} come first"
            self._director.record(mac, Stage.SCRIPT, status="note", message=said)
        return wait_script(mac, here, seconds=turn.wait_seconds, before=turn.before, since=turn.since)

    def _check_gate(self, mac: str, name: str) -> None:
        """Whoever asks for a kernel as a machine gets it only while that machine is to boot it.

        A script that was fetched before the machine was disarmed or installed counts no more. It is the
        same gate that DHCP and the script went through.
        """
        why = gate.closed(self._director, self._sightings, mac)
        if why is not None:
            log.info("%s asks for a %s and gets none: %s", mac, name, printable(why))
            text = f"{mac} does not boot from the network: {why}\n"
            raise web.HTTPForbidden(text=text, headers=NEVER_KEPT)

    def _channel(self, profile: str, channel: str) -> web.Response:
        text = self._director.channel_text(profile, channel)
        if text is None:
            raise web.HTTPNotFound(text="no such channel\n", headers=NEVER_KEPT)
        return web.Response(body=text, content_type="text/plain", charset="utf-8", headers=NEVER_KEPT)

    def _file(
        self,
        request: web.Request,
        path: Path | None,
        *,
        stage: Stage | None = None,
        mac: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> web.StreamResponse:
        """A file; with `stage` that stage of the boot of `mac` is fetched with it."""
        # Nothing that is served is a link; one that somebody put there could lead anywhere.
        if path is None or path.is_symlink() or not path.is_file():
            raise web.HTTPNotFound(text="no such file\n", headers=NEVER_KEPT)
        headers = _headers(path, headers)
        if stage is None or request.method != "GET":
            return _SentFile(path, headers=headers)
        if stage in TIMED:
            self._turns.kernel(mac, request)
        self._sightings.progressed(mac, stage)
        said = path.name if stage is Stage.PROGRAM else ""

        def began() -> None:
            if stage in TIMED:
                self._turns.began(mac)

        def ended(size: int | None, seconds: float) -> None:
            if stage in TIMED:
                self._turns.ended(mac, last=stage is Stage.INSTALLER and size is not None)
            if size is None:
                return
            log.info("%s got %s, %s bytes in %.2f s", mac, path.name, size, seconds)
            self._director.record(mac, stage, size_bytes=size, seconds=seconds, message=said)
            self._sightings.finished(mac, stage)

        return _WatchedFile(path, headers, began=began, ended=ended)


def _headers(path: Path, more: Mapping[str, str] | None) -> Mapping[str, str]:
    return {"Content-Type": _TYPES.get(path.suffix, "application/octet-stream"), **(more or {})}


class _SentFile(web.FileResponse):
    """A file. It is sent after its handler returned, and its connection is not left behind meanwhile."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        assert isinstance(request, web.Request)
        limits, transport = request.app[LIMITS], request.transport
        limits.began(transport)
        try:
            return await super().prepare(request)
        finally:
            limits.ended(transport, asyncio.get_running_loop().time())


class _WatchedFile(_SentFile):
    """A file that says when it is sent and was: its bytes and seconds, or None when not all of it was."""

    def __init__(
        self,
        path: Path,
        headers: Mapping[str, str],
        *,
        began: Callable[[], None],
        ended: Callable[[int | None, float], None],
    ) -> None:
        super().__init__(path, headers=headers)
        self._began = began
        self._ended = ended

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        clock = asyncio.get_running_loop().time
        started = clock()
        size = None
        self._began()
        try:
            # Preparing a FileResponse sends the file.
            writer = await super().prepare(request)
            # Of a file fetched in ranges each part would be a stage of its own: only a whole one counts.
            size = self.content_length if self.status == 200 else None
        finally:
            self._ended(size, clock() - started)
        return writer
