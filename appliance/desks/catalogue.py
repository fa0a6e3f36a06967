"""What releases there are, where they are named, and whether they are still what was signed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.channels import NAMES, Channels
from appliance.desks.distances import Distance, distance
from appliance.desks.mover import Mover
from appliance.errors import Problem
from appliance.farm_model import Job, Move, Origin, Pin, Release
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.statement import Statement
from appliance.store import Store
from appliance.store.releases import DONE
from buildfarm import difference, kernel_configs
from buildfarm.difference import Contents, Difference, EtcFile, Shipped, Slot
from buildfarm.inspection import Inspector
from buildfarm.kernel_banner import kernel_version
from buildfarm.pool import Pool
from buildfarm.signing import Notary


@dataclass(frozen=True)
class Listed:
    """A release as a list shows it."""

    release: Release
    channels: tuple[str, ...]
    pins: tuple[str, ...]
    built: int
    reused: int
    machines: tuple[str, ...]
    """Those it is or is being installed on."""
    reboot: bool
    """Its kernel is another one than that of the release before."""
    fault: str


@dataclass(frozen=True)
class Standing:
    """A channel of a profile."""

    name: str
    said: Statement | None
    """What it names; None: nothing yet."""
    pin: Pin | None
    last: Move | None
    followers: int
    """Machines of the profile that follow it."""
    places: Mapping[str, int]
    """Release -> how many of those have it or get it, the most first; empty: none yet."""
    takes_new: bool
    """New releases go here."""
    promote_after_seconds: float | None


@dataclass(frozen=True)
class Held:
    """A package of a release."""

    name: str
    shipped: Shipped
    origin: Origin | None
    """None: it was not noted."""


@dataclass(frozen=True)
class FileChange:
    """How a configuration file of packages differs between two releases."""

    file: EtcFile
    lines: tuple[str, ...] | None
    """A unified diff; None: it is no text."""


MOST_FILE_BYTES = 256 * 1024
"""Of a configuration file that is compared."""


class Catalogue:
    """Reads; the only thing it writes is which releases do not verify."""

    def __init__(
        self,
        live: LiveSite,
        tree: Tree,
        store: Store,
        *,
        channels: Channels,
        notary: Notary,
        clock: Callable[[], float],
    ) -> None:
        self.live = live
        self.tree = tree
        self.store = store
        self.channels = channels
        self.notary = notary
        self.clock = clock
        self.mover = Mover(channels, store, notary, clock)

    @property
    def pool(self) -> Pool:
        return Pool((self.tree.path / "pool").resolve())

    def place(self, release: str) -> Path:
        return self.tree.path / "releases" / release

    def releases(self, profile: str | None = None) -> list[Listed]:
        """Newest first; of all of them, which takes a while when there are hundreds: a page has `page`."""
        return self._list(self.store.releases.all(profile))

    def page(self, profile: str = "", *, limit: int, offset: int = 0) -> list[Listed]:
        """A part of releases()."""
        return self._list(self.store.releases.page(profile, limit=limit, offset=offset))

    def after(self, profile: str, mark: tuple[float, str] | None, *, limit: int) -> list[tuple[Release, str]]:
        """A part of all, the newest first, each with what is wrong with it; no release is read for it."""
        found = self.store.releases.after(profile, mark, limit=limit)
        return [(one, self.store.releases.fault(one.id)) for one in found]

    def fault(self, release: str) -> str:
        """What is wrong with a release; empty when it verified last time."""
        return self.store.releases.fault(release)

    def count(self, profile: str = "") -> int:
        return self.store.releases.count(profile)

    def _list(self, releases: Sequence[Release]) -> list[Listed]:
        said = self.channels.all()
        pins = self.store.releases.pins()
        return [self._listed(one, said, pins) for one in releases]

    def _listed(self, one: Release, said: Sequence[Statement], pins: Sequence[Pin]) -> Listed:
        counts = self.store.releases.count_origins(one.id)
        before = self.store.releases.before(one)
        return Listed(
            one,
            channels=tuple(s.channel for s in said if s.release == one.id),
            pins=tuple(pin.channel for pin in pins if pin.release == one.id),
            built=counts.get("built", 0),
            reused=counts.get("reused", 0),
            machines=tuple(self.store.machines.of_release(one.id)),
            reboot=before is not None and self._kernel(one.id) != self._kernel(before.id),
            fault=self.store.releases.fault(one.id),
        )

    def in_use(self, profile: str | None = None) -> list[Path]:
        """The directories of whole releases that a channel, a pin or a machine names, the newest first."""
        listed = self.releases(profile)
        named = [one for one in listed if one.channels or one.pins or one.machines]
        return [self.place(one.release.id) for one in named if not one.fault]

    def release(self, release: str) -> Release:
        """Raises Problem when there is none."""
        found = self.store.releases.get(release)
        if found is None:
            raise Problem(
                f"there is no release {release}", hint="`distserver release list` shows those there are"
            )
        return found

    def manifest(self, release: str) -> str:
        """The signed text; raises Problem when there is no such release."""
        return (self.place(self.release(release).id) / "manifest").read_text()

    def origins(self, release: str) -> list[Origin]:
        return self.store.releases.origins(self.release(release).id)

    def history(self, profile: str, channel: str | None = None) -> list[Move]:
        """Newest first."""
        return self.store.releases.moves(profile, channel)

    def diff(self, before: str, after: str) -> Difference:
        """What a machine sees that goes from one release to another."""
        for one in (before, after):
            self.release(one)
        return difference.compare(*(self.contents(one) for one in (before, after)))

    def contents(self, release: str) -> Contents:
        """What of a release is compared; raises Problem when its files cannot be read."""
        try:
            return difference.read(self.place(release), self.tree.path / kernel_configs.ROOM)
        except OSError as failed:
            said = f"release {release} cannot be read: {failed.strerror}"
            raise Problem(said, hint="`distserver release verify` says what is wrong with it") from failed

    def older(self, release: str) -> str:
        """The release before of its profile; raises Problem when it is the first."""
        found = self.store.releases.before(self.release(release))
        if found is None:
            raise Problem(f"release {release} is the first of its profile", hint="choose one to compare with")
        return found.id

    def file_change(self, before: str, after: str, path: str) -> FileChange:
        """How a configuration file differs between two releases, before anybody edits it.

        Raises Problem when it is the same in both, or when it is not kept any more.
        """
        found = next((one for one in self.diff(before, after).etc if one.path == path), None)
        if found is None:
            raise Problem(f"{path} is the same in {before} and {after}, or in neither")
        old, new = (self._base(one.sha256) if one else b"" for one in (found.before, found.after))
        return FileChange(found, difference.unified(old, new))

    def _base(self, sha256: str) -> bytes:
        try:
            with (self.tree.path / "etc-base" / sha256).open("rb") as source:
                return source.read(MOST_FILE_BYTES)
        except OSError as failed:
            raise Problem(f"this file cannot be read here any more: {failed.strerror}") from failed

    def behind(self, has: str, published: str) -> Distance | None:
        """What a machine has to go to the published one; None: nothing, or nobody can tell."""
        if not has or not published or has == published:
            return None
        try:
            return distance(self.place(has), self.place(published))
        except (OSError, Problem):
            return None  # what it has was collected, or cannot be read

    def held(self, release: str, text: str = "") -> list[Held]:
        """Its packages with this in their names; raises Problem when there is no such release."""
        packages = self.contents(self.release(release).id).packages
        origins = {one.sha256: one for one in self.store.releases.origins(release)}
        named = ((difference.name_of(slot), one) for slot, one in sorted(packages.items(), key=_slot))
        return [
            Held(name, one, origins.get(one.sha256)) for name, one in named if text.lower() in name.lower()
        ]

    def kernel(self, release: str) -> str:
        """The version its kernel says of itself; empty when it says none."""
        return kernel_version(self.place(release) / "kernel")

    def listed(self, release: str) -> Listed:
        """One release as a list shows it; raises Problem when there is none."""
        return self._list([self.release(release)])[0]

    def standing(self, profile: str) -> list[Standing]:
        """Where the channels of a profile are, and why the next release may not go there by itself."""
        followers = self.store.machines.followers(profile)
        known = self.live.now().profiles.get(profile)
        return [
            Standing(
                name,
                said=self.channels.get(profile, name),
                pin=self.store.releases.pinned(profile, name),
                last=next((m for m in self.store.releases.moves(profile, name) if m.state == DONE), None),
                followers=sum(followers.get(name, {}).values()),
                places=followers.get(name, {}),
                takes_new=known is not None and known.channel == name,
                promote_after_seconds=known.promote_after_seconds if known else None,
            )
            for name in NAMES
        ]

    def refusal(self, profile: str) -> Job | None:
        """The last build of a profile when nothing of it was published: its message says why."""
        recent = self.store.jobs.recent("build", profile, 5)
        last = next((job for job in recent if job.state != "running"), None)
        return last if last and last.state == "failed" else None

    def verify(
        self, release: str | None = None, *, deep: bool, inspector: Inspector | None = None
    ) -> list[str]:
        """Look at one release or all; a bad one is neither served nor moved to until all of it is good.

        An `inspector` that looked at others before reads what they share no second time.
        """
        inspector = inspector or self.inspector(deep=deep)
        found = []
        for one in [self.release(release)] if release else self.store.releases.all():
            reason = "; ".join(inspector.reasons(self.place(one.id)))
            if reason or deep:
                self.store.releases.set_fault(one.id, reason, now=self.clock())
            if reason:
                found.append(f"release {one.id} does not verify and is not served: {reason}")
        return found

    def inspector(self, *, deep: bool) -> Inspector:
        return Inspector(self.pool, self.notary, deep)

    def _kernel(self, release: str) -> str:
        """The line that names its kernel; empty when its manifest cannot be read. A list asks this of all."""
        try:
            with (self.place(release) / "manifest").open(errors="replace") as lines:
                return next((line for line in lines if line.startswith("FILE kernel ")), "")
        except OSError:
            return ""


def _slot(item: tuple[Slot, Shipped]) -> Slot:
    return item[0]
