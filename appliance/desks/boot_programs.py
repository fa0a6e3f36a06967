"""Boot programs for other processors: which there are, and how the missing ones come from Debian."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Tree
from buildfarm.debian import fetch_package
from pxe.images import can_make, grub_modules
from pxe.programs import FOREIGN, PROGRAMS, Platform, remedy


@dataclass(frozen=True)
class ShownProgram:
    """One row of the table of boot programs."""

    firmware: str
    cpu: str
    file: str
    package: str
    missing: str
    """What would help; empty: it is there."""


class BootProgramsDesk:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def programs(self) -> list[ShownProgram]:
        """Every platform that has a boot program here or in Debian."""
        return [self._shown(platform) for platform in PROGRAMS]

    def _shown(self, platform: Platform) -> ShownProgram:
        firmware, cpu = platform
        program = PROGRAMS[platform]
        boot = self.tree.path / "boot"
        if (boot / program.file).exists():
            missing = ""
        elif can_make(program, boot):
            missing = "the next start of `distserver up` makes it"
        else:
            missing = remedy(platform, program)
        return ShownProgram(firmware.value if firmware else "", cpu, program.file, program.package, missing)

    def fetch(self, cpu: str, progress: Callable[[str], None]) -> None:
        """Get GRUB's modules for a processor from Debian's archive; the next start makes the image.

        Raises Problem when there is no such processor or Debian has none for it.
        """
        if cpu not in FOREIGN:
            known = ", ".join(sorted(FOREIGN))
            raise Problem(f"no GRUB is fetched for {cpu!r}", hint=f"processors: {known}")
        program = next(one for (_, name), one in PROGRAMS.items() if name == cpu and one.grub)
        boot = self.tree.room("boot")
        progress(f"fetching {program.package} for {FOREIGN[cpu]}")
        target = boot / "grub" / program.grub
        with tempfile.TemporaryDirectory(dir=boot, prefix=".new-") as scratch:
            root = fetch_package(self.tree.room("apt-foreign"), program.package, FOREIGN[cpu], Path(scratch))
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            (root / "usr/lib/grub" / program.grub).rename(target)
        if grub_modules(program, boot) is None:
            raise Problem(f"{program.package} holds no modules for {program.grub}")
        progress(f"{target} is there; start `distserver up` again")
