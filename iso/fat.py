"""FAT images whose bytes depend on nothing but what is in them."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.run import run

SECTOR_BYTES = 512
CLUSTER_BYTES = 2048
TRACK_BYTES = 32 * SECTOR_BYTES
"""mkfs.vfat uses no part of one."""
ROOT_ENTRIES, ENTRY_BYTES = 64, 32
LEAST_CLUSTERS = 64
"""mkfs.vfat makes none that is much smaller."""
MOST_BYTES = 32 * 1024 * 1024 - 1
# The number of clusters alone decides what kind of FAT it is (Microsoft, FAT specification, 3.5): stay clear
# of the border on both sides.
FAT12_MOST, FAT16_LEAST = 4000, 4200
ENVIRONMENT = {
    # mtools gives all files this time, in the time zone of the host.
    "SOURCE_DATE_EPOCH": "315532800",
    "TZ": "UTC",
    "MTOOLS_SKIP_CHECK": "1",
}


def fat_image(files: Mapping[str, Path], image: Path, *, volume_id: str) -> Path:
    """Write a FAT file system with just these files to `image`; returns it.

    `volume_id` is 8 hexadecimal digits. Raises Problem when it would be as big as El Torito cannot say: the
    number of its 512-byte sectors has 16 bits.
    """
    size, bits = _geometry(files)
    if size > MOST_BYTES:
        raise Problem(f"the image for UEFI would have {size} bytes, at most {MOST_BYTES} can be booted")
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    geometry = ["-F", str(bits), "-s", str(CLUSTER_BYTES // SECTOR_BYTES), "-r", str(ROOT_ENTRIES)]
    run(["mkfs.vfat", "--invariant", "-i", volume_id, "-n", "DISTSERVER", *geometry, image])
    for directory in _directories(files):
        run(["mmd", "-i", image, f"::/{directory}"], env=ENVIRONMENT)
    for name in sorted(files):
        run(["mcopy", "-i", image, files[name], f"::/{name}"], env=ENVIRONMENT)
    return image


def fat_bytes(files: Mapping[str, Path]) -> int:
    """How big the image of these files is."""
    return _geometry(files)[0]


def _geometry(files: Mapping[str, Path]) -> tuple[int, int]:
    """The size in bytes, and how many bits an entry of the FAT has."""
    content = sum(-(-path.stat().st_size // CLUSTER_BYTES) for path in files.values())
    clusters = max(content + sum(_directories(files).values()), LEAST_CLUSTERS)
    bits, clusters = (12, clusters) if clusters <= FAT12_MOST else (16, max(clusters, FAT16_LEAST))
    # Two FATs, the boot sector and the root directory.
    fat = -(-((clusters + 3) * bits) // (8 * SECTOR_BYTES)) + 1
    needed = clusters * CLUSTER_BYTES + (1 + 2 * fat) * SECTOR_BYTES + ROOT_ENTRIES * ENTRY_BYTES
    return -(-needed // TRACK_BYTES) * TRACK_BYTES, bits


def _directories(files: Mapping[str, Path]) -> dict[str, int]:
    """How many clusters each directory needs, those above first; the root's room is fixed."""
    paths = {str(one) for name in files for one in (PurePosixPath(name), *PurePosixPath(name).parents)} - {
        "."
    }
    entries: dict[str, int] = {}
    for path in map(PurePosixPath, sorted(paths)):
        # A long name takes an entry for every 13 characters of it; "." and ".." are two.
        entries[str(path.parent)] = entries.get(str(path.parent), 2) + 1 + -(-len(path.name) // 13)
    return {path: -(-count * ENTRY_BYTES // CLUSTER_BYTES) for path, count in entries.items() if path != "."}
