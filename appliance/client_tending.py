"""What the farm does for installed machines all the time: signs their keys, leads releases to them."""

import logging
import pwd
import threading
from collections.abc import Callable, Sequence

from appliance.client_keys import ClientKeys
from appliance.errors import Problem
from appliance.services import Services
from appliance.site_model import Site
from appliance.web_address import door_names

log = logging.getLogger(__name__)

SIGN_LOOK_SECONDS = 0.5
LEAD_LOOK_SECONDS = 5.0
DOOR_LOOK_SECONDS = 60.0


def tend_clients(open_services: Callable[[], Services], addresses: Callable[[Site], Sequence[str]]) -> None:
    """Begin all of it, each in a thread of its own with a store of its own.

    `addresses` are those by which machines reach this host now.
    """

    def keep_door(services: Services) -> None:
        owner = services.tree.store.stat().st_uid
        if keep_door_certificate(
            services, addresses(services.live.now()), pwd.getpwuid(owner) if owner else None
        ):
            log.info("the door for machines has another certificate")

    _keep(open_services, keep_door, "renewing the certificate of the door for machines", DOOR_LOOK_SECONDS)
    _keep(open_services, sign_all, "signing keys of machines", SIGN_LOOK_SECONDS)
    _keep(open_services, lead, "leading rollouts", LEAD_LOOK_SECONDS)


def keep_door_certificate(services: Services, served: Sequence[str], user: pwd.struct_passwd | None) -> bool:
    """Have a certificate for the door that lasts, when there is one; whether it is another one.

    `user` is that of the boot process; None: it is root's own.
    """
    site = services.live.now()
    if not site.clients.port:
        return False
    keys = ClientKeys.below(services.tree)
    return keys.keep(site.name, door_names(site, tuple(served)), group=user.pw_gid if user else 0)


def sign_all(services: Services) -> None:
    """Sign every key that waits."""
    while one := services.clients.sign_next():
        log.info("machine %s: a key was taken up", one.mac)


def lead(services: Services) -> None:
    services.clients.lead()


def _keep(
    open_services: Callable[[], Services], work: Callable[[Services], None], doing: str, seconds: float
) -> None:
    def keep() -> None:
        services, idle = open_services(), threading.Event()
        while True:
            try:
                work(services)
            except Problem as problem:
                log.warning("%s: %s", doing, problem)
            except Exception:
                log.exception("%s", doing)
            idle.wait(seconds)

    threading.Thread(target=keep, daemon=True).start()
