"""A profile as machines' tests want it: two firmwares, three partitions, nothing else."""

from appliance.model import Firmware
from appliance.profile_model import DiskLayout, Partition, Profile, StageSource

GIB = 2**30
STAGE = StageSource("reference:build")
PARTITIONS = (
    Partition("esp", 64 * 2**20, "vfat", "/boot/efi", Firmware.UEFI),
    Partition("bios", 2**20, "", "", Firmware.BIOS),
    Partition("root", None, "ext4", "/"),
)
PLAIN = Profile(
    name="vm",
    description="",
    arch="amd64",
    chost="x86_64-pc-linux-gnu",
    portage_profile="distserver:amd64",
    stage=STAGE,
    install_stage=STAGE,
    kernel_package="sys-kernel/k",
    kernel_arguments="console=ttyS0",
    kernel_config="",
    portage={},
    world=(),
    disk=DiskLayout(PARTITIONS, GIB),
)
