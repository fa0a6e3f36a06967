"""The table of the five machines says what was seen, and their match rules know each from its own facts."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance import kconfig, sun_label
from appliance.boards import MICROSOFT_KEYS
from appliance.disk_model import MIB
from appliance.facts import parse_facts
from appliance.farm_model import Release
from appliance.install import plan_install
from appliance.match import Choice, choose, judge
from appliance.overlays import HOME
from appliance.run import run
from appliance.site import read_site
from tests.five.machines import FIVE, MACHINES, Place, Sun, dell_client, page
from tests.five.seen import PAGE, RESULTS, Seen, between, read, table, write
from tests.five.sun import layout
from tests.uefi_variables import enroll, variables

SITE = HOME / "examples" / "five"
FACTS = {file.stem: file for file in sorted((SITE / "facts").glob("*.facts"))}
SEEN = Seen(
    "hp-client", "a client", "2026-11-23", "uefi", "1 x A | CPU", "hp-client", "vendor", ("/dev/sda1 esp",),
    "20261123-0", 15, (("stage", 58.4), ("packages", 900.0)), 1000.2, booted_from_disk=True,
)  # fmt: skip


def test_what_was_not_seen_is_not_claimed() -> None:
    failed = replace(SEEN, machine="xeon-scsi", booted_from_disk=False, problem="no disk")
    lines = table({"hp-client": "HP", "xeon-scsi": "Xeon", "ultra10": "Sun"}, {
        "hp-client": SEEN, "xeon-scsi": failed,
    }).splitlines()  # fmt: skip
    assert lines[2].endswith("| 15 | 1000: stage 58, packages 900 | yes |") and "1 x A / CPU" in lines[2]
    assert lines[3].endswith("| **no**: no disk |")
    assert lines[4] == "| ultra10: Sun |" + " not seen yet |" * 7


def test_what_is_seen_takes_the_place_of_what_was_seen_before_and_others_stay(tmp_path: Path) -> None:
    results = tmp_path / "five.json"
    assert read(results) == {}
    write(results, [SEEN, replace(SEEN, machine="ultra10")])
    again = replace(SEEN, packages=16)
    assert write(results, [again]) == read(results) == {
        "hp-client": again, "ultra10": replace(SEEN, machine="ultra10"),
    }  # fmt: skip


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has no <a> and <b>"):
        between("text", "<a>", "<b>", "x")


def test_the_page_is_what_was_seen() -> None:
    assert PAGE.read_text() == page(PAGE.read_text(), read(RESULTS))


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_is_one_of_the_five_and_its_profile_is_in_their_site(name: str, tmp_path: Path) -> None:
    machine = MACHINES[name]
    assert name in FIVE
    assert machine.profile in read_site(SITE).profiles
    if isinstance(machine, Sun):
        assert machine.mac in read_site(SITE).net.rarp
        return
    vm = machine.make(Place(tmp_path, "tap0"))
    assert vm.disks and all(disk.path.parent == tmp_path for disk in vm.disks)


def test_the_layout_of_the_sun_is_what_its_disk_has(tmp_path: Path) -> None:
    disk, size = tmp_path / "disk", 64 * MIB
    slices = sun_label.plan(size, [(sun_label.BOOT, 16 * MIB), (sun_label.ROOT, None)])
    disk.write_bytes(sun_label.label(size, slices))
    with disk.open("r+b") as file:
        file.truncate(size)
    offset = slices[1].first_sector * sun_label.SECTOR
    blocks = slices[1].cylinders * sun_label.CYLINDER_BYTES // 1024
    assert layout(disk) == ("/dev/sda1 16.2 MiB boot image", "/dev/sda2 47.2 MiB")
    run(["mkfs.ext2", "-q", "-F", "-E", f"offset={offset}", disk, f"{blocks}k"])
    assert layout(disk) == ("/dev/sda1 16.2 MiB boot image", "/dev/sda2 47.2 MiB ext2 /")


def test_there_are_facts_to_try_the_rules_on() -> None:
    assert set(FACTS) <= set(FIVE) and len(FACTS) >= 2


def test_the_server_mirrors_both_disks_whichever_linux_found_first() -> None:
    facts, profile = parse_facts(FACTS["xeon-scsi"].read_text()), read_site(SITE).profiles["xeon-scsi"]
    assert [disk.serial for disk in facts.disks] == ["MIRROR", "SYSTEM"]
    release = Release("20260101-0123456789ab", "xeon-scsi", 1.0, "distserver:0a1b", 3, 100)
    plan = plan_install(facts, profile, release, hostname="server")
    assert [(one.role, one.disk.path) for one in plan.disks] == [
        ("first", "/dev/sdb"),
        ("second", "/dev/sda"),
    ]
    assert [type(one.what).__name__ for one in plan.made] == ["Raid", "Group", "Volume", "Volume"]
    assert {one.place for one in plan.mounted} == {"/"}


@pytest.mark.parametrize("name", ["dell-client", "hp-client", "xeon-scsi"])
def test_whichever_release_is_the_newest_its_installer_finds_and_makes_the_disks_of_the_others(
    name: str,
) -> None:
    profiles = read_site(SITE).profiles
    disks = profiles["xeon-scsi"].disk
    assert disks.groups and any(one.filesystem == "swap" for one in disks.holders)
    arrays = {f"MD_RAID{one.level}" for one in disks.raids}
    # Logical volumes, swap, and both kinds of LSI Logic's controllers (PCI 1000:*).
    others = {"BLK_DEV_DM", "SWAP", "SCSI_SYM53C8XX_2", "FUSION_SPI", "FUSION_SAS", "BLK_DEV_SD"}
    built_in = {
        symbol for symbol, value in kconfig.parse(profiles[name].kernel_config).items() if value == "y"
    }
    assert arrays and not (arrays | others) - built_in
    # Of the Dell's container.
    assert profiles["dell-client"].disk.containers
    sealed = {"DM_CRYPT", "CRYPTO_AES", "CRYPTO_XTS", "CRYPTO_SHA256", "CRYPTO_USER_API_SKCIPHER"}
    assert not sealed - built_in


def test_a_dell_is_installed_without_asking_only_with_secure_boot() -> None:
    facts, profiles = parse_facts(FACTS["dell-client"].read_text()), read_site(SITE).profiles
    arms = []
    for on in (False, True):
        choice = choose(replace(facts, secure_boot=on), profiles)
        assert isinstance(choice, Choice) and choice.profile == "dell-client"
        arms.append(choice.rule.arm)
    assert arms == [False, True]


def test_the_dells_root_is_encrypted_and_what_starts_the_machine_is_not() -> None:
    facts, profile = parse_facts(FACTS["dell-client"].read_text()), read_site(SITE).profiles["dell-client"]
    release = Release("20260101-0123456789ab", "dell-client", 1.0, "distserver:0a1b", 3, 100)
    plan = plan_install(facts, profile, release, hostname="dell")
    assert [type(one.what).__name__ for one in plan.made] == ["Luks"]
    assert {one.place: one.device for one in plan.mounted} == {
        "/": "/dev/mapper/crypt",
        "/boot": "/dev/sda2",
        "/boot/efi": "/dev/sda1",
    }


def test_enrolled_keys_are_where_firmware_that_was_sold_with_some_has_them(tmp_path: Path) -> None:
    flash = dell_client(Place(tmp_path, "tap0")).built_on.flash
    assert flash and not variables(flash.variables)
    for name in ("PK", "KEK", "db"):
        (tmp_path / f"{name}.esl").write_bytes(f"list of {name}".encode())
    enroll(flash.variables, tmp_path, tmp_path / "enrolled.fd")
    enrolled = variables(tmp_path / "enrolled.fd")
    assert {name: data for (name, _, _), data in enrolled.items()} == {
        "PK": b"list of PK",
        "KEK": b"list of KEK",
        "db": b"list of db",
    }
    # edk2 itself wrote these: the same names, vendors and attributes.
    assert enrolled.keys() <= variables(MICROSOFT_KEYS).keys()


@pytest.mark.parametrize("name", FACTS)
def test_the_rules_know_each_machine_from_its_own_facts_and_say_why_no_other_rule_counts(name: str) -> None:
    facts, profiles = parse_facts(FACTS[name].read_text()), read_site(SITE).profiles
    choice = choose(facts, profiles)
    assert isinstance(choice, Choice), choice.reason
    assert choice.profile == name
    others = [one for one in judge(facts, profiles) if one.profile != name]
    assert others and all(one.why and not one.fits for one in others)
