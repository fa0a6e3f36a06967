"""The site as it is now: read again when a file changed, the last good one kept while it is wrong."""

import logging
from pathlib import Path

from appliance.errors import Problem
from appliance.site import read_site
from appliance.site_model import Site

log = logging.getLogger(__name__)


class LiveSite:
    def __init__(self, path: Path) -> None:
        self.path = path
        self._site: Site | None = None
        self._seen: tuple[tuple[str, int, int], ...] = ()

    def now(self) -> Site:
        """The newest site that reads without complaint; raises Problem when there never was one."""
        seen = self._stamp()
        if self._site is None:
            self._site = read_site(self.path)
        elif seen != self._seen:
            try:
                self._site = read_site(self.path)
                log.info("site %s was read again", self.path)
            except Problem as problem:
                log.error("the site has mistakes, the last good one stays in force: %s", problem)
        self._seen = seen
        return self._site

    def _stamp(self) -> tuple[tuple[str, int, int], ...]:
        files = [self.path / "appliance.toml", *sorted((self.path / "profiles").rglob("*"))]
        stats = [(str(file), file.stat()) for file in files if file.exists()]
        return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats)
