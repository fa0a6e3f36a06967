"""What is behind the names that boot loaders ask for: files, and texts made for the machine that asks."""

import logging
import os
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from appliance.model import BootTarget, NetBoot, Silence
from appliance.stages import Stage
from pxe import grub_image
from pxe.asked import TEXTS, Asked, Wanted, classify
from pxe.configs import grub, grub_for_strangers, pxelinux, u_boot_script
from pxe.director import Director
from pxe.malformed import printable
from pxe.policy import Here
from pxe.programs import GRUB_IMAGES
from pxe.script import render
from pxe.sightings import Sightings
from pxe.tftp import clean_name

log = logging.getLogger(__name__)

GRUB_HOME = Path("/usr/lib/grub")
SPARC_PROGRAM = "sparc64.img"
_BY_THINGS = (Wanted.GRUB_FILE, Wanted.PXELINUX_MODULE, Wanted.SHIM_FILE)
_RELEASE_FILES = {"kernel": Stage.KERNEL, "installer": Stage.INSTALLER}


def stage_of(name: str) -> Stage | None:
    """The stage of a boot that fetching this name is; None: a by-thing, such as a module of GRUB."""
    asked = classify(name)
    if asked is None or asked.wanted in _BY_THINGS:
        return None
    if asked.wanted is Wanted.RELEASE_FILE:
        return _RELEASE_FILES.get(asked.name.rsplit("/", 1)[-1])
    # A text is noted when it is made.
    return None if asked.wanted in TEXTS else Stage.PROGRAM


class Names:
    """Virtual names first, then the boot programs. Asking for a text may issue a token."""

    def __init__(
        self, director: Director, boot_dir: Path, sightings: Sightings, *, grub_home: Path = GRUB_HOME
    ) -> None:
        self._director = director
        self._boot_dir = boot_dir
        self._sightings = sightings
        self._grub_home = grub_home

    def resolve(self, name: str, peer: str, here: Here) -> Path | bytes | None:
        """The place or the content of a name for the client at the address `peer`; None: not found.

        Names with `..`, NUL, bytes that are no UTF-8 and the like are never found; nothing outside of the
        directories of boot files is.
        """
        clean = clean_name(name.encode(errors="surrogateescape"))
        asked = classify(clean) if clean else None
        if clean is None or asked is None:
            return None
        mac = self._machine(asked, peer)
        if asked.wanted in TEXTS:
            return self._text(asked, mac, peer, here)
        if mac and self._refused(asked, mac):
            return None
        found = self._file(asked, peer, here, mac) or self._raspberry_pi_file(asked, clean)
        if found and mac and stage_of(clean) is Stage.PROGRAM:
            self._sightings.progressed(mac, Stage.PROGRAM)
        return found

    def _machine(self, asked: Asked, peer: str) -> str:
        """The MAC that a name speaks of; empty when nobody knows it."""
        if asked.mac:
            return asked.mac
        if asked.address is not None and str(asked.address) != peer:
            return ""
        return self._sightings.mac_at(peer) or ""

    def _target(self, mac: str) -> BootTarget:
        return self._director.boot_target(mac, self._sightings.firmware_of(mac))

    def _refused(self, asked: Asked, mac: str) -> bool:
        """The gate of DHCP and the script: who is told nothing gets nothing, kernels are for installers."""
        if asked.wanted in _BY_THINGS:
            return False
        target = self._target(mac)
        only_netboot = asked.wanted in (Wanted.RELEASE_FILE, Wanted.SPARC_PROGRAM, Wanted.RASPBERRY_PI_FILE)
        if isinstance(target, Silence) or (only_netboot and not isinstance(target, NetBoot)):
            log.info("%s asks for %s and gets nothing: %s", mac, printable(asked.name), target.reason)
            return True
        return False

    def _text(self, asked: Asked, mac: str, peer: str, here: Here) -> bytes | None:
        if not mac:
            if asked.wanted is Wanted.GRUB_CONFIG and asked.address is None:
                return grub_for_strangers(here).encode()
            log.info(
                "%s (%s) asks for %s, and no DISCOVER of it was seen: nobody knows what it is to boot",
                peer,
                asked.wanted.value,
                printable(asked.name),
            )
            return None
        text = self._made(asked, mac, here)
        self._sightings.progressed(mac, Stage.SCRIPT)
        log.info("%s (%s) gets %s", mac, asked.wanted.value, printable(asked.name))
        self._director.record(mac, Stage.SCRIPT, size_bytes=len(text), message=f"{asked.name} for {peer}")
        self._sightings.finished(mac, Stage.SCRIPT)
        return text

    def _made(self, asked: Asked, mac: str, here: Here) -> bytes:
        firmware = self._sightings.firmware_of(mac)
        if asked.wanted is Wanted.U_BOOT_SCRIPT:
            # It asks for its configuration next: the token, which is good once, is in that.
            return u_boot_script(self._director.boot_target(mac, firmware))
        target = self._director.script_target(mac, firmware, here.url)
        match asked.wanted:
            case Wanted.IPXE_SCRIPT:
                return render(target, mac, here).encode()
            case Wanted.GRUB_CONFIG:
                return grub(target, mac, here).encode()
            case _:
                return pxelinux(target).encode()

    def _file(self, asked: Asked, peer: str, here: Here, mac: str) -> Path | bytes | None:
        match asked.wanted:
            case Wanted.GRUB_FILE:
                return _inside(self._boot_dir / "grub", asked.name) or _inside(self._grub_home, asked.name)
            case Wanted.RELEASE_FILE:
                release, _, file = asked.name.partition("/")
                found = self._director.release_file(release, file)
                return found.resolve() if found else None
            case Wanted.SPARC_PROGRAM:
                return self._sparc_program(asked, peer, mac)
            case Wanted.RASPBERRY_PI_FILE:
                return None
            case _:
                found = _inside(self._boot_dir, asked.name)
                if found and asked.name in GRUB_IMAGES:
                    return grub_image.for_address(found.read_bytes(), here.address)
                return found

    def _sparc_program(self, asked: Asked, peer: str, mac: str) -> Path | None:
        """That of the release the machine is to get; else the one for all."""
        if asked.address != _address(peer):
            return None
        target = self._target(mac) if mac else None
        if isinstance(target, NetBoot):
            of_release = self._director.release_file(target.release, SPARC_PROGRAM)
            if of_release:
                return of_release.resolve()
        found = _inside(self._boot_dir, SPARC_PROGRAM)
        if found is None:
            log.warning(
                "%s (OpenBoot) asks for its boot program, and there is no %s",
                peer,
                self._boot_dir / SPARC_PROGRAM,
            )
        return found

    def _raspberry_pi_file(self, asked: Asked, path: str) -> Path | None:
        """A file of the machine's own directory if it has one, else of the one for all.

        The ROM asks in its own directory first, and at the root when it finds no start.elf there.
        """
        directory = self._director.net().raspberry_pi
        if directory is None or asked.wanted not in (Wanted.RASPBERRY_PI_FILE, Wanted.PROGRAM):
            return None
        return _inside(directory, path) or (_inside(directory, asked.name) if asked.serial else None)


def _inside(directory: Path, relative: str) -> Path | None:
    """A regular file below a directory, and not behind a link that leads out of it."""
    if any(part.startswith(".") for part in relative.split("/")):
        return None
    # Strings until it is there: Path interns every part of a name, and a stranger has many names.
    found = os.path.realpath(f"{directory}/{relative}")
    inside = found.startswith(f"{os.path.realpath(directory)}/")
    return Path(found) if inside and os.path.isfile(found) else None  # noqa: PTH113


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except AddressValueError:
        return None
