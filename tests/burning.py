"""Media as the installer finds them: signed descriptions, images, loop devices."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from appliance import medium
from appliance.medium import Medium, MediumFile
from appliance.run import run
from tests.installer_box import RELEASE, Box, lay, sha256, sign

CREATED = "2026-01-01T00:00:00Z"
SERVER = "http://10.77.0.2"
PLAIN = Medium(CREATED, SERVER, True, ((RELEASE, "vm"),))

# Stands for Python in a planner's root: appliance.offline's commands, answered from files beside it.
PLANNER = """#!/bin/busybox sh
case $4 in
choose) cat /choose ;;
list) printf 'vm\\ta virtual machine\\nweb\\tweb servers\\n' ;;
plan) sed "s/^hostname .*/hostname $6/" /medium/plan-$5 ;;
describe) echo "$6 gets profile $5" ;;
fingerprint) sha256sum | cut -d ' ' -f 1 ;;
esac
"""


def make_planner(place: Path, choice: str) -> Path:
    """A planner's squashfs whose `choose` says `choice`."""
    root = place / "planner-root"
    for name in ("bin", "usr/bin", "medium"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for name in ("sh", "cat", "sed", "sha256sum", "cut", "printf", "echo"):
        (root / "bin" / name).symlink_to("busybox")
    (root / "usr/bin/python3").write_text(PLANNER)
    (root / "usr/bin/python3").chmod(0o755)
    (root / "choose").write_text(choice)
    image = place / "planner.sqfs"
    run(["mksquashfs", root, image, "-quiet", "-no-progress"])
    return image


def describe(tree: Path, about: Medium, sign: Callable[[Path, Path], None]) -> str:
    """Write the description of what lies in `tree`, sign it, and give its id."""
    listed = [tree / name for name in (medium.PLANNER, medium.PROFILES)]
    files = [(path.relative_to(tree).as_posix(), path.read_bytes()) for path in listed if path.exists()]
    found = tuple(MediumFile(name, len(data), sha256(data)) for name, data in files)
    whole = medium.identify(replace(about, files=found))
    (tree / "distserver").mkdir(parents=True, exist_ok=True)
    (tree / "distserver/medium").write_text(medium.write(whole))
    sign(tree / "distserver/medium", tree / "distserver/medium.sig")
    (tree / f"distserver/id-{whole.id}").touch()
    return whole.id


def burn(tree: Path, image: Path) -> Path:
    """A squashfs of all that is in `tree`, each file in blocks of its own: not every kernel has ISO 9660."""
    image.unlink(missing_ok=True)
    run(["mksquashfs", tree, image, "-comp", "zstd", "-no-fragments", "-quiet", "-no-progress"])
    return image


@contextmanager
def loop_device(image: Path, options: Sequence[str] = ()) -> Iterator[Path]:
    """A block device with the image's bytes as long as the block lasts."""
    device = Path(run(["losetup", "--find", "--show", "--read-only", *options, image]).stdout.strip())
    try:
        yield device
    finally:
        run(["losetup", "--detach", device])


@dataclass(frozen=True)
class Slot:
    """A machine's drives, and where a medium's files are before they are burnt."""

    box: Box
    tree: Path
    keys: Path
    drives: ExitStack

    def burn(self, about: Medium = PLAIN, *, signer: str = "good") -> tuple[str, Path]:
        """The id and the image of a medium."""
        made = describe(self.tree, about, partial(sign, self.keys / signer))
        return made, burn(self.tree, self.box.path / f"{made}.image")

    def put_in(self, image: Path, name: str = "sda") -> Path:
        """Make an image a drive of this machine."""
        device = self.drives.enter_context(loop_device(image))
        (self.box.path / name).symlink_to(device)
        size = f"{image.stat().st_size // 512}\n"
        lay(self.box.path / "sys", {f"class/block/{name}/size": size, f"block/{name}/size": size})
        return device

    def sh(self, made: str, script: str, ok: tuple[int, ...] = (0,)) -> str:
        arguments = f"distserver.medium={made} distserver.offline=1"
        return replace(self.box, arguments=arguments).sh(f"set -e; {script}", ok=ok).stdout
