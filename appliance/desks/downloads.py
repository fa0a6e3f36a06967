"""Images that the web page offers: wanted there, made by the farm, kept while their release is."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.desks.drafts import Progress, Wish, image_name
from appliance.desks.media import MediaDesk
from appliance.desks.mishaps import sentence_of
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.offering import Offer, write_offers
from appliance.site import find_profile
from appliance.store.media import ImageState, WantedImage

WHO = "the web page"
MOST_TRIES = 3
"""An image whose process ended so often without a word is not begun again."""
NOTE_SECONDS = 0.5
"""Progress is noted no more often: each note is a transaction."""
ROOM = "media"
MARK_LENGTH = 8


@dataclass(frozen=True)
class Download:
    """What the web page shows of one image of a release."""

    release: str
    offline: bool
    name: str
    """For the file on the reader's disk."""
    wanted: WantedImage | None = None
    """None: nobody asked for it, or the site has changed since it was made."""
    path: Path | None = None
    """Where it is when it is there."""
    before: int = 0
    """How many are made first, while it waits."""

    @property
    def kind(self) -> str:
        return "offline" if self.offline else "online"

    @property
    def is_coming(self) -> bool:
        return self.wanted is not None and self.wanted.state in (ImageState.WANTED, ImageState.MAKING)


class DownloadDesk:
    def __init__(self, media: MediaDesk, clock: Callable[[], float] = time.time) -> None:
        self.media = media
        self.catalogue = media.catalogue
        self.store = media.store
        self.clock = clock

    # the web page's side: it may only read files and write the store

    def of_release(self, release: str) -> tuple[Download, Download]:
        """The online and the offline image; raises Problem when there is no such release."""
        return self.look(release, offline=False), self.look(release, offline=True)

    def look(self, release: str, *, offline: bool) -> Download:
        known = self.catalogue.release(release)
        name = image_name(self.catalogue.live.now().name, known.profile, known.id, offline=offline)
        wanted = self.store.media.image(release, offline)
        path = None
        if wanted and wanted.state is ImageState.DONE:
            place = self.media.tree.path / ROOM / wanted.file
            path = place if wanted.file == self._file(known, offline) and place.is_file() else None
            wanted = wanted if path else None
        waiting = [
            one for one in self.store.media.images() if one.state in (ImageState.WANTED, ImageState.MAKING)
        ]
        before = next(
            (n for n, one in enumerate(waiting) if (one.release, one.offline) == (release, offline)), 0
        )
        return Download(release, offline, name, wanted, path, before)

    def want(self, release: str, *, offline: bool, who: str = WHO) -> Download:
        """Let the farm make an image that is not there, or that could not be made before. Raises Problem."""
        known = self.catalogue.release(release)
        if fault := self.store.releases.fault(release):
            raise Problem(f"release {release} does not verify: {fault}")
        find_profile(self.catalogue.live.now(), known.profile)
        stale = self.look(release, offline=offline).path is None
        with self.store.database.change():
            self.store.media.want(release, offline, stale=stale, now=self.clock())
            kind = "offline" if offline else "online"
            self.store.audit.add(self.clock(), who, "image want", release, kind)
        return self.look(release, offline=offline)

    # the farm's side

    def recover(self) -> None:
        """What a killed process was making is made again."""
        self.store.media.interrupt_images(now=self.clock(), most_tries=MOST_TRIES)

    def waits(self) -> bool:
        return any(one.state is ImageState.WANTED for one in self.store.media.images())

    def make_next(self, interfaces: Sequence[str] = ()) -> Download | None:
        """Make the image that has waited longest, in this process; None when none waits.

        Whatever keeps it from being made is said by its row.
        """
        wanted = self.store.media.begin_image(now=self.clock())
        if wanted is None:
            return None
        release, offline = wanted.release, wanted.offline
        try:
            self._make(release, offline=offline, interfaces=interfaces)
        except Exception as failed:
            said = sentence_of(failed, f"making the image of release {release}")
            self.store.media.fail_image(release, offline, said, now=self.clock())
        return self.look(release, offline=offline)

    def _make(self, release: str, *, offline: bool, interfaces: Sequence[str]) -> None:
        """The row names the file before gc may look: both happen while nothing is collected."""
        with self.catalogue.pool.in_use():
            known = self.catalogue.release(release)
            file = self._file(known, offline)
            made = self.media.make(
                Wish((known.profile,), release=release, offline=offline),
                self.media.tree.room(ROOM) / file,
                who=WHO,
                progress=self._noting(release, offline),
                interfaces=interfaces,
            )
            made.path.chmod(0o644)
            self.store.media.end_image(
                release, offline, now=self.clock(), file=file, size_bytes=made.size_bytes, sha256=made.sha256
            )

    def _noting(self, release: str, offline: bool) -> Progress:
        said, at = "", 0.0

        def note(what: str, done: int, all_of: int) -> None:
            nonlocal said, at
            now = time.monotonic()
            if what != said or now - at >= NOTE_SECONDS:
                said, at = what, now
                self.store.media.note_image(release, offline, what, done, all_of)

        return note

    def _file(self, release: Release, offline: bool) -> str:
        """Its name in state/media: of another site the same release makes another image."""
        site = self.catalogue.live.now()
        profile = site.profiles.get(release.profile)
        said = write_offers([Offer(profile, release)]) if profile else ""
        place = f"{site.name} {site.address} {site.http_front or site.http_port}"
        mark = hashlib.sha256(f"{place}\n{said}".encode()).hexdigest()[:MARK_LENGTH]
        return f"{release.id}-{'offline' if offline else 'online'}-{mark}.iso"
