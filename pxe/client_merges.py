"""The clients' side of configuration merges: questions posted, contents given, answers fetched."""

import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from appliance.errors import Problem
from appliance.merge_model import MOST_BODY_BYTES, MOST_FILE_BYTES, Full, Posting, read_posting
from pxe.client_door import Route, body_of, machine_of
from pxe.malformed import printable

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Merges(Protocol):
    def ask(self, machine: str, posting: Posting) -> list[dict[str, object]]: ...

    def news(self, machine: str) -> list[dict[str, object]]: ...

    def give(self, machine: str, sha256: str, content: bytes) -> None: ...

    def content_for(self, machine: str, sha256: str) -> bytes | None: ...


def routes(merges: Merges) -> tuple[Route, ...]:
    """Of the clients' door; what a client sends wrongly is answered with one sentence."""
    desk = _Handlers(merges)
    return (
        Route("POST", "/client/merges", _guarded(desk.ask)),
        Route("GET", "/client/merges", _guarded(desk.news)),
        Route("PUT", "/client/blob/{sha256}", _guarded(desk.give)),
        Route("GET", "/client/blob/{sha256}", _guarded(desk.get)),
    )


class _Handlers:
    def __init__(self, merges: Merges) -> None:
        self._merges = merges

    async def ask(self, request: web.Request) -> web.Response:
        machine = machine_of(request)
        return web.json_response(
            self._merges.ask(machine, read_posting(await body_of(request, MOST_BODY_BYTES)))
        )

    async def news(self, request: web.Request) -> web.Response:
        return web.json_response(self._merges.news(machine_of(request)))

    async def give(self, request: web.Request) -> web.Response:
        machine = machine_of(request)
        content = await body_of(request, MOST_FILE_BYTES)
        self._merges.give(machine, request.match_info["sha256"], content)
        return web.json_response({"state": "kept"})

    async def get(self, request: web.Request) -> web.Response:
        content = self._merges.content_for(machine_of(request), request.match_info["sha256"])
        if content is None:
            return web.json_response({"error": "no answer for this machine has such a content"}, status=404)
        return web.Response(body=content, content_type="application/octet-stream")


def _guarded(handler: Handler) -> Handler:
    async def guarded(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except Problem as problem:
            log.warning("%s of %s: %s", printable(request.path), request.remote, printable(str(problem)))
            return web.json_response(
                {"error": str(problem)}, status=413 if isinstance(problem, Full) else 400
            )

    return guarded
