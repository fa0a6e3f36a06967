"""Compile hosts, lending machines, the doctor and images in the API: what it takes, answers and does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from appliance.account_model import Role
from appliance.services import Services
from appliance.store.errands import ErrandKind
from webui.api import shapes
from webui.api.operation import Absent, Operation, looking
from webui.api.schema import Rule

HOST = "/cluster/hosts/{host}"
IMAGE = "/releases/{release}/images/{kind}"
KINDS = ("online", "offline")


@dataclass(frozen=True)
class NewHost:
    """A compile host that may be used."""

    name: Annotated[str, Rule("a host name", pattern="[A-Za-z0-9][A-Za-z0-9.-]{0,62}")]
    address: Annotated[str, Rule("empty: its hello's, or by its name")] = ""
    slots: Annotated[int, Rule("0: as many as it says", least=0, most=4096)] = 0
    arch: Annotated[str, Rule("empty: as it says")] = ""


@dataclass(frozen=True)
class Reason:
    """Why a host is kept out."""

    reason: Annotated[str, Rule("a sentence", pattern=".{1,200}")]


@dataclass(frozen=True)
class HostAsked:
    """The host that was changed; `/cluster/hosts` shows what follows."""

    name: str


@dataclass(frozen=True)
class ToolchainAsked:
    """The toolchain that the farm orders onto the hosts."""

    toolchain: str


@dataclass(frozen=True)
class Examination:
    """Whether the network is being examined; times are seconds since the epoch."""

    under_way: bool
    examined_at: float | None
    findings: tuple[shapes.Found, ...]
    said: str


@dataclass(frozen=True)
class Image:
    """An installation image of a release."""

    release: str
    kind: str
    name: str
    state: str
    said: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class RevokedImage:
    """An image that allows nothing any more."""

    id: str
    machine: str


def add_host(desk: Services, body: NewHost) -> HostAsked:
    known = {"address": body.address, "slots": body.slots, "arch": body.arch}
    desk.hosts.add(body.name, **known, who=desk.audit.who)  # type: ignore[arg-type]
    return HostAsked(body.name)


def quarantine_host(desk: Services, host: str, body: Reason) -> HostAsked:
    desk.hosts.quarantine(name_of(desk, host), body.reason, who=desk.audit.who)
    return HostAsked(host)


def changer(act: Callable[[Services], Callable[..., None]]) -> Callable[[Services, str], HostAsked]:
    def change(desk: Services, host: str) -> HostAsked:
        act(desk)(name_of(desk, host), who=desk.audit.who)
        return HostAsked(host)

    return change


def name_of(desk: Services, host: str) -> str:
    with looking():
        return desk.hosts.host(host).name


def order_toolchain(desk: Services, toolchain: str) -> ToolchainAsked:
    with looking():
        desk.hosts.order(toolchain, who=desk.audit.who)
    return ToolchainAsked(toolchain)


def lender(lends: bool) -> Callable[[Services, str], shapes.Machine]:
    def lend(desk: Services, machine: str) -> shapes.Machine:
        with looking():
            known = desk.machine(machine)
        desk.hosts.lend(known, lends, who=desk.audit.who)
        return shapes.machine(desk.machine(known.mac))

    return lend


def show_examination(desk: Services) -> Examination:
    seen = desk.examinations.look()
    found = seen.last.found if seen.last else ()
    findings = tuple(
        shapes.Found(one.interface, each.level.name.lower(), each.subject, each.said, each.fix)
        for one in found
        for each in one.findings
    )
    newest = seen.under_way or seen.failed
    return Examination(
        seen.under_way is not None, seen.last.ended_at if seen.last else None, findings,
        newest.said if newest else "",
    )  # fmt: skip


def examine_network(desk: Services) -> Examination:
    desk.examinations.want(who=desk.audit.who)
    return show_examination(desk)


def show_image(desk: Services, release: str, kind: str) -> Image:
    with looking():
        return image(desk, release, kind)


def want_image(desk: Services, release: str, kind: str) -> Image:
    with looking():
        desk.release_desk.release(release)
    desk.downloads.want(release, offline=is_offline(kind), who=desk.audit.who)
    return image(desk, release, kind)


def revoke_image(desk: Services, image: str) -> RevokedImage:
    known = desk.media.revoke(image, who=desk.audit.who)
    return RevokedImage(known.id, known.mac)


def verify_release(desk: Services, release: str) -> shapes.Errand:
    with looking():
        known = desk.release_desk.release(release)
    asked = desk.errands.want(ErrandKind.VERIFY, known.profile, release=known.id, who=desk.audit.who)
    return shapes.errand(asked)


def is_offline(kind: str) -> bool:
    if kind not in KINDS:
        raise Absent(f"{kind[:40]!r} is no kind of image, there is {' and '.join(KINDS)}")
    return kind == KINDS[1]


def image(desk: Services, release: str, kind: str) -> Image:
    one = desk.downloads.look(release, offline=is_offline(kind))
    made = one.wanted
    state = made.state.value if made else "not wanted yet"
    size = (made.size_bytes, made.sha256) if made else (0, "")
    return Image(one.release, one.kind, one.name, state, made.said if made else "", *size)


def change(name: str, path: str, text: str, run: Any, answer: type, **more: Any) -> Operation:
    return Operation(name, "POST", path, Role.OPERATOR, text, run, answer, **more)


OPERATIONS: tuple[Operation, ...] = (
    change(
        "addHost", "/cluster/hosts", "Let a compile host be used.", add_host, HostAsked, body=NewHost,
        status=201,
    ),
    change(
        "quarantineHost", f"{HOST}/quarantine", "Keep a host out for a while.", quarantine_host, HostAsked,
        body=Reason,
    ),
    change(
        "releaseHost", f"{HOST}/release", "Take a host back.",
        changer(lambda desk: desk.hosts.release), HostAsked,
    ),
    change(
        "probeHost", f"{HOST}/probe", "Probe a host before its next use.",
        changer(lambda desk: desk.hosts.probe_again), HostAsked,
    ),
    change(
        "removeHost", f"{HOST}/remove", "Use a host no more.",
        changer(lambda desk: desk.hosts.remove), HostAsked,
    ),
    change(
        "orderToolchain", "/cluster/toolchains/{toolchain}/order",
        "Let the farm order a toolchain onto the hosts.",
        order_toolchain, ToolchainAsked,
    ),
    change(
        "lendMachine", "/machines/{machine}/lend", "Boot a machine as a compile host from now on.",
        lender(True), shapes.Machine,
    ),
    change(
        "keepMachine", "/machines/{machine}/keep", "Boot it as a compile host no more.", lender(False),
        shapes.Machine,
    ),
    Operation(
        "showExamination", "GET", "/doctor", Role.VIEWER, "What the last examination of the network found.",
        show_examination, Examination,
    ),
    change(
        "examineNetwork", "/doctor", "Let the farm examine the network.", examine_network,
        Examination, status=202,
    ),
    change(
        "verifyRelease", "/releases/{release}/verify", "Let the farm check every byte of a release.",
        verify_release, shapes.Errand, status=202,
    ),
    Operation(
        "showImage", "GET", IMAGE, Role.VIEWER, "An installation image: online or offline.",
        show_image, Image,
    ),
    change("wantImage", IMAGE, "Let the farm make an installation image.", want_image, Image, status=202),
    change(
        "revokeImage", "/images/{image}/revoke", "Let an image for one machine allow nothing any more.",
        revoke_image, RevokedImage,
    ),
)  # fmt: skip
