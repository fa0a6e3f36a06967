"""Images for CDs and USB sticks: what goes on one, who may make one for a machine, and what was made."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance import medium as description
from appliance.arrivals import end_images
from appliance.desks.catalogue import Catalogue
from appliance.desks.drafts import Chosen, Draft, Drafting, Progress, Wish, check_room, file_name
from appliance.errors import Problem
from appliance.first_report import credential
from appliance.install import default_name
from appliance.media_secret import media_secret
from appliance.medium import DESCRIPTION, PLANNER, PROFILES, Medium, MediumFile, MediumMachine
from appliance.model import Event, Machine, MachineState
from appliance.offering import Offer, write_offers
from appliance.secure_boot import MOK_MANAGER, SHIM, SIGNED_KERNEL, SIGNED_LOADER
from appliance.store.media import TOKEN, KnownMedium
from appliance.store.tokens import hash_of
from buildfarm import on_medium
from buildfarm.planner_image import planner_of
from buildfarm.pool import sums
from iso.layout import Image
from iso.loaders import BootParts, boot_parts
from iso.menu import Entry, Menu
from iso.secure import Signed
from iso.writer import write_image

GRUB_HOME = Path("/usr/lib/grub")
GRUB_OF = {"arm64": ("arm64-efi",)}
"""GRUB's platforms by Gentoo's name of a processor."""
GRUB_OF_PC = ("i386-pc", "x86_64-efi", "i386-efi")
SIGNATURE = f"{DESCRIPTION}.sig"
CREDENTIAL = "distserver/credential"
KEY = "distserver/release-key.gpg"

Planner = Callable[[Path, Path, Path], object]
"""Given a release's directory, the file to write and a shelf for what is made: planner_of()."""


@dataclass(frozen=True)
class MadeImage:
    path: Path
    size_bytes: int
    sha256: str
    medium_id: str
    releases: tuple[tuple[str, str], ...]
    """(release, profile)"""
    missing: tuple[str, ...]
    """What firmware it does not boot on and why, in words for a person."""
    left_out: tuple[str, ...]
    """Profiles without a release, of `all`."""
    expires_at: float | None = None
    """Of an image for one machine."""


def silent(what: str, done: int, all_of: int) -> None:
    """The progress callback of who does not look."""


