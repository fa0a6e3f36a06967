"""Makes the medium that the small installer reads on a Sun machine: a plain tar on a disk of its own."""

import hashlib
import io
import tarfile
import tempfile
from pathlib import Path

from appliance import sun_label
from appliance.errors import Problem
from appliance.run import run
from buildfarm import index, manifest, open_firmware
from buildfarm.inspection import Inspector
from buildfarm.pool import Pool

BOOT_BYTES = 16 << 20
SUMS = "sha256sums"
TYPED = 32
"""Hexadecimal digits of a hash, 128 bits: OpenBIOS cuts lines off after 80 characters."""


def make(release: Path, pool: Pool, inspector: Inspector, disk_bytes: int, output: Path) -> str:
    """Write the medium for a disk of this size; returns the first half of the SHA256 of its list of hashes.

    That hash is what a person (or the dialogue with the firmware) types, since the machine has nothing that
    could check a signature: it is checked here. Raises Problem when the release is not whole.
    """
    reasons = inspector.reasons(release)
    if reasons:
        raise Problem(f"release {release.name} cannot be installed: {'; '.join(reasons)}")
    slices = sun_label.plan(disk_bytes, [(sun_label.BOOT, BOOT_BYTES), (sun_label.ROOT, None)])
    packages = index.parse((release / "Packages").read_text()).paragraphs
    named = {one["CPV"]: f"pool/{one['SHA256']}.gpkg.tar" for one in packages}
    contents: dict[str, bytes] = {
        "boot.img": open_firmware.image((release / "kernel").read_bytes()),
        "label": sun_label.label(disk_bytes, slices),
        "packages": "".join(f"{cpv} {name}\n" for cpv, name in sorted(named.items())).encode(),
        "release": f"{manifest.parse((release / 'manifest').read_text()).id}\n".encode(),
        "sectors": f"{disk_bytes // sun_label.SECTOR}\n".encode(),
        "stage.tar.gz": _stage(release / "stage"),
        **{named[one["CPV"]]: pool.file(one["SHA256"]).read_bytes() for one in packages},
    }
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(contents.items())]
    sums = "".join(lines).encode()
    with tarfile.open(output, "w") as archive:
        for name, data in {**contents, SUMS: sums}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return hashlib.sha256(sums).hexdigest()[:TYPED]


def _stage(packed: Path) -> bytes:
    """The stage as busybox can unpack it: gzip instead of zstd."""
    with tempfile.TemporaryDirectory(prefix="stage-") as name:
        plain = Path(name) / "stage.tar"
        run(["zstd", "--quiet", "--decompress", packed, "-o", plain])
        run(["gzip", "--no-name", plain])
        return plain.with_suffix(".tar.gz").read_bytes()
