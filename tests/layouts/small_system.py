"""A system of a few MB that the installer installs: busybox, GRUB and a kernel with modules."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from appliance.run import run
from buildfarm.cpio import cpio, directory, file, link
from buildfarm.installer import modules
from buildfarm.view import View
from tests.small_linux import kernel, kernel_files

WANTED = (
    "arch/x86/crypto", "crypto", "drivers/ata/ahci.ko", "drivers/ata/libahci.ko", "drivers/ata/libata.ko",
    "drivers/block/virtio_blk.ko", "drivers/block/loop.ko", "drivers/md", "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko", "drivers/scsi/scsi_mod.ko", "drivers/scsi/scsi_common.ko",
    "drivers/scsi/sd_mod.ko", "drivers/virtio", "fs/btrfs", "fs/efivarfs",
    "fs/fat", "fs/nls", "fs/squashfs", "fs/xfs", "lib", "net/core",
    "net/packet", "drivers/char/hw_random", "drivers/dax", "drivers/nvdimm", "drivers/base",
)  # fmt: skip
DIRECTORIES = ("dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var", "boot", "usr/sbin", "sbin")
GRUB = ("grub-install", "grub-mkimage", "grub-probe", "grub-mkrelpath")
INIT = """\
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc 2>/dev/null
mount -t sysfs sys /sys 2>/dev/null
mount -t devtmpfs dev /dev 2>/dev/null
exec </dev/console >/dev/console 2>&1
dmesg -n 1
mount -o remount,rw /
mount -a
swapon -a
echo "layout begins"
mount | sed 's/^/mounted: /'
sed 's/^/swap: /' /proc/swaps
sed 's/^/md: /' /proc/mdstat 2>/dev/null
cat /home/kept 2>/dev/null | sed 's/^/home: /'
[ -d /home ] && echo "written by the installed system" >>/home/kept
sync
echo "layout ends"
poweroff -f
"""


def small_modules(place: Path) -> Path:
    """A root with the modules that disks need, and what modprobe reads of them."""
    source = next((kernel_files() / "lib/modules").iterdir())
    target = place / "lib/modules" / source.name
    if not target.exists():
        for name in WANTED:
            found = source / "kernel" / name
            if found.is_dir():
                shutil.copytree(found, target / "kernel" / name, dirs_exist_ok=True)
            elif found.exists():
                (target / "kernel" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(found, target / "kernel" / name)
        for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
            if (source / name).exists():
                shutil.copy(source / name, target / name)
        run(["depmod", "-b", place, source.name])
    return place


def modules_archive(root: Path, output: Path) -> Path:
    output.write_bytes(cpio(modules(root)))
    return output


def plain_initramfs(storage: Path) -> bytes:
    """What a distribution's own tools put beside a kernel with modules: it only looks for the root."""
    skeleton = [
        *(directory(name) for name in ("dev", "proc", "root", "run", "sys", "tmp", "etc/storage")),
        file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755),
        link("bin/sh", "busybox"),
        link("init", "usr/lib/storage/init"),
    ]
    return cpio(skeleton) + storage.read_bytes()


def small_stage(place: Path, storage: Path, output: Path) -> Path:
    """The stage's archive, zstd."""
    for name in (
        "dev",
        "etc",
        "home",
        "proc",
        "root",
        "run",
        "sys",
        "tmp",
        "var",
        "boot",
        "usr/sbin",
        "sbin",
    ):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "bin").mkdir(exist_ok=True)
    shutil.copy("/bin/busybox", place / "bin/busybox")
    applets = run([place / "bin/busybox", "--list"]).stdout.split()
    for applet in applets:
        if applet != "busybox":
            (place / "bin" / applet).symlink_to("busybox")
    (place / "usr/bin").mkdir(exist_ok=True)
    (place / "usr/bin/env").symlink_to("/bin/busybox")
    (place / "sbin/init").write_text(INIT)
    (place / "sbin/init").chmod(0o755)
    for name, source in _programs():
        target = place / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    for name in ("i386-pc", "x86_64-efi"):
        shutil.copytree(Path("/usr/lib/grub") / name, place / "usr/lib/grub" / name)
    shutil.copy(kernel(), place / "boot/vmlinuz-layouts")
    (place / "boot/initramfs-layouts.img").write_bytes(plain_initramfs(storage))
    run(["tar", "-C", place, "-cf", output.with_suffix(".tar"), "."])
    run(["zstd", "-q", "-3", "-f", output.with_suffix(".tar"), "-o", output])
    return output


def _programs() -> Iterator[tuple[str, Path]]:
    view = View((Path("/"),))
    for name in (*GRUB, "openssl"):
        program = view.program(name)
        assert program, name
        yield f"usr/sbin/{name}", program.path
        for needed in view.needs(program):
            inside = needed.name if needed.name.startswith("/") else f"usr/lib/x86_64-linux-gnu/{needed.name}"
            yield inside, needed.trail.path
