"""What persons keep out of profiles: packages held where machines are, versions that are skipped."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cmp_to_key

from appliance.channels import STABLE
from appliance.desks.catalogue import Catalogue
from appliance.errors import Problem
from appliance.farm_model import Mask, MaskKind, Release
from appliance.site import find_profile
from appliance.site_model import Profile
from buildfarm import holds, version
from buildfarm.index import split_cpv

# PMS 3.1.1 and 3.1.2. Portage reads what is made of it as root, so nothing else may come through.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+_.-]*/[A-Za-z0-9_][A-Za-z0-9+_-]*", re.ASCII)
SLOT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9+_.-]*", re.ASCII)
LONGEST_WHY = 200


class HoldDesk:
    """Only the store is written: the next build of the farm lays it into the profile."""

    def __init__(self, catalogue: Catalogue, clock: Callable[[], float]) -> None:
        self.catalogue = catalogue
        self.store = catalogue.store
        self.clock = clock

    def all(self, profile: str = "") -> list[Mask]:
        return self.store.masks.all(profile)

    def masked(self, profile: Profile) -> Profile:
        """A profile of the site with what is kept out of it in its package.mask."""
        masks = self.store.masks.all(profile.name)
        return replace(profile, portage=holds.with_masks(profile.portage, masks)) if masks else profile

    def hold(self, profile: str, name: str, *, who: str | None = None, why: str = "") -> Mask:
        """Keep a package (`category/name`) at the version machines have, whatever comes.

        Raises Problem when they have none.
        """
        find_profile(self.catalogue.live.now(), profile)
        if not NAME.fullmatch(name):
            raise Problem(f"{name!r} is no package", hint="name it as category/name, without a version")
        release = self._release(profile)
        slots = self._slots(release, name) if release else {}
        if not slots:
            why = f"it is not in release {release.id}" if release else "it has no release yet"
            raise Problem(f"machines of {profile} have no {name}: {why}")
        return self._put(profile, name, MaskKind.HOLD, newer(name, slots), slots, who=who, why=why)

    def skip(self, profile: str, cpv: str, *, who: str | None = None, why: str = "") -> Mask:
        """Leave one version (`category/name-version`) out; machines stay at the last until the next comes."""
        find_profile(self.catalogue.live.now(), profile)
        name, text = split_cpv(cpv)
        if not NAME.fullmatch(name) or not version.VERSION.fullmatch(text):
            raise Problem(f"{cpv!r} is no version of a package", hint="name it as category/name-version")
        release = self._release(profile)
        slots = self._slots(release, name) if release else {}
        if text in slots.values():
            raise Problem(
                f"machines of {profile} have {cpv} already, and there is no other version to stay at",
                hint="let it be tried again, or roll the channel back",
            )
        return self._put(profile, cpv, MaskKind.SKIP, (f"={cpv}",), slots, who=who, why=why)

    def release(self, profile: str, subject: str, *, who: str | None = None, why: str = "") -> Mask:
        """Let a held package move again, or a skipped version in. Raises Problem when it is neither."""
        with self.store.database.change():
            found = self.store.masks.get(profile, subject)
            if found is None:
                raise Problem(
                    f"nobody holds or skips {subject} in {profile}",
                    hint="`distserver hold list` shows what is; what failed is held until it builds",
                )
            self.store.masks.remove(profile, subject)
            detail = f"{found.kind.value} {shorten(why)}".strip()
            self.store.audit.add(self.clock(), who, "package release", f"{profile}/{subject}", detail)
        return found

    def _put(
        self,
        profile: str,
        subject: str,
        kind: MaskKind,
        atoms: tuple[str, ...],
        slots: Mapping[str, str],
        *,
        who: str | None,
        why: str,
    ) -> Mask:
        who, stays = who or self.store.audit.who, " ".join(sorted(set(slots.values())))
        mask = Mask(profile, subject, kind, atoms, stays, self.clock(), who, shorten(why))
        with self.store.database.change():
            self.store.masks.put(mask)
            detail = f"{stays} {mask.why}".strip()
            self.store.audit.add(mask.at, who, f"package {kind.value}", f"{profile}/{subject}", detail)
        return mask

    def _release(self, profile: str) -> Release | None:
        """What machines of a profile have or get: what stable names, else its newest one."""
        said = self.catalogue.channels.get(profile, STABLE)
        named = self.store.releases.get(said.release) if said else None
        newest = self.catalogue.page(profile, limit=1)
        return named or (newest[0].release if newest else None)

    def _slots(self, release: Release, name: str) -> dict[str, str]:
        """Slot -> version of a package in a release."""
        packages = self.catalogue.contents(release.id).packages
        return {slot: one.version for (owner, slot), one in packages.items() if owner == name}


def newer(name: str, slots: Mapping[str, str]) -> tuple[str, ...]:
    """Lines of package.mask for everything newer than these versions, in these slots and new ones. Pure."""
    highest = max(slots.values(), key=cmp_to_key(version.compare))
    own = [
        f">{name}-{here}:{slot}"
        for slot, here in sorted(slots.items())
        if here != highest and SLOT.fullmatch(slot)
    ]
    return (*own, f">{name}-{highest}")


def shorten(why: str) -> str:
    """A reason on one line, no longer than a reader wants it."""
    return " ".join(why.split())[:LONGEST_WHY]
