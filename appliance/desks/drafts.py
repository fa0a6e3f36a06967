"""Decides what is on an image: which profiles with which releases, every byte of them verified."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from appliance import medium as description
from appliance.channels import STABLE
from appliance.desks.catalogue import Catalogue
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.install import default_name, size_text
from appliance.model import Machine
from appliance.profile_model import Profile
from appliance.site import find_profile
from appliance.site_model import Site
from buildfarm import manifest, on_medium
from buildfarm.manifest import Manifest
from iso.layout import volume_label
from pxe.interfaces import read_interfaces
from pxe.links import find_links

ALL = "all"
VALID_SECONDS = 7 * 86400.0
TIMEOUT_SECONDS = 10
SPARE_BYTES = 8 * 2**20
"""Of an image beside its files: its tables, padding, and what is rounded up."""
STRANGE = re.compile(r"[^A-Za-z0-9_.+-]+")

Progress = Callable[[str, int, int], None]
"""What is done, and of how many bytes how many are: 0 of 0 where nobody counts."""


@dataclass(frozen=True)
class Wish:
    """Which image somebody wants."""

    profiles: tuple[str, ...]
    """In the order of the menu; `all` alone: every profile that has a release."""
    release: str | None = None
    """Of the one profile; None: what its channel names (`stable`, or the one that the machine follows)."""
    offline: bool = False
    machine: str = ""
    """MAC or name: the image is for this machine only and installs it without asking."""
    valid_seconds: float = VALID_SECONDS
    server: str = ""
    """URL under which machines reach this server; empty: as the site says."""
    timeout_seconds: int = TIMEOUT_SECONDS
    """How long the menu waits."""


@dataclass(frozen=True)
class Chosen:
    """A profile on the medium with its release."""

    profile: Profile
    release: Release
    sealed: Manifest
    place: Path


@dataclass(frozen=True)
class Draft:
    """An image before anybody gave permission for it."""

    site: Site
    wish: Wish
    chosen: tuple[Chosen, ...]
    server: str
    created: str
    left_out: tuple[str, ...] = ()
    """Profiles without a release, of `all`."""
    machine: Machine | None = None
    files: dict[str, Path | bytes] = field(default_factory=dict)
    """By path on the medium."""

    @property
    def label(self) -> str:
        names = "_".join(one.profile.name for one in self.chosen)
        return volume_label(f"DS_{self.site.name}_{names}")


class Drafting:
    """Which image is wanted, or why there can be none."""

    def __init__(self, catalogue: Catalogue, find_machine: Callable[[str], Machine]) -> None:
        self.catalogue = catalogue
        self.find_machine = find_machine

    def draft(self, wish: Wish, progress: Progress, interfaces: Sequence[str] = ()) -> Draft:
        """Raises Problem with one sentence for whatever keeps it from being made. Holds no lock itself."""
        site = self.catalogue.live.now()
        machine = self._machine(wish)
        profiles, left_out = self._profiles(site, wish)
        server = _checked_url(wish.server) if wish.server else server_url(site, interfaces)
        channel = machine.channel if machine else STABLE
        chosen = [
            self._chosen(profile, self._release(profile, wish.release, channel)) for profile in profiles
        ]
        _check_architectures(chosen)
        inspector = self.catalogue.inspector(deep=True)
        for one in chosen:
            progress(f"verifying release {one.release.id} of {one.profile.name}", 0, 0)
            # Every byte is read: what goes on a medium is not seen again by this server.
            if found := self.catalogue.verify(one.release.id, deep=True, inspector=inspector):
                raise Problem("; ".join(found), hint="build the profile again, or take another release")
            if not on_medium.finds_media(one.place / on_medium.INSTALLER):
                raise Problem(
                    f"the installer of release {one.release.id} knows no media: it is of an older DistServer",
                    hint=f"`distserver build {one.profile.name}` makes a release with today's",
                )
        newest = max(manifest.created_at(one.sealed) for one in chosen)
        created = description.iso_time(_source_date() or newest)
        draft = Draft(site, wish, tuple(chosen), server.rstrip("/"), created, left_out, machine)
        for one in chosen:
            if wish.offline:
                draft.files.update(on_medium.whole(one.place, one.sealed, self.catalogue.pool))
            else:
                draft.files.update(on_medium.booting(one.place, one.sealed))
        return draft

    def _machine(self, wish: Wish) -> Machine | None:
        if not wish.machine:
            return None
        machine = self.find_machine(wish.machine)
        who = f"{machine.mac} {machine.name}".rstrip()
        if machine.profile is None:
            raise Problem(
                f"machine {who} has no profile", hint=f"distserver machine assign {machine.mac} PROFILE"
            )
        if wish.profiles != (machine.profile,):
            raise Problem(
                f"machine {who} has the profile {machine.profile}, not {' and '.join(wish.profiles)}",
                hint="an image for one machine is of its own profile",
            )
        return machine

    def _profiles(self, site: Site, wish: Wish) -> tuple[list[Profile], tuple[str, ...]]:
        """Those that are on the image, and those of `all` that have no release."""
        if wish.release and (len(wish.profiles) > 1 or wish.profiles == (ALL,)):
            raise Problem(
                f"release {wish.release} is of one profile, and {' '.join(wish.profiles)} is asked for",
                hint="give --release with the one profile that it is of",
            )
        if ALL not in wish.profiles:
            return [find_profile(site, name) for name in dict.fromkeys(wish.profiles)], ()
        if len(wish.profiles) > 1:
            raise Problem("all is every profile: name all, or some profiles")
        there = {name: self.catalogue.channels.of_machine(name, STABLE) for name in sorted(site.profiles)}
        found = [site.profiles[name] for name, said in there.items() if said]
        if not found:
            raise Problem("no profile has a release yet", hint="`distserver build PROFILE` makes one")
        return found, tuple(name for name, said in there.items() if not said)

    def _release(self, profile: Profile, wanted: str | None, channel: str) -> Release:
        if wanted is not None:
            release = self.catalogue.release(wanted)
            if release.profile != profile.name:
                raise Problem(f"release {wanted} is of profile {release.profile}, not of {profile.name}")
            return release
        said = self.catalogue.channels.of_machine(profile.name, channel)
        if said is None:
            raise Problem(
                f"profile {profile.name} has no release yet",
                hint=f"`distserver build {profile.name}` makes one",
            )
        return self.catalogue.release(said.release)

    def _chosen(self, profile: Profile, release: Release) -> Chosen:
        place = self.catalogue.place(release.id)
        try:
            text = (place / "manifest").read_text()
        except (OSError, UnicodeDecodeError) as gone:
            raise Problem(
                f"the manifest of release {release.id} cannot be read: {gone}",
                hint="build the profile again, or take another release",
            ) from gone
        return Chosen(profile, release, manifest.parse(text), place)


def file_name(draft: Draft) -> str:
    """The name of an image where nobody said one; of several profiles with the day of the newest release."""
    names = [one.profile.name for one in draft.chosen]
    of_all = draft.wish.profiles == (ALL,)
    newest = max(one.release.id for one in draft.chosen)
    return image_name(
        draft.site.name,
        ALL if of_all else "+".join(names),
        newest if len(names) == 1 and not of_all else newest.partition("-")[0],
        offline=draft.wish.offline,
        machine=(draft.machine.name or default_name(draft.machine.mac)) if draft.machine else "",
    )


def image_name(site: str, profile: str, release: str, *, offline: bool, machine: str = "") -> str:
    """`distserver-SITE-PROFILE-RELEASE[-offline][-MACHINE].iso`"""
    words = ("distserver", site, profile, release, "offline" if offline else "", machine)
    return f"{'-'.join(STRANGE.sub('_', word) for word in words if word)}.iso"


def server_url(site: Site, interfaces: Sequence[str] = ()) -> str:
    """Where machines reach this server, as `up` would tell them; raises Problem when nobody said it."""
    address = site.address
    names = tuple(interfaces) or site.net.interfaces
    if not address and names:
        links = find_links(names, read_interfaces(), None)
        address = next((str(link.address) for link in links.values() if not isinstance(link, str)), "")
    if not address:
        raise Problem(
            "it is not known under which address machines reach this server",
            hint="give --server http://ADDRESS, or set [http] address or [net] interfaces in appliance.toml",
        )
    return f"http://{IPv4Address(address)}:{site.http_front or site.http_port}"


def _checked_url(url: str) -> str:
    if not description.FORMS["server"].fullmatch(url.rstrip("/")):
        raise Problem(f"{url!r} is no URL of a server", hint="as in --server http://192.0.2.2")
    return url


def check_room(draft: Draft, output: Path) -> None:
    """Raise Problem when the image would not fit; what is on it twice counts once."""
    if not output.parent.is_dir():
        raise Problem(f"there is no directory {output.parent} for the image")
    sizes = {}
    for content in draft.files.values():
        if isinstance(content, Path):
            stat = content.stat()
            sizes[stat.st_dev, stat.st_ino] = stat.st_size
    needed = sum(sizes.values()) + SPARE_BYTES
    free = shutil.disk_usage(output.parent).free
    if needed > free:
        raise Problem(
            f"the image of about {size_text(needed)} does not fit into {output.parent},"
            f" where {size_text(free)} are free",
            hint="name another place with -o, or make an online image",
        )


def _check_architectures(chosen: Sequence[Chosen]) -> None:
    arches = sorted({one.sealed.arch for one in chosen})
    if len(arches) > 1:
        said = ", ".join(f"{one.profile.name} is {one.sealed.arch}" for one in chosen)
        raise Problem(
            f"releases of {' and '.join(arches)} cannot be on one image",
            hint=f"name profiles of one architecture: {said}",
        )


def _source_date() -> float | None:
    """https://reproducible-builds.org/specs/source-date-epoch/"""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    if said and not re.fullmatch(r"[0-9]{1,11}", said):
        raise Problem(f"SOURCE_DATE_EPOCH is {said!r}, expected seconds since the epoch")
    return float(said) if said else None
