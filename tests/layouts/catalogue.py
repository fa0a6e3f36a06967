"""The layouts that are installed: each a piece of profile.toml, read as the server reads it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from appliance.disk_model import DiskLayout
from appliance.disk_profiles import read_disks
from appliance.model import Firmware

GIB = 2**30
MIB = 2**20


@dataclass(frozen=True)
class Layout:
    """One of them, the machine it is for, and what is seen on the machine that started from it."""

    name: str
    firmware: Firmware
    disks_bytes: tuple[int, ...]
    toml: str
    seen: tuple[str, ...]
    """Regular expressions, each of a line on the console."""
    again: bool = False
    """It is installed a second time, and /home is what it was."""
    sealed: bool = False
    """It has a container: without its key, or with the passphrase of a person, it starts as it should."""
    without: tuple[int, ...] = ()
    """Disks (from 0) that it starts without, after it started with all."""

    @property
    def layout(self) -> DiskLayout:
        complaints: list[str] = []
        layout = read_disks(Path(self.name), tomllib.loads(self.toml), complaints)
        assert not complaints, complaints
        return layout


MBR = Layout(
    "mbr-ext4",
    Firmware.BIOS,
    (GIB,),
    """
[disk]
table = "mbr"
[[disk.partition]]
name = "swap"
size = "64 MiB"
filesystem = "swap"
[[disk.partition]]
name = "root"
size = "rest"
filesystem = "ext4"
mount = "/"
""",
    (r"mounted: \S+ on / type ext4", r"swap: /dev/vda1"),
)
XFS_HOME = Layout(
    "gpt-xfs-home-kept",
    Firmware.UEFI,
    (2 * GIB,),
    """
[disk]
[[disk.partition]]
name = "esp"
size = "64 MiB"
filesystem = "vfat"
mount = "/boot/efi"
[[disk.partition]]
name = "boot"
size = "256 MiB"
filesystem = "ext4"
mount = "/boot"
[[disk.partition]]
name = "root"
size = "1 GiB"
filesystem = "xfs"
mount = "/"
[[disk.partition]]
name = "home"
size = "rest"
filesystem = "xfs"
mount = "/home"
keep = true
""",
    (r"mounted: /dev/vda3 on / type xfs", r"mounted: /dev/vda4 on /home type xfs"),
    again=True,
)
BTRFS = Layout(
    "gpt-btrfs-subvolumes",
    Firmware.BIOS,
    (2 * GIB,),
    """
[disk]
[[disk.partition]]
name = "bios"
size = "1 MiB"
firmware = "bios"
[[disk.partition]]
name = "boot"
size = "256 MiB"
filesystem = "ext4"
mount = "/boot"
[[disk.partition]]
name = "root"
size = "rest"
filesystem = "btrfs"
options = "compress=zstd:1"
[[disk.partition.subvolume]]
name = "@"
mount = "/"
[[disk.partition.subvolume]]
name = "@home"
mount = "/home"
options = "nodev"
""",
    (
        r"mounted: /dev/vda3 on / type btrfs .*subvol=/@[,)]",
        r"mounted: /dev/vda3 on /home type btrfs .*nodev",
    ),
)


def mirror(*, boot: bool) -> str:
    """Two disks for a BIOS with an array of everything, and perhaps one of its own for /boot before it."""
    text, parts = "", ["boot", "data"] if boot else ["data"]
    for letter, role, serial in (("a", "first", "LAYOUT0"), ("b", "second", "LAYOUT1")):
        text += f'[[disks]]\nrole = "{role}"\nserial = "{serial}"\n'
        text += f'[[disks.partition]]\nname = "bios-{letter}"\nsize = "1 MiB"\nfirmware = "bios"\n'
        for part in parts:
            size = "256 MiB" if part == "boot" else "rest"
            text += f'[[disks.partition]]\nname = "{part}-{letter}"\nsize = "{size}"\n'
    for part in parts:
        text += f'[[raid]]\nname = "{part}"\nlevel = 1\nmembers = ["{part}-a", "{part}-b"]\n'
        if part == "boot":
            text += 'metadata = "1.0"\nfilesystem = "ext4"\nmount = "/boot"\n'
    return text


RAID_LVM = Layout(
    "raid1-lvm",
    Firmware.BIOS,
    (2 * GIB, 2 * GIB),
    mirror(boot=True)
    + """
