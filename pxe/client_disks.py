"""The clients' side of encrypted disks: keys handed over while installing, and asked for at each start."""

from typing import Protocol

from aiohttp import web

from pxe.client_door import Route, body_of, machine_of


class DiskKeys(Protocol):
    def take(self, mac: str, body: bytes) -> None: ...

    def release(self, body: bytes, peer: str) -> str: ...


def routes(keys: DiskKeys) -> tuple[Route, ...]:
    """Of the clients' door. Who asks has only what lies beside its kernel: a secret, and no certificate."""

    async def take(request: web.Request) -> web.Response:
        keys.take(machine_of(request), await body_of(request))
        return web.json_response({"taken": True})

    async def release(request: web.Request) -> web.Response:
        return web.Response(text=keys.release(await body_of(request), request.remote or "nobody"))

    return (Route("POST", "/client/disk-keys", take), Route("POST", "/client/unlock", release))
