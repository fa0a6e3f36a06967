"""Puts the site's signed loader, kernels and their installers into the FAT image for UEFI x64."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from iso.entries import GRUB, Bootable, loader_files
from iso.fat import MOST_BYTES, fat_bytes
from iso.menu import Entry, Menu

X64 = "EFI/BOOT/BOOTX64.EFI"
SHIMS_SECOND, SHIMS_MANAGER = "EFI/BOOT/grubx64.efi", "EFI/BOOT/mmx64.efi"
"""The names that shim starts its neighbours by."""


@dataclass(frozen=True)
class Signed:
    """Files of a release: all but the installer have the site's signature."""

    loader: Path
    kernel: Path
    installer: Path
    shim: Path | None = None
    mok_manager: Path | None = None


@dataclass(frozen=True)
class Secured:
    """What the FAT image holds, and which profiles machines with Secure Boot are not offered, and why."""

    files: Mapping[str, Path]
    left_out: tuple[str, ...]


def secured(programs: Mapping[str, Path], menu: Menu, signed: Mapping[str, Signed], scratch: Path) -> Secured:
    """Let UEFI x64 begin with the signed loader of the first profile that fits.

    `programs` is the FAT image without that; its GRUB moves to where the loader's menu names it. `signed`
    has the files by release.
    """
    files: dict[str, Path] = {**programs}
    bootable: list[Bootable] = []
    left_out: list[str] = []
    if X64 in files:
        files[GRUB] = files.pop(X64)
    for entry in menu.entries:
        if (one := signed.get(entry.release)) is None:
            left_out.append(f"not with Secure Boot: profile {entry.profile}, whose release is not signed")
            continue
        found = Bootable(entry, _named("kernel", one.kernel), _named("installer", one.installer))
        more = {found.kernel: one.kernel, found.installer: one.installer}
        if not bootable:
            more |= _loader(one)
        if fat_bytes({**files, **more, **_written(menu, [*bootable, found], scratch)}) > MOST_BYTES:
            left_out.append(f"not with Secure Boot: profile {entry.profile}, {_why(entry, one)}")
            continue
        bootable.append(found)
        files |= more
    if not bootable:
        return Secured(programs, tuple(left_out))
    return Secured({**files, **_written(menu, bootable, scratch)}, tuple(left_out))


def _loader(one: Signed) -> Mapping[str, Path]:
    if one.shim is None:
        return {X64: one.loader}
    more = {SHIMS_MANAGER: one.mok_manager} if one.mok_manager else {}
    return {X64: one.shim, SHIMS_SECOND: one.loader, **more}


def _named(kind: str, file: Path) -> str:
    """The same kernels and installers of several releases are there once."""
    with file.open("rb") as opened:
        return f"distserver/{kind}-{file_digest(opened, 'sha256').hexdigest()[:16]}"


def _written(menu: Menu, bootable: list[Bootable], scratch: Path) -> dict[str, Path]:
    return dict(_write(loader_files(menu, bootable), scratch / "secure"))


def _write(texts: Mapping[str, str], place: Path) -> Iterator[tuple[str, Path]]:
    for name, text in texts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
        yield name, place / name


def _why(entry: Entry, one: Signed) -> str:
    size = one.kernel.stat().st_size + one.installer.stat().st_size
    return (
        f"whose kernel and installer ({size} bytes, release {entry.release}) do not fit into what UEFI starts"
        f" from a CD ({MOST_BYTES} bytes)"
    )
