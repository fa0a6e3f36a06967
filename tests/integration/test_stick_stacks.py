"""What stands on a drive, said by a kernel with device mapper; and a drive that loses what is written."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.model import Firmware
from appliance.run import run
from appliance.vm import DirectBoot, Vm
from appliance.vm_power import PoweredOn, power_on
from tests.hybrid_image import hybrid_image, medium_files
from tests.stick_machine import MARKER, stick_machine

MODULES = ("sd_mod", "dm-mod", "dm-flakey", "scsi_debug")
OPTIONS = {"scsi_debug": "dev_size_mb=64 removable=1"}
SECTORS = 64 * 1024 * 1024 // 512
WRITE = b"""
import sys
from pathlib import Path
from appliance.errors import Problem
from iso.stick_writer import write_stick
try:
    image, never = Path("/image.iso"), lambda seconds: False
    write_stick(Path(sys.argv[1]), image, name="it", check=lambda: None, gone=never)
    print("it is right")
except Problem as problem:
    print(problem)
"""


def module_files(kernel_files: Path) -> dict[str, bytes]:
    """MODULES and what they depend on, named so that the order of their names is that of loading them."""
    place = next((kernel_files / "lib/modules").iterdir())
    run(["busybox", "depmod", "-b", kernel_files, place.name])
    lines = (place / "modules.dep").read_text().splitlines()
    table = {name: needs.split() for name, _, needs in (line.partition(":") for line in lines)}
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for needed in table[name]:
            add(needed)
        order.setdefault(name)

    for wanted in MODULES:
        add(next(name for name in table if Path(name).stem == wanted))
    files = {}
    for number, name in enumerate(order):
        stem = Path(name).stem
        files[f"modules/{number:02} {stem}"] = (place / name).read_bytes()
        files[f"options/{number:02} {stem}"] = OPTIONS.get(stem, "").encode()
    return files


@pytest.fixture(scope="module")
def machine(
    kernel: Path, kernel_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PoweredOn]:
    """A removable SCSI disk of 64 MiB in memory, sda."""
    place = tmp_path_factory.mktemp("machine")
    image = hybrid_image(place, medium_files(1_000_000)).read_bytes()
    files = {**module_files(kernel_files), "image.iso": image, "write.py": WRITE}
    initramfs = stick_machine(place / "initramfs", files, ["dmsetup"])
    vm = Vm("stacks", place / "vm", Firmware.BIOS, memory_mb=512, direct=DirectBoot(kernel, initramfs))
    with power_on(vm) as on:
        on.console.wait_for(MARKER, seconds=120)
        on.console.wait_for_shell(seconds=60)
        load = 'cd /modules; for one in *; do insmod "$one" $(cat "/options/$one"); done; cd /'
        on.console.succeed(load)
        on.console.succeed("until [ -e /dev/sda ]; do sleep 1; done")
        yield on


def mapped(machine: PoweredOn, name: str, target: str) -> None:
    machine.console.succeed(f"echo {target!r} | dmsetup create --noudevsync {name}")


def test_what_is_swap_two_floors_up_keeps_a_disk_from_being_written(machine: PoweredOn) -> None:
    console = machine.console
    mapped(machine, "one", f"0 {SECTORS // 2} linear /dev/sda 2048")
    mapped(machine, "two", f"0 {SECTORS // 4} linear /dev/dm-0 0")
    console.succeed("mkswap /dev/dm-1 && swapon /dev/dm-1")
    listed = json.loads(console.succeed("python3 -m tests.stick_guest usb list --all --json"))
    (disk,) = (one for one in listed if one["device"] == "sda")
    assert disk["refused"] == [
        "it belongs to the running system: dm-1, which is built on it, is swap space",
        "dm-0 is built on sda and uses it",
        "dm-1 is built on dm-0 and uses it",
        "it is no removable medium, whatever it says of itself: its bus is SCSI",
    ]
    assert "it is in use" in console.succeed("python3 /write.py /dev/sda"), "the kernel itself refuses, too"
    console.succeed("swapoff /dev/dm-1 && dmsetup remove --noudevsync two && dmsetup remove --noudevsync one")


def test_a_drive_that_loses_what_is_written_is_found_out(machine: PoweredOn) -> None:
    """As sticks do that have less flash than they say: every write succeeds."""
    mapped(machine, "loses", f"0 {SECTORS} flakey /dev/sda 0 0 3600 1 drop_writes")
    said = machine.console.succeed("python3 /write.py /dev/dm-0")
    assert "reads 0x00, expected 0x" in said
    assert "it is not usable and does not boot" in said
    machine.console.succeed("dmsetup remove --noudevsync loses")
    assert "it is right" in machine.console.succeed("python3 /write.py /dev/sda")
