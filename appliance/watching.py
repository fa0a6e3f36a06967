"""Reads the consoles that somebody watches on the web page, each in a thread of its own."""

import logging
import threading
from collections.abc import Callable

from appliance.services import Services

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
MOST = 16
"""Consoles that are read at a time; the others wait for their turn."""


def keep_watching(open_services: Callable[[], Services], stop: threading.Event) -> None:
    """Read what is watched until `stop` is set."""
    services = open_services()
    readers: dict[str, threading.Thread] = {}
    while not stop.is_set():
        try:
            readers = {mac: one for mac, one in readers.items() if one.is_alive()}
            for mac in services.consoles.due():
                if mac not in readers and len(readers) < MOST:
                    readers[mac] = threading.Thread(target=_read, args=(open_services, mac), daemon=True)
                    readers[mac].start()
        except Exception:
            log.exception("looking which consoles are watched")
        stop.wait(LOOK_SECONDS)
    services.store.close()


def _read(open_services: Callable[[], Services], mac: str) -> None:
    services = open_services()
    try:
        services.consoles.read(mac)
    except Exception:
        log.exception("reading the console of %s", mac)
    finally:
        services.store.close()
