"""What releases there are, where they are named, and whether they are still what was signed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.channels import Channels
from appliance.desks.mover import Mover
from appliance.errors import Problem
from appliance.farm_model import Move, Origin, Pin, Release
from appliance.live import LiveSite
from appliance.model import Machine, Tree
from appliance.statement import Statement
from appliance.store import Store
from buildfarm import difference
from buildfarm.difference import Difference
from buildfarm.inspection import Inspector
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
        """Newest first."""
        said = self.channels.all()
        pins = self.store.releases.pins()
        releases = self.store.releases.all(profile)
        kernels = {one.id: self._kernel(one.id) for one in releases}
        return [self._listed(one, said, pins, reboot=_reboots(one, releases, kernels)) for one in releases]

    def _listed(
        self, one: Release, said: Sequence[Statement], pins: Sequence[Pin], *, reboot: bool
    ) -> Listed:
        counts = self.store.releases.count_origins(one.id)
        return Listed(
            one,
            channels=tuple(s.channel for s in said if s.release == one.id),
            pins=tuple(pin.channel for pin in pins if pin.release == one.id),
            built=counts.get("built", 0),
            reused=counts.get("reused", 0),
            machines=tuple(machine.mac for machine in self._machines(one.id)),
            reboot=reboot,
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
        return difference.compare(*(difference.read(self.place(one)) for one in (before, after)))

    def verify(self, release: str | None = None, *, deep: bool) -> list[str]:
        """Look at one release or all; a bad one is neither served nor moved to until all of it is good."""
        inspector = self.inspector(deep=deep)
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

    def _machines(self, release: str) -> list[Machine]:
        return [one for one in self.store.machines.all() if one.release == release]

    def _kernel(self, release: str) -> str:
        """The line that names its kernel; empty when its manifest cannot be read. A list asks this of all."""
        try:
            with (self.place(release) / "manifest").open(errors="replace") as lines:
                return next((line for line in lines if line.startswith("FILE kernel ")), "")
        except OSError:
            return ""


def _reboots(one: Release, releases: Sequence[Release], kernels: Mapping[str, str]) -> bool:
    """`releases` are the newest first; the first of a profile needs no reboot."""
    own = [other for other in releases if other.profile == one.profile]
    older = own[own.index(one) + 1 :]
    return bool(older) and kernels[one.id] != kernels[older[0].id]
