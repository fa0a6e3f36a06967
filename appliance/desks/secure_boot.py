"""Secure Boot: whether the site signs what its machines boot, with which keys, and what machines enroll."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.secure_boot import SIGNED_KERNEL
from buildfarm.site_keys import Certificate, SiteKeys, check_programs

NO_KEYS = "Secure Boot: the site has no keys, nothing is signed (`distserver secureboot init` makes them)"
NOT_ENABLED = "Secure Boot: nothing is signed, since the site says [secure_boot] enabled = false"


@dataclass(frozen=True)
class SecureBootStatus:
    """What an admin wants to know."""

    sentence: str
    certificates: tuple[Certificate, ...] = ()
    unsigned: tuple[str, ...] = ()
    """Releases that machines with Secure Boot cannot start."""


class SecureBootDesk:
    def __init__(self, live: LiveSite, tree: Tree) -> None:
        self.live = live
        self.tree = tree

    @property
    def keys(self) -> SiteKeys:
        return SiteKeys.below(self.tree)

    @property
    def signs(self) -> bool:
        return self.live.now().secure_boot.enabled and self.keys.exist

    def init(self) -> list[Certificate]:
        """Make the site's keys; raises Problem when it has some."""
        self.keys.make(self.live.now().name)
        return self.keys.certificates()

    def sentence(self) -> str:
        """Whether boot programs and releases are signed, for the log."""
        if not self.keys.exist:
            return NO_KEYS
        if not self.live.now().secure_boot.enabled:
            return NOT_ENABLED
        db = self.keys.certificates()[-1]
        signed = f"Secure Boot: UEFI boot programs are signed with {db.subject}, SHA-256 {db.sha256[:16]}..."
        return f"{signed}, with Debian's shim before them" if self.live.now().secure_boot.shim else signed

    def signer(self) -> Callable[[Path, Path], None] | None:
        """What signs boot programs; None when nothing is to be signed."""
        if not self.signs:
            return None
        check_programs()
        return self.keys.sign

    def inputs(self) -> list[str]:
        """What other releases are made for when it changes: the key, and whether installers enroll it."""
        wanted = self.live.now().secure_boot
        return [f"secure-boot {self.keys.identity} {wanted}"] if self.signs else []

    def status(self) -> SecureBootStatus:
        if not self.keys.exist:
            return SecureBootStatus(self.sentence())
        releases = sorted((self.tree.path / "releases").glob("*/manifest"))
        unsigned = [one.parent.name for one in releases if not (one.parent / SIGNED_KERNEL).exists()]
        return SecureBootStatus(self.sentence(), tuple(self.keys.certificates()), tuple(unsigned))

    def export(self, directory: Path) -> list[Path]:
        """Copy what machines are enrolled with into a directory; raises Problem when there are no keys."""
        if not self.keys.exist:
            raise Problem("the site has no Secure Boot keys", hint="distserver secureboot init")
        directory.mkdir(parents=True, exist_ok=True)
        found = [file for file in sorted(self.keys.home.iterdir()) if file.is_file()]
        for file in found:
            shutil.copyfile(file, directory / file.name)
        return [directory / file.name for file in found]
