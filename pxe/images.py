"""Makes the directory of boot programs."""

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from appliance.errors import Problem
from appliance.run import CommandFailed, run
from pxe.configs import GRUB_MODULES
from pxe.grub_image import PLACEHOLDER
from pxe.policy import BIOS_PROGRAM, UEFI_LOCAL_PROGRAM, UEFI_PROGRAM
from pxe.programs import PROGRAMS, Program
from pxe.shim import SHIM_FILES, generations, make_shim_files, needed_packages

log = logging.getLogger(__name__)

IPXE = Path("/usr/lib/ipxe")
GRUB_HOME = Path("/usr/lib/grub")
GRUB = GRUB_HOME / "x86_64-efi"
GRUB_MKIMAGE = Path("/usr/bin/grub-mkimage")

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
    """Fill `directory` with the boot programs. Raises Problem when one of their packages is missing.

    Each file is replaced in one step, so a server may hand out the old one meanwhile. With `sign` all UEFI
    programs of iPXE are signed: machines with Secure Boot start no others. GRUB images for other processors
    are made when there are modules for them (GRUB_HOME, or `directory`/grub); who has none gets no answer.
    With `shim` x64 machines get Debian's shim, which Microsoft and the site have signed, and it starts iPXE.
    """
    needed = {
        IPXE / BIOS_PROGRAM: "ipxe",
        IPXE / UEFI_PROGRAM: "ipxe",
        GRUB / "kernel.img": "grub-efi-amd64-bin",
        GRUB_MKIMAGE: "grub-common",
    }
    if sign and shim:
        needed |= needed_packages()
    for path, package in needed.items():
        if not path.exists():
            raise Problem(f"{path} is missing", hint=f"apt install {package}")
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory, prefix=".new-") as scratch:
        new = Path(scratch)
        made = [one.file for one in PROGRAMS.values() if one.grub and _make_grub(one, directory, new)]
        for name in (BIOS_PROGRAM, UEFI_PROGRAM):
            shutil.copyfile(IPXE / name, new / name)
        _make_local_program(new / UEFI_LOCAL_PROGRAM, new, shim=bool(sign and shim))
        if sign and shim:
            made += make_shim_files(new, new / UEFI_PROGRAM)
        if sign:
            for name in (UEFI_PROGRAM, UEFI_LOCAL_PROGRAM, *(one for one in made if one in SHIM_FILES)):
                sign(new / name, new / name)
        for name in (BIOS_PROGRAM, UEFI_PROGRAM, UEFI_LOCAL_PROGRAM, *made):
            (new / name).chmod(0o644)
            (new / name).replace(directory / name)
        for name in SHIM_FILES - set(made):
            (directory / name).unlink(missing_ok=True)


def _make_local_program(output: Path, scratch: Path, *, shim: bool) -> None:
    config = scratch / "local.cfg"
    config.write_text(LOCAL_CONFIG)
    image: list[str | Path] = ["-O", "x86_64-efi", "-d", GRUB, "-p", "/EFI/BOOT", "-c", config, "-o", output]
    if shim:
        (scratch / "generations").write_bytes(generations(GRUB / "monolithic" / "grubx64.efi"))
        image += ["--sbat", scratch / "generations"]
    # Without a shim nothing of shim's is asked for: the firmware itself knows who signed.
    run([GRUB_MKIMAGE, "--disable-shim-lock", *image, *LOCAL_MODULES])


def grub_modules(program: Program, directory: Path) -> Path | None:
    """Where the modules of a GRUB image are on this host; None: nowhere."""
    places = (directory / "grub" / program.grub, GRUB_HOME / program.grub)
    return next((place for place in places if (place / "kernel.img").exists()), None)


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
