"""What of a release goes onto a medium, by its path there; the same paths as over HTTP."""

from pathlib import Path

from appliance.secure_boot import SIGNED_KERNEL
from buildfarm.index import pool_path
from buildfarm.inspection import OWN
from buildfarm.installer import decompress
from buildfarm.manifest import Manifest
from buildfarm.pool import Pool

INSTALLER = "installer"
FINDS_MEDIA = "lib/installer/medium.sh"


def kernel_of(sealed: Manifest) -> str:
    """The name of the kernel that a medium boots: one with a signature boots everywhere."""
    return SIGNED_KERNEL if any(item.name == SIGNED_KERNEL for item in sealed.files) else "kernel"


def finds_media(installer: Path) -> bool:
    """Does it look for the medium it was started from? Older ones know networks only."""
    return f"{FINDS_MEDIA}\0".encode() in decompress(installer.read_bytes())


def booting(place: Path, sealed: Manifest) -> dict[str, Path]:
    """What starts the installer, and the signed manifest: all that an online image has of a release."""
    names = (*sorted(OWN), kernel_of(sealed), INSTALLER)
    return {f"r/{sealed.id}/{name}": place / name for name in names}


def whole(place: Path, sealed: Manifest, pool: Pool) -> dict[str, Path]:
    """Every file of a release and every package of it: an installation needs nothing else."""
    files = {f"r/{sealed.id}/{item.name}": place / item.name for item in sealed.files}
    packages = {pool_path(item.sha256): pool.file(item.sha256) for item in sealed.packages}
    return booting(place, sealed) | files | packages
