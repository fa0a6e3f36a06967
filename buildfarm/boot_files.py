"""Signs what machines of a release boot with Secure Boot: the kernel, and the loader on their disk."""

from collections.abc import Mapping
from pathlib import Path

from appliance.errors import Problem
from appliance.secure_boot import MOK_MANAGER, SHIM, SIGNED_KERNEL, SIGNED_LOADER
from buildfarm import efi
from buildfarm.site_keys import SiteKeys

SYSTEMD_BOOT = Path("/usr/lib/systemd/boot/efi")
# It starts kernels only through the firmware (LoadImage), so they are verified as it was itself. GRUB would
# need a shim for that, or loads them unverified.
LOADERS = {"x64": SYSTEMD_BOOT / "systemd-bootx64.efi", "arm64": SYSTEMD_BOOT / "systemd-bootaa64.efi"}


MICROSOFT_SIGNED = Path("/usr/lib/shim/shimx64.efi.signed")
SHIMS_MANAGER = Path("/usr/lib/shim/mmx64.efi.signed")


def sign_boot_files(
    keys: SiteKeys, kernel: Path, out: Path, *, shim: bool = False
) -> Mapping[str, Path] | str:
    """The signed files by their names in a release, made in `out`, or why this kernel has none.

    The same kernel gives the same bytes. With `shim` x64 gets Debian's shim, too. Raises Problem when a
    package that signing needs is missing.
    """
    processor = efi.processor(kernel) if kernel.exists() else ""
    if not processor:
        return "the kernel is no EFI program, it needs CONFIG_EFI_STUB=y"
    loader = LOADERS.get(processor)
    if loader is None:
        return f"there is no boot loader for {processor}, expected one of {', '.join(sorted(LOADERS))}"
    if not loader.exists() and processor != "x64":
        return f"{loader} is missing: it comes from Debian's systemd-boot-efi for {processor}"
    if not loader.exists():
        raise Problem(f"{loader} is missing", hint="apt-get install systemd-boot-efi")
    keys.sign(kernel, out / SIGNED_KERNEL)
    keys.sign(loader, out / SIGNED_LOADER)
    names = [SIGNED_KERNEL, SIGNED_LOADER]
    if shim and processor == "x64":
        if not MICROSOFT_SIGNED.exists():
            raise Problem(f"{MICROSOFT_SIGNED} is missing", hint="apt-get install shim-signed")
        keys.sign(MICROSOFT_SIGNED, out / SHIM)
        keys.sign(SHIMS_MANAGER, out / MOK_MANAGER)
        names += [SHIM, MOK_MANAGER]
    return {name: out / name for name in names}
