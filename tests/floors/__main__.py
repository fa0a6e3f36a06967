"""`python -m tests.floors`: prints the rows of docs/small-memory.md for the releases of the test cache."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.boards import PENTIUM2, UEFI_ARM64, Board
from appliance.console import ConsoleClosed, ConsoleTimeout
from appliance.demo import cache
from appliance.errors import Problem
from appliance.model import Firmware
from appliance.vm import DirectBoot, Vm
from appliance.vm_power import power_on
from buildfarm.manifest import parse
from buildfarm.release import OPEN_FIRMWARE
from tests.sun import machine as sun

STEP_MIB = 8
MOST_MIB = 512
START_SECONDS = 240.0
PROBE = "distserver: probe ok"
ENDS = re.compile(f"{PROBE}|Kernel panic|System halted")
BOARDS: Mapping[str, Board] = {"x86": PENTIUM2, "arm64": UEFI_ARM64}
SUN_PROBE = "installer: started on sparc64"
SUN_ENDS = re.compile(f"{SUN_PROBE}|Kernel panic")


def floor(starts: Callable[[int], bool], *, least: int = STEP_MIB, most: int = MOST_MIB) -> int | None:
    """The least memory in MiB, in steps of STEP_MIB, with which it starts; None: not with `most` either."""
    if not starts(most):
        return None
    while most - least > STEP_MIB:
        middle = (least + most) // 2 // STEP_MIB * STEP_MIB
        least, most = (least, middle) if starts(middle) else (middle, most)
    return most


def starts_with(release: Path, firmware: Firmware, arch: str) -> Callable[[int], bool]:
    def starts(memory_mib: int) -> bool:
        with TemporaryDirectory(prefix="floor-") as place:
            vm = Vm(
                "floor",
                Path(place),
                firmware,
                board=BOARDS.get(arch),
                memory_mb=memory_mib,
                direct=DirectBoot(
                    release / "kernel",
                    release / "installer",
                    "distserver.probe"
                    if arch == "arm64"
                    else "console=ttyS0 mitigations=off distserver.probe",
                ),
            )
            with power_on(vm) as on:
                try:
                    said = on.console.wait_for(ENDS, seconds=START_SECONDS).text
                except (ConsoleClosed, ConsoleTimeout):
                    return False
            print(f"floors: {arch} {firmware.value} {memory_mib} MiB: {said}", file=sys.stderr, flush=True)
            return said == PROBE

    return starts


def sun_starts_with(release: Path) -> Callable[[int], bool]:
    """As its firmware would load it from the network: kernel and installer in one."""

    def starts(memory_mib: int) -> bool:
        with TemporaryDirectory(prefix="floor-") as name:
            place = Path(name)
            image = sun.padded(release / OPEN_FIRMWARE, place / "image.iso")
            machine = sun.Machine(place, sun.blank_disk(place / "disk"), image, memory_mib=memory_mib)
            try:
                with machine.switched_on("floor", "cdrom") as console:
                    said = console.wait_for(SUN_ENDS, seconds=START_SECONDS).text
            except (ConsoleClosed, ConsoleTimeout, Problem):
                said = "nothing"
            print(f"floors: sparc openfirmware {memory_mib} MiB: {said}", file=sys.stderr, flush=True)
            return said == SUN_PROBE

    return starts


def main() -> int:
    newest: dict[str, Path] = {}
    for manifest in sorted((cache() / "state/releases").glob("*/manifest")):
        newest[parse(manifest.read_text()).arch] = manifest.parent
    kinds = (
        ("amd64", Firmware.BIOS),
        ("amd64", Firmware.UEFI),
        ("x86", Firmware.BIOS),
        ("arm64", Firmware.UEFI),
    )
    tried = [
        (arch, firmware, starts_with(newest[arch], firmware, arch))
        for arch, firmware in kinds
        if arch in newest
    ]
    if "sparc" in newest:
        tried.append(("sparc", Firmware.OPENFIRMWARE, sun_starts_with(newest["sparc"])))
    for arch, firmware, starts in tried:
        least = floor(starts)
        print(f"| {arch} | {firmware.value} | {least or f'more than {MOST_MIB}'} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