class MediaDesk:
    """One image at a time is made by who calls; everything about them is remembered in the store."""

    def __init__(
        self,
        catalogue: Catalogue,
        find_machine: Callable[[str], Machine],
        *,
        public_key: Callable[[], Path],
        planner: Planner = planner_of,
    ) -> None:
        self.drafting = Drafting(catalogue, find_machine)
        self.catalogue = catalogue
        self.tree = catalogue.tree
        self.store = catalogue.store
        self.clock = catalogue.clock
        self._public_key = public_key
        self._planner = planner

    def make(
        self,
        wish: Wish,
        output: Path | None = None,
        *,
        who: str,
        progress: Progress = silent,
        interfaces: Sequence[str] = (),
    ) -> MadeImage:
        """Verify the releases, put the image together and write it; atomic.

        `output`: file_name() in the current directory. `interfaces`: those that are served, for the
        server's address. Raises Problem for whatever a person can do something about; nothing is written.
        """
        with self.catalogue.pool.in_use(), tempfile.TemporaryDirectory(prefix="distserver-iso-") as scratch:
            draft = self.drafting.draft(wish, progress, interfaces)
            output = (output or Path(file_name(draft))).absolute()
            check_room(draft, output)
            draft.files[KEY] = self._public_key()
            if wish.offline:
                progress("making the planner", 0, 0)
                self._add_planner(draft, Path(scratch))
            medium, is_new = self._permit(draft, who)
            try:
                parts = self._finish(draft, medium, Path(scratch))
                with _kept_private(bool(medium.machine)):
                    image = _image(draft, parts)
                    written = write_image(image, output, lambda done, of: progress("writing", done, of))
            except BaseException:
                self._withdraw(medium, is_new=is_new)
                raise
        return MadeImage(
            path=output,
            size_bytes=written.size_bytes,
            sha256=written.sha256,
            medium_id=medium.id,
            releases=medium.releases,
            missing=parts.missing,
            left_out=draft.left_out,
            expires_at=description.seconds_of(medium.machine.expires) if medium.machine else None,
        )

    def wipes(self, machine: str) -> Machine | None:
        """The machine when it is an installed one, which an image for it would install anew."""
        found = self.drafting.find_machine(machine)
        return found if found.state in (MachineState.INSTALLED, MachineState.INSTALLING) else None

    def made(self) -> list[KnownMedium]:
        """What was made, the newest first."""
        return self.store.media.all()

    def revoke(self, medium: str, *, who: str) -> KnownMedium:
        """What is on an image for one machine allows nothing here any more; its report is refused, too."""
        known = self.store.media.get(medium)
        if known is None:
            raise Problem(f"no image {medium} was made here", hint="`distserver medium list` shows them")
        if not known.mac:
            raise Problem(
                f"image {medium} is for no machine in particular and allows nothing by itself",
                hint="whoever boots it has to be allowed to install on the web page or on the console",
            )
        if known.used_at is not None or known.revoked_at is not None:
            raise Problem(f"image {medium} was {'used' if known.used_at else 'revoked'} already")
        with self.store.database.change():
            self.end(known.mac, f"image {medium} revoked by {who}")
            self.store.audit.add(self.clock(), who, "image revoke", medium, known.mac)
        return known

    def _add_planner(self, draft: Draft, scratch: Path) -> None:
        """What decides without this server, and what it decides with; it is the same code."""
        image = scratch / "planner.sqfs"
        self._planner(draft.chosen[0].place, image, self.tree.room("planners"))
        draft.files[PLANNER] = image
        draft.files[PROFILES] = write_offers(
            [Offer(one.profile, one.release) for one in draft.chosen]
        ).encode()

    def _permit(self, draft: Draft, who: str) -> tuple[Medium, bool]:
        """Give the image its name and, for one machine, its token; from then on it is known here.

        Also whether it was not known before: the same image may have been made already.
        """
        now = self.clock()
        files = tuple(
            MediumFile(path, *_size_and_sum(draft.files[path]))
            for path in (PLANNER, PROFILES)
            if path in draft.files
        )
        releases = tuple((one.release.id, one.profile.name) for one in draft.chosen)
        medium = Medium(draft.created, draft.server, draft.wish.offline, releases, files)
        with self.store.database.change():
            token = ""
            if machine := draft.machine:
                self.end(machine.mac, "another image for it is made")
                seconds = draft.wish.valid_seconds
                token = self.store.tokens.issue(machine.mac, TOKEN, now=now, lifetime_seconds=seconds)
                name = machine.name or default_name(machine.mac)
                expires = description.iso_time(now + seconds)
                medium = replace(medium, machine=MediumMachine(machine.mac, name, token, expires))
            medium = description.identify(medium)
            is_new = self.store.media.get(medium.id) is None
            self.store.media.add(_known(medium, now, who), hash_of(token) if token else "")
            named = ", ".join(f"{profile} {release}" for release, profile in releases)
            mac = medium.machine.mac if medium.machine else ""
            self.store.audit.add(now, who, "image make", medium.id, f"{named} {mac}".rstrip())
            if medium.machine:
                how = "offline" if medium.offline else "online"
                said = f"image {medium.id} ({how}, release {releases[0][0]}) may install it once"
                self._record(medium.machine.mac, f"{said} until {medium.machine.expires}; made by {who}")
        return medium, is_new

    def _finish(self, draft: Draft, medium: Medium, scratch: Path) -> BootParts:
        """Add what depends on the medium's name: its description, signature, credential and boot loaders."""
        text = scratch / "medium"
        text.write_text(description.write(medium))
        signature = scratch / "medium.sig"
        self.catalogue.notary.sign(text, signature, at=description.seconds_of(medium.created))
        draft.files[DESCRIPTION] = text.read_bytes()
        draft.files[SIGNATURE] = signature.read_bytes()
        if medium.offline:
            draft.files[CREDENTIAL] = f"{credential(media_secret(self.tree), medium.id)}\n".encode()
        menu = Menu(
            medium_id=medium.id,
            label=draft.label,
            entries=tuple(_entry(one) for one in draft.chosen),
            server=medium.server,
            offline=medium.offline,
            timeout_seconds=draft.wish.timeout_seconds,
            machine=medium.machine.name if medium.machine else "",
            token=medium.machine.token if medium.machine else "",
        )
        modules = self._modules(draft.chosen[0].sealed.arch)
        parts = boot_parts(menu, scratch, modules, signed=dict(_signed(draft.chosen)))
        draft.files.update(parts.files)
        return parts

    def _modules(self, arch: str) -> dict[str, Path]:
        """GRUB's modules for the firmware that machines of an architecture have, where this host has them."""
        homes = (self.tree.path / "boot" / "grub", GRUB_HOME)
        wanted = GRUB_OF.get(arch, GRUB_OF_PC)
        places = {name: [home / name for home in homes if (home / name).is_dir()] for name in wanted}
        return {name: found[0] for name, found in places.items() if found}

    def _withdraw(self, medium: Medium, *, is_new: bool) -> None:
        """The image was not written: what it would have allowed is allowed no more, and stays on record."""
        with self.store.database.change():
            if medium.machine:
                self.end(medium.machine.mac, f"image {medium.id} could not be written")
            elif is_new:
                self.store.media.forget(medium.id)

    def end(self, mac: str, why: str) -> None:
        """No image that was made for a machine may install it any more. Inside a change."""
        end_images(self.store, mac, why, now=self.clock())

    def _record(self, mac: str, message: str) -> None:
        self.store.events.add(Event(mac, self.clock(), "medium", message=message))


