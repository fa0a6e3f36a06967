"""The farm's door for workers on other hosts: HTTP on a port of its own, every request signed."""

import asyncio
import hashlib
import json
import logging
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from appliance.desks.backlog import Unwanted
from appliance.desks.remote import Refused, RemoteDesk
from appliance.farm_model import Package
from appliance.signed import ONCE, SUM, Gate, Request, answer_sum
from appliance.store.history import Effort
from appliance.wire import plain, restore

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
MAX_JSON_BYTES = 64 << 20
SIZE_BYTES = 8
"""Hexadecimal digits before the JSON of a package."""
SIGNED = web.RequestKey("signed", Request)


def make_app(desk: RemoteDesk, secret: bytes, clock: Callable[[], float] = time.time) -> web.Application:
    """What is asked here: see HACKING.md, the protocol of the workers."""
    gate = Gate(secret, now=clock())

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = gate.judge(request.method, request.path_qs, request.headers, now=clock())
        if isinstance(asked, str):
            log.warning("%s %s from %s refused: %s", request.method, request.path, request.remote, asked)
            return web.Response(status=401, text=asked)
        request[SIGNED] = asked
        try:
            return await handler(request)
        except Unwanted as why:
            return answer({"error": str(why)}, request, secret, status=409)
        except (Refused, ValueError, KeyError, TypeError, asyncio.IncompleteReadError) as why:
            log.warning("%s sent %s: %s", asked.name, request.path, why)
            return answer({"error": f"{type(why).__name__}: {why}"}, request, secret, status=400)

    doorman = Doorman(desk, secret)
    app = web.Application(middlewares=[guard], client_max_size=MAX_JSON_BYTES)
    app.router.add_post("/farm/{verb}", doorman.post)
    app.router.add_get("/farm/blob/{sha256}", doorman.blob)
    app.router.add_get("/farm/distfile/{name}", doorman.distfile)
    app.router.add_put("/farm/package/{job}", doorman.package)
    return app


class Doorman:
    def __init__(self, desk: RemoteDesk, secret: bytes) -> None:
        self.desk = desk
        self.secret = secret

    async def post(self, request: web.Request) -> web.Response:
        """Small questions: JSON in, signed JSON out."""
        asked = request[SIGNED]
        raw = await request.read()
        if hashlib.sha256(raw).hexdigest() != asked.body:
            raise Refused("the body is not the signed one")
        return answer(self._do(request.match_info["verb"], asked.name, json.loads(raw)), request, self.secret)

    def _do(self, verb: str, worker: str, said: dict[str, Any]) -> dict[str, Any]:
        job = int(said["job"])
        match verb:
            case "beat":
                return {"own": self.desk.beat(worker, job)}
            case "take":
                return {"bundle": json.loads(self.desk.take(worker, job))}
            case "known":
                known = self.desk.known(worker, job, restore(dict[str, str], said["keys"]))
                return {"packages": plain(known.packages), "waits_for": known.waits_for}
            case "note":
                self.desk.note(worker, job, str(said["message"]))
            case "end":
                self.desk.end(worker, job, str(said["state"]), str(said["message"]))
            case _:
                raise Refused(f"there is no question {verb!r}")
        return {}

    async def blob(self, request: web.Request) -> web.StreamResponse:
        return _file(self.desk.blob(request.match_info["sha256"]))

    async def distfile(self, request: web.Request) -> web.StreamResponse:
        return _file(self.desk.distfile(request.match_info["name"]))

    async def package(self, request: web.Request) -> web.Response:
        """A finished package: how long the JSON about it is, that, its bytes. Looked at before it enters."""
        asked = request[SIGNED]
        room = self.desk.incoming()
        room.mkdir(mode=0o700, exist_ok=True)
        size = await request.content.readexactly(SIZE_BYTES)
        head = await request.content.readexactly(min(int(size, 16), MAX_JSON_BYTES))
        digest = hashlib.sha256(size + head)
        with tempfile.NamedTemporaryFile(dir=room, suffix=".part") as part:
            content = hashlib.sha256()
            async for chunk in request.content.iter_chunked(1 << 20):
                digest.update(chunk)
                content.update(chunk)
                part.write(chunk)
            part.flush()
            if digest.hexdigest() != asked.body:
                raise Refused("the body is not the signed one")
            said = json.loads(head)
            package: Package = restore(Package, said["package"])
            if content.hexdigest() != package.sha256:
                raise Refused(f"{package.cpv}: its bytes have another hash than it is said to have")
            effort: Effort = restore(Effort, said["effort"])
            # Hashing takes seconds, in which other workers are to be heard.
            parts: dict[str, str] = restore(dict[str, str], said["parts"])
            entered = await asyncio.to_thread(self.desk.enter, package, parts, Path(part.name))
        self.desk.remember(asked.name, int(request.match_info["job"]), entered, parts, effort)
        return answer({}, request, self.secret)


def answer(said: dict[str, Any], request: web.Request, secret: bytes, *, status: int = 200) -> web.Response:
    body = json.dumps(said).encode()
    proof = answer_sum(secret, request.headers[ONCE], status, body)
    return web.Response(status=status, body=body, content_type="application/json", headers={SUM: proof})


def _file(found: Path | None) -> web.StreamResponse:
    """Bytes that the worker compares with a hash it knows."""
    return web.FileResponse(found) if found else web.Response(status=404)


async def serve(app: web.Application, address: str, port: int) -> None:
    """Until a signal says stop."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    log.info("workers: http://%s:%d", address, port)
    await stop.wait()
    await runner.cleanup()
