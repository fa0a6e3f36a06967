"""Security advisories: which profiles have something vulnerable in their root."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from appliance.desks.sync import SyncDesk
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.site_model import Profile
from buildfarm import outcome
from buildfarm.advisories import Advisory, of_images, vulnerable
from buildfarm.root import Root


class AdvisoryDesk:
    def __init__(self, live: LiveSite, tree: Tree, sync: SyncDesk) -> None:
        self.live = live
        self.tree = tree
        self.sync = sync

    def of(self, profile: Profile) -> Mapping[str, str]:
        """Package of the profile's root -> the advisory of the current snapshots it is vulnerable to."""
        known = outcome.read(Root(self.tree.path / "roots" / profile.name))
        if known is None:
            return {}
        try:
            images = tuple(one.image for one in self.sync.snapshots(self.live.now()))
        except Problem:  # never synchronised: there is nothing to build from either
            return {}
        return vulnerable(_advisories(images), known.state.installed, profile.arch)


@lru_cache(maxsize=2)
def _advisories(images: tuple[Path, ...]) -> tuple[Advisory, ...]:
    """A snapshot never changes: what was read from it stays true."""
    return tuple(of_images(images))
