"""Sticks in a real machine: found, refused while mounted, written, interrupted, and pulled out."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.model import Firmware
from appliance.run import run
from appliance.vm import Accel, DirectBoot, DiskInterface, Slot, Vm, VmDisk, VmMedium
from appliance.vm_power import PoweredOn, power_on
from tests.e2e.scenes import Built
from tests.hybrid_image import hybrid_image, medium_files
from tests.loop_devices import blank
from tests.stick_machine import MARKER, stick_machine

MIB = 1024 * 1024
STICK_BYTES = 64 * MIB
SLOW = 2 * MIB
WRITE = "python3 -m tests.stick_guest usb write /image.iso"
ASKED = re.compile(r"Type (\w+) to erase it and write the image: ")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hybrid_image(tmp_path_factory.mktemp("image"), medium_files(16 * MIB))


@pytest.fixture(scope="module")
def sticks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What is behind two sticks: one with a file system, and one that is old and slow."""
    place = tmp_path_factory.mktemp("sticks")
    for name in ("good", "slow"):
        blank(place / name, STICK_BYTES)
        run(["sgdisk", "--new", "1:2048:0", "--change-name", "1:keep me", place / name])
    run(["mkfs.ext4", "-q", "-F", "-L", "KEEP", "-E", f"offset={MIB}", place / "good", "61440k"])
    return {name: place / name for name in ("good", "slow")}


@pytest.fixture(scope="module")
def machine(
    built: Built, accel: Accel, image: Path, sticks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PoweredOn]:
    """The example release's kernel, with a disk that is no stick beside the two that are."""
    place = tmp_path_factory.mktemp("machine")
    vm = Vm(
        name="sticks",
        directory=place / "vm",
        firmware=Firmware.BIOS,
        memory_mb=512,
        disks=(
            VmDisk(sticks["good"], STICK_BYTES, serial="GOOD-1", interface=DiskInterface.USB),
            VmDisk(blank(place / "fixed", MIB), MIB, serial="FIXED-1"),
        ),
        medium=VmMedium(sticks["slow"], Slot.USB, writable=True),
        medium_first=False,
        direct=DirectBoot(
            built.tree.path / "releases" / built.release / "kernel",
            stick_machine(place / "initramfs", {"image.iso": image.read_bytes()}),
        ),
    )
    with power_on(vm, accel=accel) as on:
        on.console.wait_for(MARKER, seconds=120)
        on.console.wait_for_shell(seconds=60)
        on.console.succeed("until [ -e /dev/sda1 ] && [ -e /dev/sdb1 ]; do sleep 1; done")
        yield on


def listed(machine: PoweredOn) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = json.loads(
        machine.console.succeed("python3 -m tests.stick_guest usb list --json")
    )
    return said


def test_sticks_are_shown_refused_written_interrupted_and_pulled(
    machine: PoweredOn, image: Path, sticks: dict[str, Path]
) -> None:
    console = machine.console
    shown = console.succeed("python3 -m tests.stick_guest usb list")
    row = re.search(r"(sd[ab]) +USB +67.1 MB +QEMU QEMU HARDDISK +GOOD-1 +.*sd.1 ext4 'KEEP'.* yes", shown)
    assert row, shown
    good, slow = ("sda", "sdb") if row[1] == "sda" else ("sdb", "sda")
    assert "vda" not in shown
    assert "its bus is virtio" in console.command(f"{WRITE} vda").stdout

    console.succeed(f"mount /dev/{good}1 /mnt")
    refused = console.command(f"{WRITE} {good} --yes --serial GOOD-1")
    assert refused.status == 1
    assert f"is not written: {good}1 is mounted at /mnt" in refused.stdout
    assert "hint: umount /mnt" in refused.stdout
    console.succeed("umount /mnt")

    console.send_line(f"{WRITE} /dev/{good}")
    console.wait_for(ASKED, seconds=60)
    console.send_line(slow)
    console.wait_for(f"'{slow}' is not {good}: nothing was written", seconds=30)

    console.send_line(f"{WRITE} {good}")
    asked = console.wait_for(ASKED, seconds=60)
    assert asked.groups == (good,)
    assert f"{good}1 ext4 'KEEP'" in asked.before
    console.send_line(good)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    console.wait_for(f"{good} is written and was read back: sha256 {digest}", seconds=120)
    console.wait_for_shell(seconds=30)
    parts = console.succeed(f"cd /sys/block/{good}; ls -d {good}?; cd /").split()
    assert parts == [f"{good}{number}" for number in (1, 2, 3)]
    (said,) = (one for one in listed(machine) if one["device"] == good)
    assert said["medium"].endswith("'DISTSERVER_VM': offline, vm, of 2026-01-01")
    assert said["writable"]

    machine.slow_medium_down(SLOW)
    half_way = re.compile(rf"writing {slow}.* [2-9]\.\d/")
    console.send_line(f"{WRITE} {slow}; echo ended with $?")
    console.wait_for(ASKED, seconds=60)
    console.send_line(slow)
    console.wait_for(half_way, seconds=60)
    console.send("\x03")
    console.wait_for("interrupted while writing it", seconds=30)
    console.wait_for(f"{slow} is not usable and does not boot", seconds=30)
    console.wait_for("ended with 130", seconds=30)
    console.wait_for_shell(seconds=30)
    assert console.succeed(f"cd /sys/block/{slow}; echo {slow}?; cd /").split() == [f"{slow}?"]

    console.send_line(f"{WRITE} {slow}; echo ended with $?")
    console.wait_for(ASKED, seconds=60)
    console.send_line(slow)
    console.wait_for(half_way, seconds=60)
    machine.take_medium_out()
    console.wait_for(f"{slow} was pulled out while writing it", seconds=30)
    console.wait_for("it is not usable and does not boot", seconds=30)
    console.wait_for("ended with 1\n", seconds=30)
    console.wait_for_shell(seconds=30)
    assert [one["device"] for one in listed(machine)] == [good]

    console.send_line("poweroff -f")
    machine.wait_for_exit(seconds=60)
    data = image.read_bytes()
    assert sticks["good"].read_bytes()[: len(data)] == data
    pulled = sticks["slow"].read_bytes()
    assert not any(pulled[:MIB])
    assert data[MIB : 2 * MIB] == pulled[MIB : 2 * MIB], "it was in the middle"
    assert not any(pulled[-MIB:])
