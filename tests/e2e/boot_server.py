"""The boot server of a test LAN, a process of its own, with a director that writes down what it hears.

`python -m tests.e2e.boot_server PLACE INTERFACE...`, run inside the appliance's namespace.
"""

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from appliance.demo import cache
from appliance.desks.boot_programs import BootProgramsDesk
from appliance.lab import Lan, wait_for_port
from appliance.model import Firmware, LocalBoot, NetBoot, Tree
from appliance.run import running
from appliance.strategies import Preference, Source, Strategy
from pxe.images import make_boot_directory
from pxe.programs import PROGRAMS
from pxe.servers import Network, Servers
from tests import snakeoil
from tests.fake_director import FakeDirector, Recorded
from tests.small_linux import kernel, make_initramfs

RELEASE = "r1"
MARKER = "the stand-in installer runs"
ARGUMENTS = "console=ttyS0 quiet"
INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /dev
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox echo "{MARKER}" >/dev/console
while :; do /bin/busybox sleep 600; done
"""
HTTP_PORT = 80
ADMISSION = "admission"
"""A file of this name in its place: so many machines fetch at a time."""
INSTALLED = "installed"
"""A file of this name in its place: the server tells every machine to boot its own disk."""
ARM64 = PROGRAMS[Firmware.UEFI, "arm64"]
NARROW = "narrow"
"""A file of this name in its place: an x86 of 32 bits boots the release it names."""
UP_SECONDS = 60.0


@dataclass
class Journal(FakeDirector):
    """Tells every machine to boot the stand-in release, and keeps what is recorded in a file."""

    file: Path = field(kw_only=True)

    def keep(self, entry: Recorded) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(asdict(entry)) + "\n")


def entries(place: Path, mac: str) -> list[Recorded]:
    """What was recorded for a machine until now."""
    lines = (place / "journal").read_text().splitlines()
    found = [Recorded(**json.loads(line)) for line in lines]
    return [one for one in found if one.mac == mac]


def arm64_modules() -> Path:
    """GRUB for AArch64, fetched once."""
    tree = Tree(cache() / "grub-arm64")
    modules = tree.room("boot") / "grub" / ARM64.grub
    if not modules.exists():
        BootProgramsDesk(tree).fetch("arm64", print)
    return modules


def furnish(place: Path) -> None:
    """Boot programs for every processor and a stand-in release below `place`, signed as snakeoil.py can."""
    shutil.copytree(arm64_modules(), place / "boot" / "grub" / ARM64.grub)
    make_boot_directory(place / "boot", snakeoil.sign)
    release = place / "releases" / RELEASE
    release.mkdir(parents=True)
    shutil.copy(kernel(), release / "kernel")
    snakeoil.sign(release / "kernel", release / "kernel")
    make_initramfs(place / "initramfs", INIT).rename(release / "installer")
    (place / "journal").touch()


@contextmanager
def boot_server(
    place: Path,
    net: Lan,
    room: str = "appliance",
    *,
    strategies: Mapping[str, Strategy] | None = None,
    interfaces: Sequence[str] = ("eth0",),
) -> Iterator[None]:
    """The boot server with what `furnish` made, on the LAN until the block ends. It logs to `place`/log.

    `strategies` fixes how some machines, named by their MAC, are offered their program.
    """
    chosen = {mac: strategy.value for mac, strategy in (strategies or {}).items()}
    (place / "strategies").write_text(json.dumps(chosen))
    argv = [sys.executable, "-m", "tests.e2e.boot_server", str(place), *interfaces]
    with running(argv, prefix=net.exec_prefix(room), output=place / "log", cwd=Path.cwd()):
        wait_for_port(net, room, HTTP_PORT, seconds=UP_SECONDS)
        yield


async def _serve(place: Path, interfaces: Sequence[str]) -> None:
    narrow = (place / NARROW).read_text() if (place / NARROW).exists() else ""
    netboot = NetBoot(RELEASE, ARGUMENTS, "a test", narrow)
    target = LocalBoot("a test") if (place / INSTALLED).exists() else netboot
    director = Journal({"*": target}, releases=place / "releases", file=place / "journal")
    if (place / ADMISSION).exists():
        director.settings = replace(director.settings, admission=int((place / ADMISSION).read_text()))
    chosen = json.loads((place / "strategies").read_text())
    for mac, strategy in chosen.items():
        director.preferences[mac] = Preference(Strategy(strategy), Source.SITE)
    serving = Servers(Network(tuple(interfaces), HTTP_PORT), director, place / "boot")
    serving.open()
    await serving.serve(asyncio.Event())


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2:]))
