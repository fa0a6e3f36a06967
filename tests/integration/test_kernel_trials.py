"""Real GRUB, real kernels: from one that panics and one that says nothing a machine comes back by itself."""

import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from appliance.model import Firmware
from appliance.overlays import overlay
from appliance.run import run
from appliance.vm import Vm, VmDisk
from appliance.vm_power import power_on
from distserver_client import grubenv
from distserver_client.kernels import Kernels
from distserver_client.loader import BLOCK, MENU, Grub
from distserver_client.paths import Places
from distserver_client.trials import Start
from tests import kernel_guest
from tests.grub_disk import MIB, ROOT_AT, SECTOR, make_disk
from tests.small_linux import make_initramfs

MODULES = (
    "virtio_ring.ko", "virtio.ko", "virtio_pci_legacy_dev.ko", "virtio_pci_modern_dev.ko", "virtio_pci.ko",
    "virtio_blk.ko",
)  # fmt: skip
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys /new
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /$module; done
until [ -b /dev/vda2 ]; do /bin/busybox usleep 50000; done
/bin/busybox mount -t ext4 /dev/vda2 /new
/bin/busybox mount -t tmpfs run /new/run
echo {name} >/new/run/tag
exec /bin/busybox switch_root /new /sbin/init
"""
PANICS = "#!/bin/busybox sh\nexit 1\n"
INITTAB = """::sysinit:/etc/rc
::once:/etc/guest
::shutdown:/bin/busybox umount -a -r
"""
RC = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
"""
GUEST = """#!/bin/busybox sh
/usr/bin/python3 -IB /guest.py >/dev/ttyS0 2>&1
"""
MENU_OF_INSTALLER = """if serial --unit=0 --speed=115200; then
  terminal_input console serial
  terminal_output console serial
fi
set timeout=1
set default=0
menuentry "Gentoo" {
  linux /boot/vmlinuz-old root=/dev/vda2 rootwait ro console=ttyS0
  initrd /boot/initrd-old
}
"""
NOT_NEEDED = ("test", "idlelib", "lib2to3", "ensurepip", "pydoc_data", "*-packages", "__pycache__")
SECONDS = 900.0
"""For one start and what it does: of a machine without hardware help, on a host that has other work."""


def lay_python(root: Path) -> None:
    """Python with its libraries, and the agent beside it."""
    program, library = Path(sys.executable).resolve(), Path(sysconfig.get_paths()["stdlib"])
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy(program, root / "usr/bin/python3")
    skipped = shutil.ignore_patterns(*NOT_NEEDED, "config-*")
    shutil.copytree(library, root / "usr/lib" / library.name, ignore=skipped)
    natives = [program, *(root / "usr/lib" / library.name).rglob("*.so")]
    for line in run(["ldd", *natives]).stdout.splitlines():
        words = line.split()
        place = words[2] if len(words) > 2 and words[1] == "=>" else words[0]
        if place.startswith(("/lib", "/usr/lib")):
            target = root / place.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(place, target)
    shutil.copytree(overlay("client") / "usr/lib/distserver", root / "usr/lib/distserver", dirs_exist_ok=True)


@pytest.fixture(scope="module")
def tree(kernel: Path, kernel_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is on the machine's disk: it was installed, and the kernel that panics was just prepared."""
    scratch = tmp_path_factory.mktemp("kernels")
    root = scratch / "tree"
    for name in ("boot/grub", "dev", "proc", "sys", "run", "sbin", "bin", "etc", "store", "var/db/pkg"):
        (root / name).mkdir(parents=True)
    lay_python(root)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    (root / "sbin/init").symlink_to("/bin/busybox")
    (root / "etc/inittab").write_text(INITTAB)
    for name, text in (("rc", RC), ("guest", GUEST)):
        (root / "etc" / name).write_text(text)
        (root / "etc" / name).chmod(0o755)
    shutil.copy(kernel_guest.__file__, root / "guest.py")
    (root / "todo").write_text("silent good")
    shutil.copy(kernel, root / "store/vmlinuz")
    modules = [next(kernel_files.rglob(name)) for name in MODULES]
    for name in ("old", "silent", "good"):
        init = INIT.format(name=name, modules=" ".join(MODULES))
        make_initramfs(scratch / name, init, modules).rename(root / f"store/initrd-{name}")
    make_initramfs(scratch / "panics", PANICS).rename(root / "store/initrd-panics")
    kernel_guest.emerge("old", root)
    (root / MENU).write_text(MENU_OF_INSTALLER)
    made = Kernels(Places(root), Grub(root, obstacle=lambda place: ""), Start("", "the installer's"))
    made.hold()
    made.install(kernel_guest.emerge("panics", root))
    return root


def test_the_machine_leaves_bad_kernels_and_keeps_a_good_one(tree: Path, tmp_path: Path) -> None:
    size = 256 * MIB
    disk = make_disk(tree, tmp_path / "disk.raw", size_bytes=size)
    vm = Vm("kernels", tmp_path / "vm", Firmware.BIOS, memory_mb=384, disks=(VmDisk(disk, size),))
    with power_on(vm) as on:
        for _ in range(2):
            on.console.wait_for("Kernel panic", seconds=SECONDS)
            on.console.wait_for("Rebooting in 10 seconds", seconds=SECONDS)
        on.console.wait_for("GUEST old returned: kernel ", seconds=SECONDS)
        on.console.wait_for("was given up: started 2 times", seconds=SECONDS)
        on.console.wait_for("GUEST prepared silent", seconds=SECONDS)
        on.console.wait_for("GUEST silent running: ", seconds=SECONDS)
        on.console.wait_for("GUEST gives it up", seconds=SECONDS)
        on.console.wait_for("GUEST old settled: kernel ", seconds=SECONDS)
        on.console.wait_for("given up: the server took no report within 20 s", seconds=SECONDS)
        on.console.wait_for("GUEST prepared good", seconds=SECONDS)
        on.console.wait_for("GUEST good running: ", seconds=SECONDS)
        on.console.wait_for("GUEST approved True", seconds=SECONDS)
        on.console.wait_for("GUEST is done", seconds=SECONDS)
        on.wait_for_exit(seconds=SECONDS)
    with power_on(vm) as on:
        on.console.wait_for("GUEST good settled: nothing", seconds=SECONDS)
        on.wait_for_exit(seconds=SECONDS)
    left = tmp_path / "left"
    inner = f"dump /{BLOCK} {left}"
    run(["debugfs", "-R", inner, f"{disk}?offset={ROOT_AT * SECTOR}"])
    assert left.stat().st_size == grubenv.SIZE_BYTES and grubenv.read(left) == {}
