"""Each condition of a match rule: when it holds, what is said of it, and which ones a site may state."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.match_conditions import findings
from appliance.match_rules import conditions, read_rule, rule_fields, rule_of
from appliance.model import Disk, Facts, Firmware, PciDevice
from appliance.profile_model import DiskRule, MatchRule

GIB = 2**30
DISKS = (
    Disk("/dev/sda", 9 * GIB, "scsi", serial="A", model="SEAGATE ST39103LC"),
    Disk("/dev/sdb", 9 * GIB, "scsi", serial="B", model="SEAGATE ST39103LC"),
    Disk("/dev/sdc", 9 * GIB, "usb", removable=True, model="Stick"),
)
FACTS = Facts(
    "00:30:48:12:34:56",
    Firmware.BIOS,
    2047 << 20,
    cpu="Intel(R) Xeon(TM) CPU 2.40GHz",
    vendor="Supermicro",
    product="X5DP8",
    disks=DISKS,
    arch="x86_64",
    cpus=2,
    cpu_flags=("fpu", "mmx", "sse", "sse2"),
    board_vendor="Supermicro",
    board="X5DP8-G2",
    bios_vendor="Phoenix Technologies LTD",
    bios_version="6.00",
    pci=(
        PciDevice("1000:0030", "010000", "15d9:3280"),
        PciDevice("8086:1010", "020000", "15d9:1011"),
        PciDevice("8086:254c", "060000"),
    ),
)
UEFI = replace(FACTS, firmware=Firmware.UEFI, secure_boot=True)


def rule(**table: Any) -> MatchRule:
    complaints: list[str] = []
    made = read_rule(table, "match[1]", complaints)
    assert complaints == []
    return made


@pytest.mark.parametrize(
    ("table", "facts", "fits", "said"),
    [
        ({"oui": ["00:1B:78", "00-30-48"]}, FACTS, True, "mac 00:30:48:12:34:56 begins with 00:30:48"),
        ({"oui": ["00:30:4"]}, FACTS, None, "oui: expected octets such as \"00:1b:78\", got '00:30:4'"),
        ({"oui": ["00:1b"]}, FACTS, False, "mac 00:30:48:12:34:56 does not begin with 00:1b"),
        ({"oui": ["00:30:48:12:34:56"]}, FACTS, True, "begins with 00:30:48:12:34:56"),
        ({"arch": "x86_64"}, FACTS, True, "arch 'x86_64' is like 'x86_64'"),
        ({"board": "x5dp8*", "bios_vendor": "Phoenix*"}, FACTS, True, "board 'X5DP8-G2' is like 'x5dp8*'"),
        ({"cpu": "*Xeon*"}, FACTS, True, "is like '*Xeon*'"),
        ({"firmware": "bios"}, FACTS, True, "firmware is bios"),
        ({"firmware": "uefi"}, FACTS, False, "firmware is bios, not uefi"),
        ({"firmware": "openfirmware"}, FACTS, False, "firmware is bios, not openfirmware"),
        ({"firmware": "efi"}, FACTS, None, "firmware: expected bios, uefi, openfirmware, got 'efi'"),
        ({"secure_boot": True}, UEFI, True, "Secure Boot is on"),
        ({"secure_boot": False}, UEFI, False, "Secure Boot is on"),
        ({"secure_boot": False}, replace(UEFI, secure_boot=False), True, "Secure Boot is off"),
        ({"secure_boot": False}, FACTS, False, "it did not say whether Secure Boot is on"),
        ({"cpu_flags": ["mmx", "sse2"]}, FACTS, True, "the processor has mmx"),
        ({"cpu_flags": ["lm"]}, FACTS, False, "the processor has no lm"),
        ({"cpu_flags": ["mmx", "-sse"]}, FACTS, False, "the processor has sse"),
        ({"cpu_flags": ["-lm"]}, FACTS, True, "the processor has no lm"),
        ({"cpu_flags": ["-lm"]}, replace(FACTS, cpu_flags=()), False, "it did not say what its processor"),
        ({"cpu_flags": ["a b"]}, FACTS, None, 'cpu_flags: expected flags such as "mmx"'),
        ({"pci": ["1000:0030"]}, FACTS, True, "the PCI device 1000:0030 class 010000 subsystem 15d9:3280 is"),
        ({"pci": ["1000:*", "class 02"]}, FACTS, True, "class 020000 subsystem 15d9:1011 is class 02"),
        ({"pci": ["class 0106"]}, FACTS, False, "no PCI device is class 0106"),
        ({"pci": ["8086:1010 subsystem 15d9:*"]}, FACTS, True, "the PCI device 8086:1010"),
        ({"pci": ["8086:1010 subsystem 103C:*"]}, FACTS, False, "no PCI device is 8086:1010 subsystem 103c"),
        ({"pci": ["8086:* class 01"]}, FACTS, False, "no PCI device is 8086:* class 01"),
        ({"pci": ["-1af4:*"]}, FACTS, True, "no PCI device is 1af4:*"),
        ({"pci": ["-1000:*"]}, FACTS, False, "the PCI device 1000:0030"),
        ({"pci": ["-1af4:*"]}, replace(FACTS, pci=()), False, "it did not say which PCI devices it has"),
        ({"pci": ["1000"]}, FACTS, None, 'pci: expected "VENDOR:DEVICE"'),
        ({"pci": ["class"]}, FACTS, None, 'pci: expected "VENDOR:DEVICE"'),
        ({"pci": ["class 01 class 02"]}, FACTS, None, 'pci: expected "VENDOR:DEVICE"'),
        ({"pci": [""]}, FACTS, None, 'pci: expected "VENDOR:DEVICE"'),
        ({"min_memory": "1 GiB", "max_memory": "2 GiB"}, FACTS, True, "memory 2 GiB is 1 GiB to 2 GiB"),
        ({"min_memory": "2 GiB"}, FACTS, False, "memory 2 GiB is not at least 2 GiB"),
        ({"max_memory": "512 MiB"}, FACTS, False, "memory 2 GiB is not at most 512 MiB"),
        ({"min_memory": "2 GiB", "max_memory": "1 GiB"}, FACTS, None, "memory: at least 2147483648 and at"),
        ({"min_cpus": 2}, FACTS, True, "2 processors are at least 2"),
        ({"max_cpus": 1}, FACTS, False, "2 processors are not at most 1"),
        ({"min_cpus": 1}, replace(FACTS, cpus=0), False, "it did not say how many processors it has"),
        ({"disk": {}}, FACTS, True, "of its disks /dev/sda, /dev/sdb: at least 1 disk"),
        ({"disk": {"count": 2, "transport": "scsi"}}, FACTS, True, "/dev/sda, /dev/sdb: exactly 2 disks, sc"),
        ({"disk": {"count": 1}}, FACTS, False, "expected exactly 1 disk, it has /dev/sda, /dev/sdb"),
        (
            {"disk": {"count": 0, "transport": "nvme"}},
            FACTS,
            True,
            "its disks none: exactly 0 disks, nvme",
        ),
        ({"disk": {"min_size": "8 GiB", "max_size": "10 GiB"}}, FACTS, True, "at least 1 disk, 8 GiB to 10"),
        (
            {"disk": {"max_size": "2 GiB"}},
            FACTS,
            False,
            "at least 1 disk, at most 2 GiB, it has none",
        ),
        ({"disk": {"model": "seagate*"}}, FACTS, True, "at least 1 disk, seagate*"),
        ({"disk": {"transport": "usb"}}, FACTS, False, "expected at least 1 disk, usb, it has none"),
        ({"disk": {"count": -1}}, FACTS, None, "disk.count: expected 0 or more, got -1"),
    ],
)
def test_a_condition_holds_or_not_or_is_refused(
    table: dict[str, Any], facts: Facts, fits: bool | None, said: str
) -> None:
    complaints: list[str] = []
    made = read_rule(table, "match[1]", complaints)
    if fits is None:
        assert any(f"match[1].{said}" in one for one in complaints), complaints
        return
    assert complaints == []
    found = findings(facts, made)
    assert all(one.fits for one in found) is fits
    assert any(said in one.said for one in found), found


def test_an_older_installers_facts_fit_rules_about_what_it_said() -> None:
    old = Facts("00:30:48:12:34:56", Firmware.BIOS, vendor="Supermicro")
    assert all(one.fits for one in findings(old, rule(vendor="super*", oui=["00:30"])))
    assert not all(one.fits for one in findings(old, rule(vendor="super*", pci=["1000:*"])))


def test_a_rule_is_as_specific_as_it_has_conditions_and_a_list_is_one() -> None:
    listed = rule(vendor="x", pci=["1000:*", "class 02"], min_memory="1G", max_memory="2G")
    assert list(conditions(listed)) == ["vendor", "pci", "memory"]
    assert conditions(rule(priority=3, arm=True)) == {}
    disk = {"count": 1, "model": "ST*"}
    said = conditions(rule(firmware="uefi", secure_boot=False, min_cpus=2, disk=disk, oui=["00", "02"]))
    assert said == {
        "firmware": "uefi",
        "secure_boot": "off",
        "oui": "00 or 02",
        "cpus": "at least 2",
        "disk": "exactly 1 disk, ST*",
    }


texts = st.text(max_size=8)
sizes = st.none() | st.integers(0, 2**40)
rules = st.builds(
    MatchRule,
    vendor=texts,
    board=texts,
    arm=st.booleans(),
    priority=st.integers(),
    firmware=st.none() | st.sampled_from(Firmware),
    secure_boot=st.none() | st.booleans(),
    oui=st.lists(texts, max_size=2).map(tuple),
    cpu_flags=st.lists(texts, max_size=2).map(tuple),
    pci=st.lists(texts, max_size=2).map(tuple),
    min_memory_bytes=sizes,
    max_memory_bytes=sizes,
    min_cpus=sizes,
    max_cpus=sizes,
    disk=st.none() | st.builds(DiskRule, sizes, sizes, sizes, texts, texts),
)
some_facts = st.sampled_from([FACTS, UEFI, Facts("00:00:00:00:00:01", Firmware.BIOS)])


@given(rules)
def test_a_rule_is_the_same_after_json(one: MatchRule) -> None:
    assert rule_of(json.loads(json.dumps(rule_fields(one)))) == one


@given(rules, some_facts)
def test_every_condition_has_something_to_say_and_no_rule_is_too_odd_for_it(
    one: MatchRule, facts: Facts
) -> None:
    assert bool(findings(facts, one)) is bool(conditions(one))
    assert all(each.said.strip() for each in findings(facts, one))


def test_what_is_no_rule_is_refused() -> None:
    with pytest.raises(KeyError, match="colour"):
        rule_of(rule_fields(MatchRule()) | {"colour": "blue"})
