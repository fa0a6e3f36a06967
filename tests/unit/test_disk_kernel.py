"""What a kernel must know for its machine's disks, and the sentence when it does not."""

from dataclasses import replace

import pytest

from appliance import disk_kernel
from appliance.disk_model import DiskLayout
from appliance.overlays import HOME, example_site
from appliance.site import read_site
from appliance.site_model import Profile
from buildfarm.kernel import Kernel, disk_objections
from tests.layouts.catalogue import ALL, LUKS, MBR, RAID5, RAID_LVM, Layout

SITES = (HOME / "examples" / "five", example_site())
PROFILES = [profile for site in SITES for profile in read_site(site).profiles.values()]


def test_each_part_of_a_layout_names_what_it_needs() -> None:
    assert disk_kernel.needed(RAID_LVM.layout, "amd64") == {
        "EFI_PARTITION": "the gpt of the disk first",
        "MD_RAID1": "the array boot of level 1",
        "BLK_DEV_DM": "the volume group vg",
        "EXT4_FS": "the ext4 of boot",
        "SWAP": "the swap of swap",
        "XFS_FS": "the xfs of home",
    }
    assert {"DM_CRYPT", "CRYPTO_XTS", "CRYPTO_AES"} <= disk_kernel.needed(LUKS.layout, "amd64").keys()
    assert {"MD_RAID456", "BTRFS_FS", "VFAT_FS"} <= disk_kernel.needed(RAID5.layout, "amd64").keys()
    assert "MSDOS_PARTITION" in disk_kernel.needed(MBR.layout, "x86")
    assert "SUN_PARTITION" in disk_kernel.needed(MBR.layout, "sparc")
    assert disk_kernel.needed(DiskLayout(()), "amd64") == {}


@pytest.mark.parametrize("layout", ALL, ids=lambda one: one.name)
def test_a_kernel_lacks_exactly_what_is_taken_from_it(layout: Layout) -> None:
    symbols = disk_kernel.needed(layout.layout, "amd64")
    whole = "".join(f"CONFIG_{symbol}={'ym'[at % 2]}\n" for at, symbol in enumerate(symbols))
    assert disk_kernel.lacking(layout.layout, "amd64", whole) == []
    for symbol, why in symbols.items():
        without = whole.replace(f"CONFIG_{symbol}=", "CONFIG_OTHER=")
        (said,) = disk_kernel.lacking(layout.layout, "amd64", without)
        assert said == f"CONFIG_{symbol} is n, and {why} needs it"


def test_the_farm_says_which_kernel_it_is_and_nothing_of_one_that_is_not_known() -> None:
    known = Kernel("6.1", "/boot/vmlinuz-6.1", "CONFIG_SWAP=y\n", modules=False)
    assert disk_objections(MBR.layout, known, arch="amd64") == [
        "kernel 6.1: CONFIG_MSDOS_PARTITION is n, and the mbr of the disk needs it",
        "kernel 6.1: CONFIG_EXT4_FS is n, and the ext4 of root needs it",
    ]
    assert disk_objections(MBR.layout, replace(known, config=""), arch="amd64") == []


@pytest.mark.parametrize("profile", PROFILES, ids=lambda one: one.name)
def test_the_examples_ask_for_what_their_disks_need(profile: Profile) -> None:
    assert disk_kernel.lacking(profile.disk, profile.arch, profile.kernel_config) == []
