"""What firmware starts from a medium, made by the real GRUB and mtools."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from iso.fat import fat_image
from iso.loaders import PLATFORMS, boot_parts
from iso.menu import MEMORY_TESTS
from tests.unit.test_menu import MENU, PI

MODULES: Mapping[str, Path] = {
    name: Path("/usr/lib/grub") / name for name in ("i386-pc", "x86_64-efi", "i386-efi")
}
MIB = 1 << 20


def read_back(image: Path, name: str, place: Path) -> bytes:
    run(["mcopy", "-n", "-i", image, f"::/{name}", place / "copy"])
    data = (place / "copy").read_bytes()
    (place / "copy").unlink()
    return data


def test_every_firmware_of_the_profiles_has_its_loader(tmp_path: Path) -> None:
    parts = boot_parts(MENU, tmp_path, MODULES)
    assert parts.missing == ()
    # GRUB's boot information goes to offset 2548: it begins with its code for a CD's boot sector.
    cdboot = (MODULES["i386-pc"] / "cdboot.img").read_bytes()
    assert parts.bios is not None and parts.bios[:8] == cdboot[:8] and len(parts.bios) > 100_000
    assert parts.mbr == (MODULES["i386-pc"] / "boot_hybrid.img").read_bytes()
    assert parts.efi is not None
    run(["fsck.vfat", "-n", parts.efi])
    assert read_back(parts.efi, "EFI/BOOT/BOOTX64.EFI", tmp_path)[:2] == b"MZ"
    assert read_back(parts.efi, "EFI/BOOT/BOOTIA32.EFI", tmp_path)[:2] == b"MZ"
    # As small as it can be: what is in it and the tables of the file system.
    programs = sum((tmp_path / f"grub-{name}").stat().st_size for name in ("x86_64-efi", "i386-efi"))
    assert programs < parts.efi.stat().st_size < programs + 32 * 1024
    assert parts.files["distserver/id-0123456789abcdef"] == b""
    assert {f"boot/{name}" for name in MEMORY_TESTS} < set(parts.files)


def test_the_same_menu_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        parts = boot_parts(MENU, tmp_path / name, MODULES)
        assert parts.efi is not None
        made.append((parts.bios, parts.efi.read_bytes(), parts.files))
    assert made[0] == made[1]
    (tmp_path / "three").mkdir()
    other = boot_parts(replace(MENU, medium_id="f" * 16), tmp_path / "three", MODULES)
    assert other.efi is not None and other.efi.read_bytes() != made[0][1] and other.bios != made[0][0]


def test_what_the_host_lacks_is_said(tmp_path: Path) -> None:
    menu = replace(MENU, entries=(*MENU.entries, PI))
    few = {"x86_64-efi": MODULES["x86_64-efi"], "i386-efi": tmp_path / "nowhere"}
    parts = boot_parts(menu, tmp_path, few, memory_tests=tmp_path)
    assert parts.bios is None and parts.mbr is None
    assert parts.missing == (
        "no boot loader for i386-pc: apt-get install grub-pc-bin",
        "no boot loader for i386-efi: apt-get install grub-efi-ia32-bin",
        "no boot loader for arm64-efi: distserver bootprograms fetch arm64",
        "no memory test: apt-get install memtest86+",
    )
    config = parts.files["boot/grub/grub.cfg"]
    assert isinstance(config, bytes) and b"emory test" not in config


def test_an_image_for_arm64_alone_needs_nothing_of_x86(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no firmware could start") as problem:
        boot_parts(replace(MENU, entries=(PI,)), tmp_path, MODULES)
    assert problem.value.hint == PLATFORMS["arm64-efi"].remedy


@pytest.mark.parametrize("size", [0, 1, 2048, 4 * MIB, 7_950 * 1024, 8_200 * 1024, 20 * MIB, 31 * MIB])
def test_a_fat_image_holds_what_it_is_given(size: int, tmp_path: Path) -> None:
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    (tmp_path / "big").write_bytes(content)
    (tmp_path / "small").write_bytes(b"x")
    files = {"A/B/BIG.EFI": tmp_path / "big", "LOADER/ENTRIES/SMALL": tmp_path / "small"}
    image = fat_image(files, tmp_path / "image", volume_id="01234567")
    run(["fsck.vfat", "-n", image])
    assert read_back(image, "A/B/BIG.EFI", tmp_path) == content
    assert read_back(image, "LOADER/ENTRIES/SMALL", tmp_path) == b"x"
    assert image.stat().st_size < 32 * MIB


def test_what_no_cd_can_boot_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as file:
        file.truncate(32 * MIB - 60 * 1024)
    with pytest.raises(Problem, match="at most"):
        fat_image({"BIG": tmp_path / "big"}, tmp_path / "image", volume_id="01234567")
