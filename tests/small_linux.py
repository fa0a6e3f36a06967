"""A small Linux that stands in for an installer: Debian's cloud kernel, busybox and a script."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from appliance.demo import cache
from appliance.run import run

KERNEL_PACKAGE = re.compile(r"Depends: (linux-image-\S+-cloud-amd64)$", re.MULTILINE)


def kernel_files() -> Path:
    """Debian's cloud kernel with its modules, fetched once through apt: a kernel no profile had to build."""
    listing = run(["apt-cache", "depends", "linux-image-cloud-amd64"]).stdout
    found = KERNEL_PACKAGE.search(listing)
    assert found, listing
    unpacked = cache() / "kernels" / found.group(1)
    if not unpacked.exists():
        fetched = unpacked.with_name(f"{found.group(1)}.{os.getpid()}")
        fetched.mkdir(parents=True)
        run(["apt-get", "download", found.group(1)], cwd=fetched)
        run(["dpkg-deb", "--extract", next(fetched.glob("*.deb")), fetched])
        fetched.rename(unpacked)
    return unpacked


def kernel() -> Path:
    return next((kernel_files() / "boot").glob("vmlinuz-*"))


def make_initramfs(root: Path, init: str, modules: Sequence[Path] = ()) -> Path:
    """An archive beside `root`, which is filled: busybox, the first process, and modules for it to load."""
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (root / "init").write_text(init)
    for program in (root / "bin" / "busybox", root / "init"):
        program.chmod(0o755)
    for module in modules:
        (root / module.name).write_bytes(module.read_bytes())
    archive = root.with_suffix(".cpio")
    names = "\n".join(["bin", "bin/busybox", "init", *(module.name for module in modules), ""])
    run(["busybox", "cpio", "-o", "-H", "newc", "-F", archive], cwd=root, stdin=names.encode())
    return archive
