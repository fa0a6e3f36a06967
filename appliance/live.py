"""The site as it is now: read again when a file changed, the last good one kept while it is wrong."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.good_site import read_good
from appliance.site import WrongSite, read_site
from appliance.site_files import APPLIANCE, PROFILES, SiteFiles, read_files
from appliance.site_model import Site

log = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int], ...]
"""(path, time of the last change in ns, bytes) of each file."""


@dataclass(frozen=True)
class Read:
    """What was found when the disk was looked at last."""

    site: Site
    files: SiteFiles
    """What the site was read from."""
    wrong: WrongSite | None
    stamp: Stamp


@dataclass
class Shared:
    """Of all threads of a process: what one has read, the others need not."""

    latest: Read | None = None


class LiveSite:
    """`good`: where the farm keeps a copy of the last good site, for processes that start on a broken one."""

    def __init__(self, path: Path, good: Path | None = None) -> None:
        self.path = path
        self.good = good
        self._shared = Shared()
        self._holds = False
        self._held: Read | None = None

    def share(self, other: "LiveSite") -> None:
        """Know what another one of the same site has read, and let it know."""
        self._shared = other._shared

    def hold(self) -> None:
        """Look at the disk once until let_go(): who answers one question asks for the site many times."""
        self._holds, self._held = True, None

    def let_go(self) -> None:
        """Look at the disk each time."""
        self._holds, self._held = False, None

    def now(self) -> Site:
        """The newest site that reads without complaint; raises Problem when there never was one."""
        return self._look().site

    def files(self) -> SiteFiles:
        """What now() was read from."""
        return self._look().files

    def wrong(self) -> WrongSite | None:
        """What keeps the site on the disk from being in force."""
        return self._look().wrong

    def _look(self) -> Read:
        if self._held is not None:
            return self._held
        stamp, read = self._stamp(), self._shared.latest
        if read is None or read.stamp != stamp:
            self._shared.latest = read = self._read(read, stamp)
        if self._holds:
            self._held = read
        return read

    def _read(self, before: Read | None, stamp: Stamp) -> Read:
        try:
            site, files = read_site(self.path), read_files(self.path)
        except OSError as gone:
            wrong = WrongSite(self.path, [f"{gone.filename}: {gone.strerror}"])
        except WrongSite as found:
            wrong = found
        else:
            if before is not None:
                log.info("site %s was read again", self.path)
            return Read(site, files, None, stamp)
        log.error("the site has mistakes, the last good one stays in force: %s", wrong)
        if before is not None:
            return Read(before.site, before.files, wrong, stamp)
        return self._last_good(wrong, stamp)

    def _last_good(self, wrong: WrongSite, stamp: Stamp) -> Read:
        """The one that the farm kept, as after a start of its processes."""
        kept = read_good(self.good, self.path) if self.good else None
        if kept is None:
            raise wrong
        return Read(*kept, wrong, stamp)

    def _stamp(self) -> Stamp:
        return tuple(sorted((*_stamps_of(self.path, APPLIANCE), *_stamps(self.path / PROFILES))))


def _stamps_of(place: Path, name: str) -> Iterator[tuple[str, int, int]]:
    try:
        stat = (place / name).stat()
    except OSError:
        return
    yield name, stat.st_mtime_ns, stat.st_size


def _stamps(place: str | Path) -> Iterator[tuple[str, int, int]]:
    """(path, time, size) of all below; scandir costs a fifth of what pathlib does, and every page pays it."""
    try:
        with os.scandir(place) as entries:
            for one in entries:
                try:
                    stat = one.stat()
                    deeper = one.is_dir(follow_symlinks=False)
                except OSError:
                    continue  # it went away meanwhile, or leads nowhere
                yield one.path, stat.st_mtime_ns, stat.st_size
                if deeper:
                    yield from _stamps(one.path)
    except OSError:
        return  # the directory went away meanwhile
