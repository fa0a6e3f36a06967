"""Which pages are in docs/web.md."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.services import Services

DESK, PHONE = {"width": 1100, "height": 760}, {"width": 390, "height": 760}
TALL = {"width": 1100, "height": 1300}
MAC = "52:54:00:00:0a:{:02x}"
"""Of machines that only say hello."""


@dataclass(frozen=True)
class Shot:
    """A page, and what it is called in docs/screens."""

    name: str
    way: Callable[[Services], str]
    size: dict[str, int]


def newest(services: Services) -> str:
    return services.release_desk.releases("vm")[0].release.id


def newest_build(services: Services) -> str:
    return f"/build/{services.jobs()[0].id}"


def installed(services: Services) -> str:
    """The machine with the longest timeline."""
    known = services.machines()
    return max(known, key=lambda one: len(services.store.events.after(one.mac))).mac


SHOTS = (
    Shot("overview", lambda desk: "/", DESK),
    Shot("phone", lambda desk: "/", PHONE),
    Shot("machines", lambda desk: "/machines", DESK),
    Shot("machine", lambda desk: f"/machine/{installed(desk)}", TALL),
    Shot("arming", lambda desk: f"/machines/arm?mac={MAC.format(2)}", DESK),
    Shot("profile", lambda desk: "/profile/vm", DESK),
    Shot("release", lambda desk: f"/release/{newest(desk)}", DESK),
    Shot("channels", lambda desk: "/channels/vm", DESK),
    Shot("builds", lambda desk: "/builds", DESK),
    Shot("build", newest_build, DESK),
    Shot("cluster", lambda desk: "/cluster", DESK),
    Shot("doctor", lambda desk: "/doctor", DESK),
    Shot("webhooks", lambda desk: "/webhooks", DESK),
    Shot("audit", lambda desk: "/audit", DESK),
)
NAMES = tuple(one.name for one in SHOTS)
