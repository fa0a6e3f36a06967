"""Every firmware with a CD and with a USB stick: what is seen is what the documentation says."""

import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.console import plain
from appliance.vm import Slot
from appliance.vm_power import power_on
from iso.menu import INSTALLED, TOKENS
from tests.e2e.media import (
    KINDS,
    MENU_SECONDS,
    ON_DISK,
    Row,
    Seen,
    bootable_disk,
    machine,
    make_medium,
    menu,
    run_rows,
    without_el_torito,
)
from tests.e2e.media_table import EXPECTED, committed, table

TOKEN = "0123456789abcdef"
DOWN = "\x0e"
"""Ctrl-N. SeaBIOS reads the serial line as GRUB does: each would get some bytes of an arrow key."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Row, Seen]:
    return run_rows(list(EXPECTED), tmp_path_factory.mktemp("media"))


@pytest.mark.parametrize("row", EXPECTED, ids=str)
def test_a_machine_starts_from_the_medium(seen: Mapping[Row, Seen], row: Row) -> None:
    assert seen[row].reached is EXPECTED[row], str(seen[row])


@pytest.mark.parametrize("row", [row for row in EXPECTED if not KINDS[row.kind].foreign], ids=str)
def test_the_installer_is_told_which_medium_it_is_on(seen: Mapping[Row, Seen], row: Row) -> None:
    said = seen[row].arguments.split()
    described = menu(offline=row.offline)
    assert f"distserver.medium={described.medium_id}" in said
    assert f"distserver={described.server}" in said
    assert ("distserver.offline=1" in said) is row.offline


def test_the_documented_table_is_what_was_seen(seen: Mapping[Row, Seen]) -> None:
    assert table({row: one.reached for row, one in seen.items()}) == committed()


@pytest.fixture(scope="module")
def quick_medium(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its menu waits three seconds."""
    return make_medium(menu(offline=False, timeout_seconds=3), tmp_path_factory.mktemp("quick") / "medium")


def test_a_cd_without_el_torito_boots_nothing(quick_medium: Path, tmp_path: Path) -> None:
    """So what starts from a stick without it was not found by it."""
    vm = machine("bios", tmp_path / "vm", without_el_torito(quick_medium), Slot.CD)
    with power_on(vm) as on:
        on.console.wait_for("Could not read from CDROM", seconds=MENU_SECONDS)


@pytest.mark.parametrize(
    ("kind", "slot", "marker"),
    [
        ("bios", Slot.USB, INSTALLED[0]),
        ("bios", Slot.CD, INSTALLED[0]),
        ("x64", Slot.USB, INSTALLED[0]),
        ("ia32", Slot.CD, INSTALLED[1]),
    ],
)
def test_a_medium_that_was_left_in_boots_the_installed_system(
    quick_medium: Path, tmp_path: Path, kind: str, slot: Slot, marker: str
) -> None:
    disk = bootable_disk(tmp_path / "disk.raw", marker=marker)
    with power_on(machine(kind, tmp_path / "vm", quick_medium, slot, disks=(disk,))) as on:
        on.console.wait_for("Booting `Boot the system on the local disk'", seconds=MENU_SECONDS)
        # The disk's own loader is told where it is: in BIOS on the first disk, whatever the stick was.
        where = ", drive 0" if kind == "bios" else r" from hd\d,gpt2"
        on.console.wait_for(re.compile(ON_DISK + where), seconds=60)


@pytest.fixture(scope="module")
def medium_of_one_machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    described = replace(menu(offline=False, timeout_seconds=3), machine="web1", token=TOKEN)
    return make_medium(described, tmp_path_factory.mktemp("one") / "medium")


@pytest.mark.parametrize(
    ("marker", "booted"),
    [
        (f"{TOKENS}/{sha256(TOKEN.encode()).hexdigest()[:16]}", "Boot the system on the local disk"),
        (INSTALLED[0], "Recognise this machine (this medium is for web1)"),
    ],
    ids=["installed from it", "to be installed anew"],
)
def test_a_medium_of_one_machine_boots_what_it_installed_itself(
    medium_of_one_machine: Path, tmp_path: Path, marker: str, booted: str
) -> None:
    disk = bootable_disk(tmp_path / "disk.raw", marker=marker)
    with power_on(machine("bios", tmp_path / "vm", medium_of_one_machine, Slot.USB, disks=(disk,))) as on:
        on.console.wait_for(f"Booting `{booted}'", seconds=MENU_SECONDS)


def test_a_system_of_somebody_else_is_not_the_default_and_can_be_chosen(
    quick_medium: Path, tmp_path: Path
) -> None:
    disk = bootable_disk(tmp_path / "disk.raw")
    with power_on(machine("bios", tmp_path / "vm", quick_medium, Slot.USB, disks=(disk,))) as on:
        on.console.wait_for("*Recognise this machine", seconds=MENU_SECONDS)
        for awaited in (
            "*Profile web",
            "*Rescue shell",
            "*Memory test",
            "*Memory test, on the",
            "*Boot the system",
        ):
            on.console.send(DOWN)
            on.console.wait_for(awaited, seconds=30)
        on.console.send("\r")
        on.console.wait_for(f"{ON_DISK}, drive 0", seconds=60)
    assert 'Web servers: it\'s "$HOME" `here`' in plain(on.vm.transcript.read_bytes())


@pytest.mark.parametrize("kind", ["bios", "x64"])
def test_the_memory_test_runs(quick_medium: Path, tmp_path: Path, kind: str) -> None:
    with power_on(machine(kind, tmp_path / "vm", quick_medium, Slot.CD)) as on:
        on.console.wait_for("*Recognise this machine", seconds=MENU_SECONDS)
        for awaited in ("*Profile web", "*Rescue shell", "*Memory test", "*Memory test, on the"):
            on.console.send(DOWN)
            on.console.wait_for(awaited, seconds=30)
        on.console.send("\r")
        on.console.wait_for("Memtest86+", seconds=60)
