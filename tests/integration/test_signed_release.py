"""A farm of a site with Secure Boot keys: its releases have a signed kernel and loader."""

import shutil
from pathlib import Path

from appliance.run import run
from buildfarm.boot_files import SYSTEMD_BOOT
from buildfarm.release import SIGNED
from buildfarm.site_keys import SiteKeys
from tests.integration.farmyard import Farmyard


def kernel_with_an_efi_stub(farm: Farmyard) -> Path:
    """Let the tiny kernel's package install an EFI program; returns it."""
    place = farm.repository / "sys-kernel" / "tiny-kernel"
    (place / "files").mkdir()
    program = place / "files" / "kernel"
    shutil.copy(SYSTEMD_BOOT / "systemd-bootx64.efi", program)
    ebuild = place / "tiny-kernel-1.ebuild"
    line = 'newins "${T}"/vmlinuz vmlinuz-${PV}'
    text = ebuild.read_text()
    assert line in text
    ebuild.write_text(text.replace(line, 'newins "${FILESDIR}"/kernel vmlinuz-${PV}'))
    return program


def test_releases_are_signed_from_the_day_the_site_has_keys(grown: Farmyard) -> None:
    keys = SiteKeys.below(grown.tree)
    keys.make("test")
    unsigned = grown.build()
    assert unsigned.release is not None and not unsigned.fresh
    assert any("it needs CONFIG_EFI_STUB=y" in one.message for one in grown.seen)

    program = kernel_with_an_efi_stub(grown)
    result = grown.build()
    assert result.reasons == () and result.release is not None
    place = grown.tree.room("releases") / result.release.id
    for name in SIGNED:
        run(["sbverify", "--cert", keys.home / "db.crt", place / name])
    # The machine finds the kernel's package by the bytes it installed.
    assert (place / "kernel").read_bytes() == program.read_bytes() != (place / "kernel.efi").read_bytes()

    again = grown.build()
    assert again.release == result.release and not again.fresh
