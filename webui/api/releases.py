"""Releases in the API: those there are, what is in one, and what lies between two."""

from dataclasses import dataclass
from typing import Annotated

from appliance import farm_model
from appliance.account_model import Role
from appliance.services import Services
from webui.api.operation import Absent, Operation, Page, cut, looking
from webui.api.schema import Rule
from webui.api.shapes import USUAL, Limit, Number

PATH = "/releases/{release}"


@dataclass(frozen=True)
class ReleaseQuery:
    profile: Annotated[str, Rule("only those of this profile")] = ""
    limit: Limit = USUAL
    cursor: Annotated[
        str,
        Rule("`next` of the page before", pattern=r"([0-9]{1,12}(\.[0-9]{1,9})?_[0-9A-Za-z-]{1,64})?"),
    ] = ""


@dataclass(frozen=True)
class PackageQuery:
    text: Annotated[str, Rule("a part of a name")] = ""
    limit: Limit = USUAL
    cursor: Number = ""


@dataclass(frozen=True)
class Release:
    """A sealed release; times are seconds since the epoch."""

    id: str
    profile: str
    created_at: float
    snapshot: str
    packages: int
    size_bytes: int
    channels: tuple[str, ...]
    """Those that name it now."""
    pins: tuple[str, ...]
    """Channels that stay at it."""
    fault: str


@dataclass(frozen=True)
class ChannelStanding:
    """A channel of a profile; `release` is null while it names none, times are seconds since the epoch."""

    name: str
    release: str | None
    serial: int
    moved_at: float | None
    pinned: bool
    takes_new: bool
    followers: int


@dataclass(frozen=True)
class ChannelMove:
    """How a channel moved, when, by whom and why."""

    channel: str
    serial: int
    kind: str
    state: str
    release_before: str | None
    release: str
    at: float
    who: str
    why: str


@dataclass(frozen=True)
class ReleasePackage:
    """A package of a release; `use`: the USE flags that were on."""

    name: str
    version: str
    build_id: str
    sha256: str
    size_bytes: int
    use: tuple[str, ...]


@dataclass(frozen=True)
class PackageChange:
    """What becomes of a package: added, removed or changed. A version is null where there is none."""

    name: str
    what: str
    before: str | None
    after: str | None
    use: str


@dataclass(frozen=True)
class ReleaseDifference:
    """What a machine sees that goes from one release to another; lines begin with +, - or ~."""

    before: str
    after: str
    packages: tuple[PackageChange, ...]
    world: tuple[str, ...]
    portage: tuple[str, ...]
    etc: tuple[str, ...]
    kernel_options: tuple[str, ...] | None
    reboot: bool
    snapshot_before: str
    snapshot_after: str
    fetch_bytes: int
    lines: tuple[str, ...]
    """All of it for a person."""


def list_releases(desk: Services, query: ReleaseQuery) -> Page:
    at, _, name = query.cursor.partition("_")
    mark = (float(at), name) if query.cursor else None
    found = desk.release_desk.after(query.profile, mark, limit=query.limit + 1)
    named = Named(desk)
    listed = [release(one, named, fault) for one, fault in found]
    return cut(listed, query.limit, lambda one: f"{one.created_at}_{one.id}")


def show_release(desk: Services, name: str) -> Release:
    with looking():
        found = desk.release_desk.release(name)
    return release(found, Named(desk), desk.release_desk.fault(found.id))


def list_channels(desk: Services, profile: str) -> Page:
    must_be_known(desk, profile)
    found = []
    for one in desk.release_desk.standing(profile):
        release, serial = (one.said.release, one.said.serial) if one.said else (None, 0)
        moved_at = one.last.at if one.last else None
        follows = one.pin is not None, one.takes_new, one.followers
        found.append(ChannelStanding(one.name, release, serial, moved_at, *follows))
    return Page(tuple(found), None)


def list_moves(desk: Services, profile: str) -> Page:
    must_be_known(desk, profile)
    return Page(tuple(move(one) for one in desk.release_desk.history(profile)), None)


def list_packages(desk: Services, name: str, query: PackageQuery) -> Page:
    with looking():
        held = desk.release_desk.held(name, query.text)
    start = int(query.cursor or 0)
    listed = []
    for one in held[start : start + query.limit + 1]:
        made = one.shipped
        built = made.version, made.build_id, made.sha256, made.size_bytes
        listed.append(ReleasePackage(one.name, *built, tuple(sorted(made.use))))
    return cut(listed, query.limit, lambda one: str(start + query.limit))


def compare(desk: Services, name: str, before: str) -> ReleaseDifference:
    with looking():
        found = desk.release_desk.diff(before, name)
    changes = tuple(
        PackageChange(
            row.name,
            row.what,
            row.before.version if row.before else None,
            row.after.version if row.after else None,
            row.use,
        )
        for row in found.rows()
    )
    etc = tuple(str(one) for one in found.etc)
    texts = found.world, found.portage, etc, found.kernel_options
    size = found.fetch_bytes, tuple(found.lines())
    return ReleaseDifference(
        found.before, found.after, changes, *texts, found.reboot, *found.snapshots, *size
    )


class Named:
    """Which channels name and hold releases, asked once for a list of them."""

    def __init__(self, desk: Services) -> None:
        self.said = desk.release_desk.channels.all()
        self.held = desk.store.releases.pins()

    def channels(self, release: str) -> tuple[str, ...]:
        return tuple(one.channel for one in self.said if one.release == release)

    def pins(self, release: str) -> tuple[str, ...]:
        return tuple(one.channel for one in self.held if one.release == release)


def must_be_known(desk: Services, profile: str) -> None:
    """Also when its directory is gone: its releases are served on."""
    if not desk.errands.knows(profile):
        raise Absent(f"there is no profile {profile}, and no release of it", hint="see /api/v1/profiles")


def release(one: farm_model.Release, named: Named, fault: str) -> Release:
    size = one.packages, one.size_bytes
    places = named.channels(one.id), named.pins(one.id)
    return Release(one.id, one.profile, one.created_at, one.snapshot, *size, *places, fault)


def move(one: farm_model.Move) -> ChannelMove:
    done = one.channel, one.serial, one.kind, one.state
    return ChannelMove(*done, one.release_before, one.release, one.at, one.who, one.why)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listReleases", "GET", "/releases", Role.VIEWER, "Releases, the newest first.", list_releases,
        Release, listed=True, query=ReleaseQuery,
    ),
    Operation("showRelease", "GET", PATH, Role.VIEWER, "One release.", show_release, Release),
    Operation(
        "listReleasePackages", "GET", f"{PATH}/packages", Role.VIEWER, "What is in it, by name.",
        list_packages, ReleasePackage, listed=True, query=PackageQuery,
    ),
    Operation(
        "compareReleases", "GET", f"{PATH}/difference/{{before}}", Role.VIEWER,
        "What a machine sees that goes to it from another one.", compare, ReleaseDifference,
    ),
    Operation(
        "listChannels", "GET", "/profiles/{profile}/channels", Role.VIEWER,
        "The channels of a profile, what they name and who follows.", list_channels, ChannelStanding,
        listed=True,
    ),
    Operation(
        "listMoves", "GET", "/profiles/{profile}/moves", Role.VIEWER,
        "How the channels of a profile moved, the newest first.", list_moves, ChannelMove, listed=True,
    ),
)  # fmt: skip
