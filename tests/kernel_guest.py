"""Runs inside of a virtual machine in place of the agent's service: what it does about kernels at a start."""

import hashlib
import shutil
import sys
from pathlib import Path

sys.path.insert(0, "/usr/lib/distserver")

from distserver_client import kernels, programs, rebooting, trials
from distserver_client.kernels import Kernels
from distserver_client.manifest import Item, Manifest
from distserver_client.paths import Places

TRIAL_SECONDS = 20.0
STORE, TODO, TAG = Path("/store"), Path("/todo"), Path("/run/tag")


def emerge(name: str, root: Path) -> Manifest:
    """Another kernel in place of the one in /boot, as Portage does it; the release that it is of."""
    boot = root / "boot"
    for old in [*boot.glob("vmlinuz-*"), *boot.glob("initrd-*")]:
        old.unlink()
    shutil.copy(root / "store/vmlinuz", boot / f"vmlinuz-{name}")
    shutil.copy(root / f"store/initrd-{name}", boot / f"initrd-{name}")
    content = (boot / f"vmlinuz-{name}").read_bytes()
    item = Item("kernel", len(content), hashlib.sha256(content).hexdigest())
    return Manifest(f"20260101-{len(name):012x}", "lab", ("gentoo",), {"kernel": item}, {})


def main() -> None:
    here = Kernels(Places(), kernels.find_loader(Path("/")), trial_seconds=TRIAL_SECONDS)
    name, now = TAG.read_text().strip(), here.look()
    said = trials.describe(here.record, here.standing) or "nothing"
    print(f"GUEST {name} {now.value}: {said}", flush=True)
    if name == "silent":
        assert not kernels.keep_watch(here, every_seconds=1.0)
        print("GUEST gives it up", flush=True)
        rebooting.insist()
    if name == "good":
        here.approve()
        print(f"GUEST approved {here.is_approved()}", flush=True)
    todo = TODO.read_text().split()
    if not todo:
        print("GUEST is done", flush=True)
        programs.order(["poweroff"], seconds=60.0)
        return
    TODO.write_text(" ".join(todo[1:]))
    here.hold()
    here.install(emerge(todo[0], Path("/")))
    print(f"GUEST prepared {todo[0]}", flush=True)
    rebooting.restart()


if __name__ == "__main__":
    main()
