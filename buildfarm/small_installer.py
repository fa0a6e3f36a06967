"""An initramfs of busybox alone, for machines whose processor has no other program of the installer."""

from pathlib import Path

from appliance.errors import Problem
from appliance.overlays import overlay
from buildfarm.cpio import Entry, cpio, directory, file, node
from buildfarm.elf import linkage
from buildfarm.installer import BUSYBOX, Built, compress, overlay_entries
from buildfarm.view import View

PLACES = ("bin", "dev", "mnt", "proc", "run", "sys")
SHARED = (
    "etc/udhcpc.script", "lib/installer/facts.sh", "lib/installer/machine.sh", "lib/installer/network.sh",
    "lib/installer/report.sh",
)  # fmt: skip
"""Of the usual installer: what tells a server of this machine."""


def build(target_root: Path, output: Path) -> Built:
    """Write the initramfs to `output`; busybox is that of the profile's own root.

    Raises Problem when that has no busybox, or one that needs shared libraries.
    """
    view = View((target_root,))
    program = view.program(BUSYBOX)
    if program is None:
        raise Problem(
            f"there is no busybox in {target_root}", hint="the installer is made of sys-apps/busybox"
        )
    data = program.path.read_bytes()
    about = linkage(data)
    if about is None or about.interpreter:
        raise Problem(
            f"busybox of {target_root} needs shared libraries, expected a static one",
            hint="build sys-apps/busybox with USE=static",
        )
    entries: list[Entry] = [
        *(directory(name) for name in PLACES),
        node("dev/console", 5, 1),
        node("dev/null", 1, 3, 0o666),
        file("bin/busybox", data, 0o755),
        *(one for one in overlay_entries(overlay("installer")) if one.name in SHARED),
        *overlay_entries(overlay("small-installer")),
    ]
    archive = cpio(entries)
    output.unlink(missing_ok=True)
    output.write_bytes(compress(archive))
    return Built(output, len(archive), output.stat().st_size)