[[lvm]]
name = "vg"
members = ["data"]
[[lvm.volume]]
name = "root"
size = "1 GiB"
filesystem = "ext4"
mount = "/"
[[lvm.volume]]
name = "swap"
size = "64 MiB"
filesystem = "swap"
[[lvm.volume]]
name = "home"
size = "rest"
filesystem = "xfs"
mount = "/home"
""",
    (
        r"mounted: /dev/(mapper/vg-root|dm-\d+) on / type ext4",
        r"mounted: /dev/(mapper/vg-home|dm-\d+) on /home type xfs",
        r"md: md1 : active raid1",
        r"swap: /dev/dm-",
    ),
    without=(0,),
)

RAID_LVM_BOOT = Layout(
    "raid1-lvm-boot",
    Firmware.BIOS,
    (GIB, GIB),
    # GRUB reads its own files, kernel and initramfs from a logical volume on a mirror of metadata 1.2.
    mirror(boot=False)
    + """
[[lvm]]
name = "vg"
members = ["data"]
[[lvm.volume]]
name = "swap"
size = "64 MiB"
filesystem = "swap"
[[lvm.volume]]
name = "root"
size = "rest"
filesystem = "ext4"
mount = "/"
""",
    (
        r"mounted: /dev/(mapper/vg-root|dm-\d+) on / type ext4",
        r"md: md0 : active raid1",
        r"swap: /dev/dm-",
    ),
)


def spread(level: int, count: int) -> str:
    """An array of so many disks for /, and UEFI's partition on each of two."""
    text = ""
    for number in range(count):
        text += f'[[disks]]\nrole = "d{number}"\nserial = "LAYOUT{number}"\n'
        if number < 2:
            mount = "/boot/efi" + ("" if number == 0 else str(number + 1))
            text += (
                f'[[disks.partition]]\nname = "esp{number}"\nsize = "64 MiB"\n'
                f'filesystem = "vfat"\nmount = "{mount}"\n'
            )
        text += f'[[disks.partition]]\nname = "part{number}"\nsize = "rest"\n'
    members = ", ".join(f'"part{number}"' for number in range(count))
    return text + f'[[raid]]\nname = "root"\nlevel = {level}\nmembers = [{members}]\n'


RAID5 = Layout(
    "raid5-btrfs",
    Firmware.UEFI,
    (GIB, GIB, GIB),
    spread(5, 3)
    + 'filesystem = "btrfs"\n[[raid.subvolume]]\nname = "@"\nmount = "/"\n'
    + '[[raid.subvolume]]\nname = "@home"\nmount = "/home"\n',
    (r"mounted: /dev/md0 on / type btrfs", r"md: md0 : active .*raid5"),
    without=(2,),
)
RAID10 = Layout(
    "raid10-xfs",
    Firmware.UEFI,
    (GIB, GIB, GIB, GIB),
    spread(10, 4) + 'filesystem = "xfs"\nmount = "/"\n',
    (r"mounted: /dev/md0 on / type xfs", r"md: md0 : active .*raid10"),
    without=(0,),
)
RAID0 = Layout(
    "raid0-ext4",
    Firmware.UEFI,
    (GIB, GIB),
    spread(0, 2) + 'filesystem = "ext4"\nmount = "/"\n',
    (r"mounted: /dev/md0 on / type ext4", r"md: md0 : active .*raid0"),
)
LUKS = Layout(
    "luks-lvm",
    Firmware.UEFI,
    (2 * GIB,),
    """
[disk]
[[disk.partition]]
name = "esp"
size = "64 MiB"
filesystem = "vfat"
mount = "/boot/efi"
[[disk.partition]]
name = "boot"
size = "256 MiB"
filesystem = "ext4"
mount = "/boot"
[[disk.partition]]
name = "sealed"
size = "rest"
[[luks]]
name = "crypt"
on = "sealed"
[[lvm]]
name = "vg"
members = ["crypt"]
[[lvm.volume]]
name = "root"
size = "1 GiB"
filesystem = "ext4"
mount = "/"
[[lvm.volume]]
name = "home"
size = "rest"
filesystem = "ext4"
mount = "/home"
""",
    (
        r"distserver: crypt is open: the server gave its key",
        r"mounted: /dev/(mapper/vg-root|dm-\d+) on / type ext4",
        r"mounted: /dev/(mapper/vg-home|dm-\d+) on /home type ext4",
    ),
    sealed=True,
)
ALL = (MBR, XFS_HOME, BTRFS, RAID_LVM, RAID_LVM_BOOT, RAID5, RAID10, RAID0, LUKS)
