"""The farm process lets webhooks be told: by a process without rights, since it talks to strangers."""

import logging
import pwd
import threading
from collections.abc import Callable, Sequence

from appliance.courier import post
from appliance.model import Tree
from appliance.rights import unprivileged
from appliance.run import run
from appliance.services import Services

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
FAILED_SECONDS = 30.0
"""Before the process is started again that ended with a fault of its own."""


def keep_telling(open_services: Callable[[], Services], argv: Sequence[str]) -> None:
    """Start the process that tells, `argv`, whenever something waits to be told; for ever."""
    services = open_services()
    idle = threading.Event()
    while True:
        seconds = LOOK_SECONDS
        try:
            if services.webhooks.waits():
                rights = unprivileged(owner(services.tree), ())
                run([*rights, *argv], on_line=lambda line: log.info("%s", line))
        except Exception:
            log.exception("telling webhooks")
            seconds = FAILED_SECONDS
        idle.wait(seconds)


def tell(services: Services) -> None:
    """All that is due, in this process."""
    if sent := services.webhooks.send_due(post):
        log.info("%d messages to webhooks sent", sent)


def owner(tree: Tree) -> pwd.struct_passwd | None:
    """Whose the store is: the service user, or None for root."""
    uid = tree.store.stat().st_uid
    return pwd.getpwuid(uid) if uid else None
