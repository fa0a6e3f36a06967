"""Makes what firmware starts from a medium: GRUB for BIOS and UEFI, the FAT image, the memory test."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.run import run
from iso.fat import fat_image
from iso.menu import ARM64, MEMORY_TESTS, Menu, first_commands, grub_config, identity_file
from iso.secure import Secured, Signed, secured

GRUB_MKIMAGE = Path("/usr/bin/grub-mkimage")
BIOS, ARM64_EFI = "i386-pc", "arm64-efi"
HYBRID_MBR = "boot_hybrid.img"
MEMORY_TEST_HOME = Path("/boot")
# Everything the menu needs: no module is looked for on the medium.
MODULES = (
    "normal", "configfile", "echo", "test", "true", "sleep", "minicmd", "ls", "cat", "linux", "boot", "chain",
    "iso9660", "fat", "ext2", "part_gpt", "part_msdos", "search", "search_fs_file", "regexp", "reboot",
    "halt",
)  # fmt: skip
X86 = ("cpuid",)
EFI_VIDEO = ("all_video",)
"""Without it a kernel that is not started through its EFI stub has no screen."""


@dataclass(frozen=True)
class Platform:
    """A firmware, by GRUB's name of it."""

    modules: tuple[str, ...]
    efi_name: str = ""
    """What UEFI looks for on a removable medium (UEFI 2.10, 3.5.1.1)."""
    remedy: str = ""
    """What brings its modules to this host."""


PLATFORMS: Mapping[str, Platform] = {
    BIOS: Platform((*X86, "biosdisk", "drivemap", "serial"), remedy="apt-get install grub-pc-bin"),
    "x86_64-efi": Platform((*X86, *EFI_VIDEO), "BOOTX64.EFI", "apt-get install grub-efi-amd64-bin"),
    "i386-efi": Platform((*X86, *EFI_VIDEO), "BOOTIA32.EFI", "apt-get install grub-efi-ia32-bin"),
    ARM64_EFI: Platform(EFI_VIDEO, "BOOTAA64.EFI", "distserver bootprograms fetch arm64"),
}


@dataclass(frozen=True)
class BootParts:
    """What makes a medium bootable."""

    bios: bytes | None
    """The El Torito image for BIOS; the writer fills in its boot information (GRUB's kind)."""
    mbr: bytes | None
    """Boot code of a stick; the writer fills in where `bios` lies."""
    efi: Path | None
    """The FAT image for UEFI."""
    files: Mapping[str, Path | bytes]
    """By path on the medium."""
    missing: tuple[str, ...]
    """What this host cannot put on the medium, in words for a person."""


def boot_parts(
    menu: Menu,
    scratch: Path,
    modules: Mapping[str, Path],
    *,
    memory_tests: Path = MEMORY_TEST_HOME,
    signed: Mapping[str, Signed] | None = None,
) -> BootParts:
    """Make them in `scratch`. The same menu gives the same bytes.

    `modules` has GRUB's modules by platform (`i386-pc`, `x86_64-efi`, `i386-efi`, `arm64-efi`).
    `signed` has what machines with Secure Boot start, by release (x64 only). Raises Problem when no
    firmware at all could start the medium.
    """
    if not GRUB_MKIMAGE.exists():
        raise Problem(f"{GRUB_MKIMAGE} is missing", hint="apt-get install grub-common")
    wanted = _wanted(menu)
    found = {name: modules[name] for name in wanted if name in modules and _complete(modules[name])}
    images = {name: _grub(name, path, menu, scratch) for name, path in found.items()}
    if not images:
        hint = "; ".join(PLATFORMS[name].remedy for name in wanted)
        raise Problem("no firmware could start this medium: GRUB's modules are missing", hint=hint)
    efi = {f"EFI/BOOT/{PLATFORMS[name].efi_name}": image for name, image in images.items() if name != BIOS}
    secure = secured(efi, menu, signed, scratch) if signed else Secured(efi, ())
    tests = {name: memory_tests / name for name in MEMORY_TESTS if (memory_tests / name).is_file()}
    files: dict[str, Path | bytes] = {
        identity_file(menu): b"",
        "boot/grub/grub.cfg": grub_config(menu, tests).encode(),
        **{f"boot/{name}": path for name, path in tests.items()},
    }
    return BootParts(
        bios=images[BIOS].read_bytes() if BIOS in images else None,
        mbr=(found[BIOS] / HYBRID_MBR).read_bytes() if BIOS in images else None,
        efi=fat_image(secure.files, scratch / "efi.img", volume_id=menu.medium_id[:8])
        if secure.files
        else None,
        files=files,
        missing=(*_missing(wanted, images, tests), *secure.left_out),
    )


def _complete(modules: Path) -> bool:
    return (modules / "kernel.img").exists() and (modules / "moddep.lst").exists()


def _grub(platform: str, modules: Path, menu: Menu, scratch: Path) -> Path:
    """GRUB with all it needs, which looks for this medium and reads the menu there."""
    config, image = scratch / "first.cfg", scratch / f"grub-{platform}"
    config.write_text(first_commands(menu))
    # The one for BIOS begins with the code that a CD's boot sector needs (GRUB's cdboot.img).
    kind = f"{platform}-eltorito" if platform == BIOS else platform
    words: list[str | Path] = ["-O", kind, "-d", modules, "-p", "/boot/grub", "-c", config, "-o", image]
    run([GRUB_MKIMAGE, *words, *MODULES, *PLATFORMS[platform].modules])
    return image


def _wanted(menu: Menu) -> list[str]:
    """The platforms of the processors the profiles are for."""
    foreign = {entry.arch == ARM64 for entry in menu.entries}
    return [name for name in PLATFORMS if (name == ARM64_EFI) in foreign]


def _missing(wanted: Collection[str], made: Collection[str], tests: Collection[str]) -> Iterator[str]:
    for name in wanted:
        if name not in made:
            yield f"no boot loader for {name}: {PLATFORMS[name].remedy}"
    if set(wanted) - {ARM64_EFI} and len(tests) < len(MEMORY_TESTS):
        yield "no memory test: apt-get install memtest86+"
