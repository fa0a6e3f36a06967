"""What a cross stage has besides its compiler: a root of the other processor, SYSROOT of all builds."""

import re
import shutil
from pathlib import Path

from appliance.run import run
from buildfarm.reference_recipes import PORTAGE_ID, Machine

# Of the merged /usr: where programs ask for their loader, and where econf installs libraries.
LINKS = (
    ("lib", "usr/lib"),
    ("lib64", "usr/lib"),
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("usr/lib64", "lib"),
)
DIRECTORIES = ("dev", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/lib", "usr/sbin", "var/log")
OWNED = ("var/cache/distfiles", "var/log/portage", "var/tmp/portage")
ONLY_TO_COMPILE = ("usr/include", "usr/lib/*.a", "usr/lib/*.o")


def lay_sysroot(machine: Machine, root: Path) -> None:
    """Make the root that is compiled for, of what Debian's cross compiler brings: the C library and GCC's."""
    sysroot = root / machine.sysroot
    for name in (*DIRECTORIES, *OWNED):
        (sysroot / name).mkdir(parents=True, exist_ok=True)
    for name in OWNED:
        shutil.chown(sysroot / name, int(PORTAGE_ID), int(PORTAGE_ID))
    (sysroot / "tmp").chmod(0o1777)
    for name, target in LINKS:
        (sysroot / name).symlink_to(target)
    brought = root / "usr" / machine.triplet
    shutil.copytree(brought / "include", sysroot / "usr/include", symlinks=True)
    # The loader is in lib64, all else in lib.
    for path in sorted([*(brought / "lib").iterdir(), *brought.glob("lib64/*")]):
        if not path.is_dir():
            shutil.copy2(path, sysroot / "usr/lib" / path.name, follow_symlinks=False)
    _relocate(sysroot / "usr/lib", f"/usr/{machine.triplet}")


def _relocate(libraries: Path, before: str) -> None:
    """Linker scripts name files of Debian's place for them; ld looks for absolute names below the sysroot."""
    for path in sorted(libraries.glob("*.so")):
        text = path.read_bytes()
        if not path.is_symlink() and text[:4] != b"\x7fELF":
            path.write_bytes(re.sub(rb"%b/lib(64)?/" % re.escape(before.encode()), b"/usr/lib/", text))


def take_out(archive: Path, machine: Machine, place: Path) -> Path:
    """The sysroot of a packed cross stage as the root of a machine, without what only compilers read."""
    member = f"./{machine.sysroot}"
    run(["tar", "--extract", "--zstd", f"--file={archive}", f"--directory={place}", member])
    root = place / machine.sysroot
    for pattern in ONLY_TO_COMPILE:
        for path in sorted(root.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return root
