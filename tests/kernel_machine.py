"""A machine whose boot loader is modelled: which kernel starts next, by the files that the loader reads."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from distserver_client import bootspec, grubenv, loader, menu
from distserver_client.bootspec import SystemdBoot
from distserver_client.kernels import Kernels
from distserver_client.loader import Grub, Loader
from distserver_client.manifest import Item, Manifest
from distserver_client.paths import Places
from distserver_client.trials import Start

INSTALLED = """set timeout=1
set default=0
menuentry "Gentoo" {{
  linux {above}/vmlinuz-1 root=PARTUUID=1-2 rootwait ro quiet
}}
"""
SIGNED = """title Gentoo
linux /EFI/distserver/kernel.efi
options root=PARTUUID=1-2 rootwait ro quiet
"""
FIRST = b"kernel 1"


@dataclass
class KernelMachine:
    """Installed with kernel 1; `signed`: it starts by systemd-boot, else by GRUB."""

    root: Path
    signed: bool = False
    above: str = "/boot"
    """What GRUB calls /boot; empty: it is a file system of its own."""
    writable: bool = True
    """Whether GRUB can write its environment block."""
    counts: bool = True
    """Whether it really does."""
    boots: int = 1
    start: Start = field(default_factory=lambda: Start("", "boot 1"))

    def install(self) -> "KernelMachine":
        (self.root / "boot/grub").mkdir(parents=True)
        (self.root / "boot/vmlinuz-1").write_bytes(FIRST)
        if self.signed:
            esp = self.root / bootspec.ESP
            (esp / bootspec.ENTRIES).mkdir(parents=True)
            (esp / "EFI/distserver").mkdir(parents=True)
            (esp / "EFI/distserver/kernel.efi").write_bytes(FIRST)
            (esp / bootspec.ENTRIES / bootspec.FIRST).write_text(SIGNED)
        else:
            (self.root / loader.MENU).write_text(INSTALLED.format(above=self.above))
        return self

    @property
    def loader(self) -> Loader:
        if self.signed:
            return SystemdBoot(self.root)
        return Grub(self.root, obstacle=lambda place: "" if self.writable else f"{place} is on RAID")

    @property
    def kernels(self) -> Kernels:
        return Kernels(Places(self.root), self.loader, self.start, trial_seconds=600.0)

    def emerge(self, number: int) -> Manifest:
        """Portage replaces the kernel's package; the release that it is of."""
        content = f"kernel {number}".encode()
        for old in [*self.root.glob("boot/vmlinuz-*")]:
            old.unlink()
        (self.root / f"boot/vmlinuz-{number}").write_bytes(content)
        release = f"20260101-{number:012d}"
        item = Item("kernel", len(content), hashlib.sha256(content).hexdigest())
        files = {"kernel": item}
        if self.signed:
            place = Places(self.root).release(release)
            place.mkdir(parents=True, exist_ok=True)
            (place / "kernel.efi").write_bytes(content)
            files["kernel.efi"] = item
        return Manifest(release, "lab", ("gentoo",), files, {})

    def update(self, number: int, *, again: bool = False) -> None:
        self.kernels.hold()
        self.kernels.install(self.emerge(number), again=again)

    def power_on(self) -> bytes:
        """The content of the kernel that starts."""
        self.boots += 1
        name, options = self._signed_entry() if self.signed else self._grub_entry()
        words = dict(word.partition("=")[::2] for word in options.split())
        assert "root" in words
        seconds = float(words.get(menu.TRIAL, 0))
        assert bool(seconds) == ("panic" in words)
        self.start = Start(words.get(menu.RUNS, ""), f"boot {self.boots}", seconds)
        return name.read_bytes()

    def _grub_entry(self) -> tuple[Path, str]:
        """As GRUB carries the menu out."""
        text = (self.root / loader.MENU).read_text()
        found = menu.parse(text)
        assert found
        entry = found.good
        block = self.root / loader.BLOCK
        values = grubenv.read(block)
        counted = f'if [ "$trial" = "{values.get("trial")}" ]; then' in text
        if counted and values.get("tries") in ("1", "2") and self.writable and self.counts:
            grubenv.change(block, tries=str(int(values["tries"]) - 1))
            assert found.other and found.other.id == values["trial"]
            entry = found.other
        line = next(line for line in text.splitlines() if line.startswith(f"  linux {entry.kernel} "))
        assert entry.kernel.startswith(f"{self.above}/")
        return self.root / "boot" / entry.kernel[len(self.above) + 1 :], line.partition(entry.kernel)[2]

    def _signed_entry(self) -> tuple[Path, str]:
        """As systemd-boot sorts and counts (systemd, src/boot/efi/boot.c, config_entry_compare())."""
        place = self.root / bootspec.ESP / bootspec.ENTRIES
        found = [one for path in sorted(place.glob("*.conf")) if (one := bootspec.read(path))]
        first = min(found, key=lambda one: (one.left == 0, one.value("sort-key") or "~", one.file.name))
        if first.left:
            done = menu.MOST_TRIES - first.left + 1
            first.file.rename(place / f"distserver-{first.id}+{first.left - 1}-{done}.conf")
        return self.root / bootspec.ESP / first.value("linux").lstrip("/"), first.value("options")
