"""What a kernel must know for the disks of its profile; pure."""

from collections.abc import Iterator, Mapping

from appliance import kconfig
from appliance.disk_model import DiskLayout, Table

FILESYSTEMS = {"ext4": "EXT4_FS", "xfs": "XFS_FS", "btrfs": "BTRFS_FS", "vfat": "VFAT_FS", "swap": "SWAP"}
LEVELS = {0: "MD_RAID0", 1: "MD_RAID1", 5: "MD_RAID456", 10: "MD_RAID10"}
TABLES = {Table.GPT: "EFI_PARTITION", Table.MBR: "MSDOS_PARTITION"}
TABLES_OF_SUN = {Table.GPT: "SUN_PARTITION", Table.MBR: "SUN_PARTITION"}
"""OpenBoot starts from nothing but its own disk label, which stands for either."""
DEVICE_MAPPER = "BLK_DEV_DM"
ENCRYPTION = ("DM_CRYPT", "CRYPTO_XTS", "CRYPTO_AES")


def needed(layout: DiskLayout, arch: str) -> dict[str, str]:
    """Symbol without CONFIG_ -> the part of the layout that needs it, in the order of the layout."""
    found: dict[str, str] = {}
    for symbol, why in _needs(layout, TABLES_OF_SUN if arch == "sparc" else TABLES):
        found.setdefault(symbol, why)
    return found


def lacking(layout: DiskLayout, arch: str, config: str) -> list[str]:
    """What of it a kernel with this configuration has neither built in nor as a module; empty: nothing."""
    final = kconfig.parse(config)
    return [
        f"CONFIG_{symbol} is {final.get(symbol, 'n')}, and {why} needs it"
        for symbol, why in needed(layout, arch).items()
        if final.get(symbol) not in ("y", "m")
    ]


def _needs(layout: DiskLayout, tables: Mapping[Table, str]) -> Iterator[tuple[str, str]]:
    for disk in layout.disks:
        if disk.partitions:
            yield tables[disk.table], f"the {disk.table.value} of the disk {disk.role}".rstrip()
    for raid in layout.raids:
        yield LEVELS[raid.level], f"the array {raid.name} of level {raid.level}"
    for container in layout.containers:
        for symbol in (DEVICE_MAPPER, *ENCRYPTION):
            yield symbol, f"the container {container.name}"
    for group in layout.groups:
        yield DEVICE_MAPPER, f"the volume group {group.name}"
    for holder in layout.holders:
        if holder.filesystem:
            yield FILESYSTEMS[holder.filesystem], f"the {holder.filesystem} of {holder.name}"
