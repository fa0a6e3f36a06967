"""systemd-boot of signed releases: Boot Loader Specification entries, whose names count their starts."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from distserver_client import disks, durable, kernel_files, menu
from distserver_client.errors import Problem
from distserver_client.kernel_files import Image
from distserver_client.menu import MOST_TRIES

ESP = "boot/efi"
ENTRIES = "loader/entries"
FIRST = "distserver.conf"
"""What the installer wrote."""
NAME = re.compile(r"distserver-([0-9a-f]{12})(?:\+([0-9]+)(?:-[0-9]+)?)?\.conf")
"""The loader takes one of `+left` at each start by renaming the file; with none left the entry comes last."""
ON_TRIAL, GOOD, BEFORE = ("distserver-0", "distserver-1", "distserver-2")
"""sort-key: the first entry that has starts left is started."""


@dataclass(frozen=True)
class Entry:
    """A file of loader/entries."""

    file: Path
    id: str
    """Empty for the installer's."""
    key: str
    left: int | None
    """None: it is not counted."""
    lines: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str:
        return next((value for key, value in self.lines if key == name), "")


def read(file: Path) -> Entry | None:
    """None for a file that is not ours."""
    found = NAME.fullmatch(file.name)
    if not found and file.name != FIRST:
        return None
    split = (line.partition(" ") for line in file.read_text(errors="replace").splitlines() if line.strip())
    lines = tuple((key, value.strip()) for key, _, value in split)
    left = int(found[2]) if found and found[2] else None
    made = Entry(file, found[1] if found else "", "", left, lines)
    return Entry(file, made.id, made.value("sort-key") or GOOD, left, lines)


@dataclass(frozen=True)
class SystemdBoot:
    """Its entries on the EFI system partition of a machine."""

    root: Path

    @property
    def ids(self) -> tuple[str, ...]:
        good, other = self._good(), self._other()
        return (good.id, *((other.id,) if other else ()))

    def hold(self) -> Image:
        """Nothing of Portage is on this partition; the installer's entry gets its name."""
        now = self._good()
        names = [self._file(now.value(key)) for key in ("linux", "initrd") if now.value(key)]
        if not names or not all(path.is_file() for path in names):
            raise Problem(f"{now.file} names a kernel that is not there: the machine may not start again")
        image = Image(names[0], names[1] if len(names) > 1 else None)
        if not now.id:
            self._write(image, now.value("options"), GOOD)
            now.file.unlink()
            for path in names:
                path.unlink()
            image = self.hold()
        return image

    def arm(self, image: Image, seconds: float) -> str:
        self.hold()
        good = self._good()
        self._drop(*(one for one in self._all() if one.id != good.id))
        plain = _plain(good.value("options"))
        words = menu.trial_arguments(plain, str(image.initramfs or ""), int(seconds))
        self._write(image, words, ON_TRIAL, tries=MOST_TRIES)
        return ""

    def left(self) -> int:
        return next((one.left or 0 for one in self._all() if one.key == ON_TRIAL), 0)

    def approve(self, kernel: str) -> None:
        tried = [one for one in self._all() if one.id == kernel and one.key == ON_TRIAL]
        for one in self._all():
            if one.key == GOOD and one.id != kernel and tried:
                self._put(one.file, [(key, value) for key, value in one.lines if key != "sort-key"], BEFORE)
        for one in tried:
            # Without a counter it is another file: until the counted one is gone both name the same kernel.
            lines = [(key, value) for key, value in one.lines if key not in ("sort-key", "options")]
            options = [("options", f"{_plain(self._options_beside(kernel))} {menu.RUNS}={kernel}")]
            self._put(self._place(kernel), [*lines, *options], GOOD)
            one.file.unlink()
        disks.settle(self._entries)

    def disarm(self, kernel: str) -> None:
        self._drop(*(one for one in self._all() if one.id == kernel and one.key == ON_TRIAL))

    @property
    def _entries(self) -> Path:
        return self.root / ESP / ENTRIES

    def _all(self) -> list[Entry]:
        found = (read(path) for path in sorted(self._entries.glob("distserver*.conf")))
        return sorted((one for one in found if one), key=lambda one: (one.key, one.id == ""))

    def _good(self) -> Entry:
        return next(one for one in self._all() if one.left is None)

    def _other(self) -> Entry | None:
        good = self._good()
        return next((one for one in self._all() if one.id not in ("", good.id)), None)

    def _options_beside(self, kernel: str) -> str:
        """Those of an entry that is not on trial: a trial has some of its own."""
        return next(one.value("options") for one in self._all() if one.left is None and one.id != kernel)

    def _write(self, image: Image, options: str, key: str, *, tries: int = 0) -> None:
        kept = kernel_files.keep(image, self.root / ESP / "EFI/distserver" / image.id)
        place = f"/EFI/distserver/{image.id}"
        lines = [("title", f"Gentoo, Linux {image.version}"), ("linux", f"{place}/{kept.kernel.name}")]
        lines += [("initrd", f"{place}/{kept.initramfs.name}")] if kept.initramfs else []
        lines += [("options", f"{options} {menu.RUNS}={image.id}")]
        self._put(self._place(image.id, tries), lines, key)
        disks.settle(self._entries)

    def _place(self, kernel: str, tries: int = 0) -> Path:
        return self._entries / f"distserver-{kernel}{f'+{tries}' if tries else ''}.conf"

    def _put(self, place: Path, lines: list[tuple[str, str]], key: str) -> None:
        text = "".join(f"{name} {value}\n" for name, value in [("sort-key", key), *lines])
        durable.replace(place, text.encode())

    def _drop(self, *entries: Entry) -> None:
        """The entries first, then what only they name."""
        for one in entries:
            one.file.unlink()
        disks.settle(self._entries)
        stay = {one.id for one in self._all()}
        for place in (self.root / ESP / "EFI/distserver").iterdir():
            if place.is_dir() and place.name not in stay:
                shutil.rmtree(place)

    def _file(self, name: str) -> Path:
        return self.root / ESP / name.lstrip("/")


def _plain(options: str) -> str:
    return " ".join(word for word in options.split() if not word.startswith(f"{menu.RUNS}="))
