"""What booting machines are measured with: a state directory that has one release, never built."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from appliance.farm_model import Release
from appliance.model import Tree
from appliance.services import init_site
from appliance.store import Store
from pxe.images import make_boot_directory
from tests.benches_net.wire import INTERFACE
from tests.small_linux import kernel, make_initramfs

RELEASE = "20260101-0123456789ab"
MARKER = "the stand-in installer runs"
PADDING_BYTES = 16_000_000
"""An installer that can partition and unpack is about that much more than a shell."""
_INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /dev
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox echo "{MARKER}" >/dev/console
while :; do /bin/busybox sleep 600; done
"""


@dataclass(frozen=True)
class StandIn:
    """A site and its state."""

    place: Path

    @property
    def site(self) -> Path:
        return self.place / "site"

    @property
    def tree(self) -> Tree:
        return Tree(self.place / "state")

    @property
    def release(self) -> Path:
        return self.tree.room("releases") / RELEASE

    def argv(self) -> list[str | Path]:
        """The boot process, as `distserver up` starts it."""
        words = ["process", "boot", "--site", str(self.site), "--interface", INTERFACE]
        return [sys.executable, "-m", "appliance.cli", "--state", self.tree.path, *words]


def make(place: Path) -> StandIn:
    """A stand-in: every machine that asks is unknown and boots the release's kernel and installer."""
    made = StandIn(place)
    init_site(made.site)
    made.release.mkdir(parents=True)
    shutil.copy(kernel(), made.release / "kernel")
    make_boot_directory(made.tree.room("boot"))
    archive = make_initramfs(place / "initramfs", _INIT)
    with archive.open("ab") as file:
        # The kernel takes zeros after an archive for padding.
        file.write(bytes(PADDING_BYTES))
    archive.rename(made.release / "installer")
    Store(made.tree.store).releases.add(Release(RELEASE, "vm", 0.0, "none", 0, 0))
    return made
