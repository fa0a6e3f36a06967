"""Takes what installers and installed machines post, and answers so that busybox can read it."""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import web

from appliance.errors import Problem
from appliance.facts import named_mac
from appliance.stages import Stage
from pxe.director import Director
from pxe.http_limits import BODY_SECONDS
from pxe.malformed import printable
from pxe.policy import Here
from pxe.sightings import Sightings

log = logging.getLogger(__name__)


class Posts:
    """What installers tell. An answer they must read has status 200: busybox wget hides other bodies."""

    def __init__(self, director: Director, sightings: Sightings, here: Callable[[web.Request], Here]) -> None:
        """`here`: this server as who asks sees it."""
        self._director = director
        self._sightings = sightings
        self._here = here

    async def hello(self, request: web.Request) -> web.Response:
        return await self._arrives(request, self._director.hello)

    async def plan(self, request: web.Request) -> web.Response:
        # A machine that was armed before it booted has its token, and asks for its plan first of all.
        return await self._arrives(request, self._director.plan)

    async def _arrives(self, request: web.Request, answer: Callable[[str, str], str]) -> web.Response:
        """What an installer asks with its facts: it is there, whatever the answer."""

        def ask(body: str) -> str:
            text = answer(body, self._here(request).url)
            if mac := named_mac(body):
                self._sightings.progressed(mac, Stage.HELLO)
            return text

        return await self._answer(request, ask)

    async def event(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._director.event)

    async def installed(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._director.installed)

    async def enroll(self, request: web.Request) -> web.Response:
        return await self._answer(request, self._director.enroll)

    async def cluster_hello(self, request: web.Request) -> web.Response:
        address = request.remote or ""
        if mac := self._sightings.mac_at(address):
            self._sightings.progressed(mac, Stage.HELLO)
        return await self._answer(request, lambda body: self._director.cluster_hello(body, address))

    async def _answer(self, request: web.Request, ask: Callable[[str], str]) -> web.Response:
        # The tail of a build log may hold anything; a report is not lost for one odd byte.
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = (await request.read()).decode(errors="replace")
        except TimeoutError:
            return web.Response(status=408, text=f"the rest did not come within {BODY_SECONDS:.0f} s\n")
        try:
            text = ask(body)
        except Problem as problem:
            log.warning("%s of %s: %s", request.path, request.remote, printable(str(problem)))
            return web.Response(status=400, text=f"{problem}\n")
        return web.Response(text=text if text.endswith("\n") else f"{text}\n")