def _image(draft: Draft, parts: BootParts) -> Image:
    return Image(
        label=draft.label,
        files=draft.files,
        bios=parts.bios,
        efi=parts.efi,
        mbr=parts.mbr,
        made_at=int(description.seconds_of(draft.created)),
    )


@contextmanager
def _kept_private(wanted: bool) -> Iterator[None]:
    """Files that the block makes are for their owner alone: a token lets who has it install a machine."""
    before = os.umask(0o077) if wanted else None
    try:
        yield
    finally:
        if before is not None:
            os.umask(before)


def _signed(chosen: Iterable[Chosen]) -> Iterator[tuple[str, Signed]]:
    """By release what machines with Secure Boot start; on x64 there is a loader that asks the firmware."""
    for one in chosen:
        there = {item.name: one.place / item.name for item in one.sealed.files}
        if one.sealed.arch == "amd64" and SIGNED_KERNEL in there and SIGNED_LOADER in there:
            yield (
                one.release.id,
                Signed(
                    loader=there[SIGNED_LOADER],
                    kernel=there[SIGNED_KERNEL],
                    installer=there[on_medium.INSTALLER],
                    shim=there.get(SHIM),
                    mok_manager=there.get(MOK_MANAGER),
                ),
            )


def _entry(one: Chosen) -> Entry:
    return Entry(
        profile=one.profile.name,
        description=one.profile.description,
        release=one.release.id,
        arguments=one.profile.kernel_arguments,
        kernel=f"r/{one.release.id}/{on_medium.kernel_of(one.sealed)}",
        installer=f"r/{one.release.id}/{on_medium.INSTALLER}",
        arch=one.sealed.arch,
    )


def _known(medium: Medium, now: float, who: str) -> KnownMedium:
    one = medium.machine
    return KnownMedium(
        id=medium.id,
        made_at=now,
        who=who,
        server=medium.server,
        offline=medium.offline,
        releases=medium.releases,
        mac=one.mac if one else "",
        name=one.name if one else "",
        expires_at=description.seconds_of(one.expires) if one else None,
    )


def _size_and_sum(content: Path | bytes) -> tuple[int, str]:
    if isinstance(content, bytes):
        return len(content), hashlib.sha256(content).hexdigest()
    found = sums(content)
    return found.size_bytes, found.sha256
