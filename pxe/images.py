"""Makes the directory of boot programs."""

import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.run import CommandFailed, run
from pxe.configs import GRUB_MODULES
from pxe.grub_image import PLACEHOLDER
from pxe.policy import BIOS_PROGRAM, UEFI_LOCAL_PROGRAM, UEFI_PROGRAM
from pxe.programs import GRUB_IMAGES, PROGRAMS, SHIM, Program
from pxe.shim import SHIM_FILES, generations, make_shim_files, needed_packages

log = logging.getLogger(__name__)

IPXE = Path("/usr/lib/ipxe")
GRUB_HOME = Path("/usr/lib/grub")
GRUB = GRUB_HOME / "x86_64-efi"
GRUB_WITH_GENERATIONS = GRUB / "monolithic" / "grubx64.efi"
GRUB_MKIMAGE = Path("/usr/bin/grub-mkimage")
SIGNED = SHIM_FILES | {UEFI_PROGRAM, UEFI_LOCAL_PROGRAM}
KNOWN = SIGNED | GRUB_IMAGES | {BIOS_PROGRAM}

# Only FAT is known to this GRUB, so a CD or the root file system is never taken for the EFI partition.
# tpm: with Secure Boot on, GRUB opens a loader only when some verifier looks at it, and this one never
# refuses. Whether the loader may start is asked of the firmware (LoadImage). The script below cannot be
# changed and ends without a prompt, so nothing else is opened.
LOCAL_MODULES = (
    "part_gpt", "part_msdos", "fat", "search", "search_fs_file", "chain", "echo", "minicmd", "tpm",
)  # fmt: skip
# Each line runs whatever the one before did; `exit` hands over to the firmware when there was no disk.
LOCAL_CONFIG = """\
echo "DistServer: looking for the local disk's boot loader"
search --no-floppy --file --set=root /EFI/BOOT/BOOTX64.EFI
chainloader /EFI/BOOT/BOOTX64.EFI
boot
echo "DistServer: no local disk has /EFI/BOOT/BOOTX64.EFI"
exit
"""


Sign = Callable[[Path, Path], None]
"""Writes an EFI program with the site's signature to another file."""


def make_boot_directory(directory: Path, sign: Sign | None = None, *, shim: bool = False) -> None:
    """Fill `directory` with the boot programs. One whose package is missing is not there, and said.

    Each file is replaced in one step, so a server may hand out the old one meanwhile. With `sign` all UEFI
    programs of iPXE are signed: machines with Secure Boot start no others. GRUB images for other processors
    are made when there are modules for them (GRUB_HOME, or `directory`/grub). With `shim` x64 machines get
    Debian's shim, which Microsoft and the site have signed, and it starts iPXE.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as scratch:
        new = Path(scratch)
        made = _make_programs(new, directory, shim=bool(sign and shim))
        for name in sorted(made):
            if sign and name in SIGNED:
                sign(new / name, new / name)
            (new / name).chmod(0o644)
            (new / name).replace(directory / name)
        # Who has no program any more gets silence with a reason, not one that is not what it should be.
        for name in KNOWN - made:
            (directory / name).unlink(missing_ok=True)


def _make_programs(new: Path, directory: Path, *, shim: bool) -> set[str]:
    """Make what can be made in `new`; returns the names."""
    made = {one.file for one in PROGRAMS.values() if one.grub and _make_grub(one, directory, new)}
    for name in (BIOS_PROGRAM, UEFI_PROGRAM):
        if _there(name, {IPXE / name: "ipxe"}):
            shutil.copyfile(IPXE / name, new / name)
            made.add(name)
    grub: dict[Path, str] = {GRUB / "kernel.img": "grub-efi-amd64-bin", GRUB_MKIMAGE: "grub-common"}
    if shim:
        grub[GRUB_WITH_GENERATIONS] = "grub-efi-amd64-bin"
    if _there(UEFI_LOCAL_PROGRAM, grub):
        _make_local_program(new / UEFI_LOCAL_PROGRAM, new, shim=shim)
        made.add(UEFI_LOCAL_PROGRAM)
    if shim and UEFI_PROGRAM in made and _there(SHIM.file, needed_packages()):
        made |= set(make_shim_files(new, new / UEFI_PROGRAM))
    return made


def _there(name: str, needed: Mapping[Path, str]) -> bool:
    """Whether everything a boot program is made from is on this host; says what is not."""
    missing = [(path, package) for path, package in needed.items() if not path.exists()]
    for path, package in missing:
        log.warning("no %s: %s is missing (apt install %s)", name, path, package)
    return not missing


def _make_local_program(output: Path, scratch: Path, *, shim: bool) -> None:
    config = scratch / "local.cfg"
    config.write_text(LOCAL_CONFIG)
    image: list[str | Path] = ["-O", "x86_64-efi", "-d", GRUB, "-p", "/EFI/BOOT", "-c", config, "-o", output]
    if shim:
        (scratch / "generations").write_bytes(generations(GRUB_WITH_GENERATIONS))
        image += ["--sbat", scratch / "generations"]
    # Without a shim nothing of shim's is asked for: the firmware itself knows who signed.
    run([GRUB_MKIMAGE, "--disable-shim-lock", *image, *LOCAL_MODULES])


def grub_modules(program: Program, directory: Path) -> Path | None:
    """Where the modules of a GRUB image are on this host; None: nowhere."""
    places = (directory / "grub" / program.grub, GRUB_HOME / program.grub)
    return next((place for place in places if (place / "kernel.img").exists()), None)


def can_make(program: Program, directory: Path) -> bool:
    """Whether this host has what a boot program is made from."""
    return grub_modules(program, directory) is not None if program.grub else (IPXE / program.file).exists()


def _make_grub(program: Program, directory: Path, scratch: Path) -> bool:
    """Make the template of a GRUB image, unsigned: GRUB would load any kernel when it is told to."""
    modules = grub_modules(program, directory)
    if modules is None:
        log.debug("no %s: there are no modules for %s", program.file, program.grub)
        return False
    image: list[str | Path] = ["-O", program.grub, "-d", modules, "-p", PLACEHOLDER]
    try:
        run([GRUB_MKIMAGE, *image, "-o", scratch / program.file, *GRUB_MODULES, "efinet"])
    except CommandFailed as failed:
        said = (failed.output.strip().splitlines() or ["grub-mkimage says nothing"])[-1]
        log.warning("%s cannot be made, such machines get no answer: %s", program.file, said)
        return False
    return True
