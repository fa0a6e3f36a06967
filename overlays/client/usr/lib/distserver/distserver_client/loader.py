"""The boot loader of the machine: the kernel it starts, and the one that it is to try next."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from distserver_client import disks, durable, grubenv, kernel_files, menu
from distserver_client.errors import Problem
from distserver_client.kernel_files import Image
from distserver_client.menu import MOST_TRIES, Entry, Menu

MENU = "boot/grub/grub.cfg"
BLOCK = "boot/grub/grubenv"
ESP = "boot/efi"
COPIES = "distserver"
KEPT = f"boot/{COPIES}"


class Loader(Protocol):
    """Each call may be cut off anywhere: what starts next is a whole kernel, and the call can be repeated."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Of all entries, the one that is known to be good first."""

    def hold(self) -> Image:
        """Let the good entry name copies that no package owns; what they are."""

    def arm(self, image: Image, seconds: float) -> str:
        """Try a kernel at the next start; why that cannot be, empty when it can."""

    def left(self) -> int:
        """How many starts the kernel on trial still has."""

    def approve(self, kernel: str) -> None:
        """Start the other kernel, which has this id, from now on; the one before stays an entry."""

    def disarm(self, kernel: str) -> None:
        """Start the good kernel only; the other one, which has this id, is no entry any more."""


@dataclass(frozen=True)
class Grub:
    """GRUB, whose menu an installer wrote."""

    root: Path
    obstacle: Callable[[Path], str] = disks.obstacle

    @property
    def ids(self) -> tuple[str, ...]:
        now = self._menu()
        return (now.good.id, *((now.other.id,) if now.other else ()))

    @property
    def is_ours(self) -> bool:
        """Whether this is a menu that the agent may write."""
        place = self.root / MENU
        return place.is_file() and menu.parse(place.read_text(errors="replace")) is not None

    def hold(self) -> Image:
        now = self._menu()
        kernel = self._file(now.good.kernel)
        initrd = self._file(now.good.initrd) if now.good.initrd else None
        image = Image(kernel, initrd)
        for path in filter(None, (kernel, initrd)):
            if not path.is_file():
                hint = "the machine may not start again"
                raise Problem(f"{self.root / MENU} names {path}, which is not there", hint=hint)
        if now.good.id:
            return image
        self._write(replace(now, good=self._entry(image, now.good.kernel)))
        return image

    def arm(self, image: Image, seconds: float) -> str:
        self.hold()
        now = self._menu()
        grubenv_path, why = self._block()
        grubenv.change(grubenv_path, trial="", tries="")
        if now.other and now.other.id != image.id:
            # A small /boot holds two kernels and the package's own, and no third.
            now = replace(now, other=None, trial_seconds=0)
            self._write(now)
        other = self._entry(image, now.good.kernel)
        on_esp = grubenv_path == self.root / ESP / menu.ON_ESP.lstrip("/")
        self._write(replace(now, other=other, trial_seconds=0 if why else int(seconds), on_esp=on_esp))
        if not why:
            grubenv.change(grubenv_path, trial=other.id, tries=str(MOST_TRIES))
            disks.settle(grubenv_path.parent)
        return why

    def left(self) -> int:
        now = self._menu()
        values = grubenv.read(self._block()[0])
        on_trial = now.other is not None and now.trial_seconds and values.get("trial") == now.other.id
        return int(values["tries"]) if on_trial and values.get("tries", "").isdigit() else 0

    def approve(self, kernel: str) -> None:
        now = self._menu()
        if now.other and now.other.id == kernel:
            self._write(replace(now, good=now.other, other=now.good, trial_seconds=0))
        self._forget()

    def disarm(self, kernel: str) -> None:
        now = self._menu()
        self._forget()
        if now.other and now.other.id == kernel:
            self._write(replace(now, other=None, trial_seconds=0))

    def _forget(self) -> None:
        block = self._block()[0]
        if block.is_file():
            grubenv.change(block, trial="", tries="")

    def _menu(self) -> Menu:
        place = self.root / MENU
        found = menu.parse(place.read_text(errors="replace"))
        if found is None:
            raise Problem(f"{place} is not as DistServer writes it")
        return found

    def _write(self, wanted: Menu) -> None:
        """First the text, then what it does not name any more is removed."""
        place = self.root / MENU
        text = menu.render(wanted).encode()
        if place.read_bytes() != text:
            durable.replace(place, text)
        disks.settle(place.parent)
        stay = [wanted.good.id, wanted.other.id if wanted.other else ""]
        for old in sorted((self.root / KEPT).glob("*")):
            if old.is_file():
                old.unlink()
            elif old.name not in stay:
                shutil.rmtree(old)

    def _entry(self, image: Image, like: str) -> Entry:
        """Of copies of a kernel; `like`: a name of one as GRUB has it."""
        kept = kernel_files.keep(image, self.root / KEPT / image.id)
        place = f"{_above(like)}/{COPIES}/{image.id}"
        initrd = f"{place}/{kept.initramfs.name}" if kept.initramfs else ""
        return Entry(image.id, f"Gentoo, Linux {image.version}", f"{place}/{kept.kernel.name}", initrd)

    def _block(self) -> tuple[Path, str]:
        """Where the environment block is, or would be, and why GRUB cannot write it."""
        beside, esp = self.root / BLOCK, self.root / ESP
        why = self.obstacle(beside.parent)
        if why and (esp / "EFI").is_dir() and not self.obstacle(esp):
            return esp / menu.ON_ESP.lstrip("/"), ""
        return beside, why

    def _file(self, name: str) -> Path:
        """The file that GRUB means."""
        return self.root / "boot" / name.removeprefix(_above(name)).lstrip("/")


def _above(name: str) -> str:
    """What GRUB calls the machine's /boot, from what it calls a kernel there or one of our copies.

    `/boot`; nothing when that is a file system of its own; `/@/boot` in a subvolume of btrfs.
    """
    directory = name.rpartition("/")[0]
    of_copies = directory.rpartition("/")[0]
    return of_copies.removesuffix(f"/{COPIES}") if of_copies.endswith(f"/{COPIES}") else directory
