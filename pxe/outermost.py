"""The outermost handler of an HTTP server: nothing a machine sends ends it or brings up a traceback."""

import asyncio
import logging

from aiohttp import web
from aiohttp.typedefs import Handler

from pxe.http_limits import Limits
from pxe.malformed import printable

log = logging.getLogger(__name__)

LIMITS = web.AppKey("limits", Limits)


async def handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What `handler` answers, while the application's limits know of the question."""
    limits, transport = request.app[LIMITS], request.transport
    limits.began(transport)
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except ConnectionError as gone:
        # UEFI firmware resets connections it has no more use for.
        log.debug("%s went away from %s: %s", request.remote, printable(request.path), gone)
        if request.transport:
            request.transport.abort()
        # Reaches nobody; aiohttp logs a traceback for a handler that returns nothing.
        return web.Response()
    except Exception:
        log.exception("%s of %s for %s failed", request.method, printable(request.path), request.remote)
        return web.Response(status=500, text="this server made a mistake; its log says which\n")
    finally:
        limits.ended(transport, asyncio.get_running_loop().time())
