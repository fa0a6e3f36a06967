"""Small images for sticks that another author made: xorriso, with a medium's description and manifests."""

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path

from appliance import medium
from appliance.medium import Medium, MediumFile
from appliance.run import run
from buildfarm import manifest
from buildfarm.manifest import Item, Manifest

BOOT_HYBRID = Path("/usr/lib/grub/i386-pc/boot_hybrid.img")
CREATED = "2026-01-01T00:00:00Z"
LABEL = "DISTSERVER_VM"


def item(name: str, data: bytes) -> Item:
    return Item(name, len(data), hashlib.sha256(data).hexdigest())


def medium_files(size: int = 3_000_000) -> dict[str, bytes]:
    """What is on an offline medium of one release with one package of `size` bytes."""
    package = random.Random(7).randbytes(size)
    files = {"kernel": b"a kernel", "installer": b"an installer" * 400}
    said = manifest.identify(
        Manifest(
            profile="vm",
            arch="amd64",
            created=CREATED,
            snapshot="s1",
            files=tuple(item(name, data) for name, data in files.items()),
            packages=(item("app-misc/hello-2-1", package),),
        )
    )
    planner = {medium.PLANNER: b"a planner", medium.PROFILES: b"{}"}
    listed = tuple(
        MediumFile(one.name, one.size_bytes, one.sha256) for one in (item(*pair) for pair in planner.items())
    )
    here = medium.identify(Medium(CREATED, "http://10.0.0.1", True, ((said.id, "vm"),), listed))
    pool = hashlib.sha256(package).hexdigest()
    return {
        "distserver/medium": medium.write(here).encode(),
        f"distserver/id-{here.id}": b"",
        **planner,
        f"r/{said.id}/manifest": manifest.write(said).encode(),
        **{f"r/{said.id}/{name}": data for name, data in files.items()},
        f"pool/{pool[:2]}/{pool}.gpkg.tar": package,
    }


def hybrid_image(place: Path, files: Mapping[str, bytes], *, hybrid: bool = True) -> Path:
    """An ISO image of these files; `hybrid`: with MBR, GPT and an EFI partition, as for sticks."""
    tree = place / "tree"
    for name, data in {**files, "boot.img": bytes(4096)}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)
    run(["mkfs.vfat", "-C", "--invariant", place / "efi.img", "1440"])
    image = place / "image.iso"
    partitions: list[str | Path] = [
        "-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot",
        "-append_partition", "2", "0xef", place / "efi.img", "-appended_part_as_gpt",
        "--grub2-mbr", BOOT_HYBRID,
    ]  # fmt: skip
    run(
        [
            "xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", LABEL,
            "-b", "boot.img", "-no-emul-boot", "-boot-load-size", "4",
            *(partitions if hybrid else ()), "-o", image, tree,
        ]
    )  # fmt: skip
    return image
