"""Which boot programs there are, and the address that is put into GRUB's."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.desks.boot_programs import BootProgramsDesk
from appliance.errors import Problem
from appliance.model import BootTarget, Firmware, NetBoot, Tree
from pxe.grub_image import PLACEHOLDER, for_address
from pxe.names import Names
from pxe.policy import Here
from pxe.programs import PROGRAMS, SHIM, programs_in, why_none
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector

TEMPLATE = b"\x7fimage" + PLACEHOLDER.encode() + b"\0\0more"


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.100.200", "255.255.255.255"])
def test_the_address_takes_the_place_of_the_placeholder_and_nothing_moves(address: str) -> None:
    image = for_address(TEMPLATE, IPv4Address(address))
    assert len(image) == len(TEMPLATE)
    assert image.startswith(b"\x7fimage" + f"(tftp,{address})/grub".encode() + b"\0")
    assert image.endswith(b"\0\0more")


@pytest.mark.parametrize("image", [b"", b"an image", TEMPLATE + TEMPLATE])
def test_what_is_no_template_is_not_handed_out(image: bytes) -> None:
    with pytest.raises(ValueError, match="expected once"):
        for_address(image, IPv4Address("10.0.0.1"))


def test_each_link_hands_out_its_own_address(tmp_path: Path) -> None:
    (tmp_path / "grub-ia32.efi").write_bytes(TEMPLATE)
    (tmp_path / "snponly.efi").write_bytes(TEMPLATE)
    targets: dict[str, BootTarget] = {"*": NetBoot("r1", "", "a test")}
    names = Names(FakeDirector(targets), tmp_path, Sightings())
    for address in ("10.0.0.1", "10.0.7.1"):
        here = Here(IPv4Address(address), 80)
        found = names.resolve("grub-ia32.efi", "10.0.0.9", here)
        assert isinstance(found, bytes)
        assert f"(tftp,{address})/grub\0".encode() in found
        assert names.resolve("snponly.efi", "10.0.0.9", here) == tmp_path / "snponly.efi"


def test_a_missing_program_says_what_would_help() -> None:
    assert "apt install grub-efi-ia32-bin" in why_none((Firmware.UEFI, "ia32"))
    assert "distserver bootprograms fetch arm64" in why_none((Firmware.UEFI, "arm64"))
    assert "boot/grub/riscv64-efi of the state directory" in why_none((Firmware.UEFI, "riscv64"))
    assert why_none((Firmware.UEFI, "ia64")) == "there is no boot program for it"


def test_a_shim_takes_the_place_of_ipxe_where_it_is() -> None:
    x64 = (Firmware.UEFI, "x64")
    assert programs_in(["snponly.efi", "local-x64.efi", "x"]) == {x64: PROGRAMS[x64]}
    there = programs_in(["snponly.efi", "shimx64.efi", "undionly.kpxe"])
    assert there[x64] == SHIM
    # An iPXE that needs ours cannot start shim's second stage.
    assert there[x64].ipxe == "snponly.efi"
    assert there[Firmware.BIOS, "x86"].file == "undionly.kpxe"


def test_an_image_for_the_local_disk_that_is_not_there_is_not_offered() -> None:
    assert programs_in(["snponly.efi"])[Firmware.UEFI, "x64"].local == ""


def test_the_table_shows_every_platform_and_what_is_missing(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.room("boot") / "snponly.efi").touch()
    shown = {(one.firmware, one.cpu): one for one in BootProgramsDesk(tree).programs()}
    assert len(shown) == len(PROGRAMS)
    assert shown["uefi", "x64"].missing == ""
    assert shown["bios", "x86"].missing == "the next start of `distserver up` makes it"
    assert "bootprograms fetch arm64" in shown["uefi", "arm64"].missing


def test_a_processor_nobody_fetches_for_is_named(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no GRUB is fetched for 'vax'") as problem:
        BootProgramsDesk(Tree(tmp_path)).fetch("vax", print)
    assert "arm32, arm64" in problem.value.hint
