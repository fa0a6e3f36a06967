"""Signs what machines of a release boot with Secure Boot: the kernel, and the loader on their disk."""

from collections.abc import Mapping
from pathlib import Path

from appliance.errors import Problem
from appliance.secure_boot import SIGNED_KERNEL, SIGNED_LOADER
from buildfarm import efi
from buildfarm.site_keys import SiteKeys

SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi")
# It starts kernels only through the firmware (LoadImage), so they are verified as it was itself. GRUB would
# need a shim for that, or loads them unverified.
LOADERS = {"x64": SYSTEMD_BOOT / "systemd-bootx64.efi", "arm64": SYSTEMD_BOOT / "systemd-bootaa64.efi"}


def sign_boot_files(keys: SiteKeys, kernel: Path, out: Path) -> Mapping[str, Path] | str:
    """The signed files by their names in a release, made in `out`, or why this kernel has none.

    The same kernel gives the same bytes. Raises Problem when a package that signing needs is missing.
    """
    processor = efi.processor(kernel) if kernel.exists() else ""
    if not processor:
        return "the kernel is no EFI program, it needs CONFIG_EFI_STUB=y"
    loader = LOADERS.get(processor)
    if loader is None:
        return f"there is no boot loader for {processor}, expected one of {', '.join(sorted(LOADERS))}"
    if not loader.exists():
        raise Problem(f"{loader} is missing", hint="apt-get install systemd-boot-efi")
    keys.sign(kernel, out / SIGNED_KERNEL)
    keys.sign(loader, out / SIGNED_LOADER)
    return {name: out / name for name in (SIGNED_KERNEL, SIGNED_LOADER)}
