"""What machines say of themselves: read strictly where it matters, leniently where vendors vary."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.facts import (
    MAX_BYTES,
    MAX_DISKS,
    MAX_FLAGS,
    MAX_PARTITIONS,
    MAX_PCI,
    named_mac,
    normal_mac,
    parse_facts,
    render_facts,
    sorted_devices,
)
from appliance.model import NO_TABLE, Disk, DiskPartition, Facts, Firmware, PciDevice
from appliance.store.machines import facts_from_json, facts_to_json

TEXT = """\
mac 52-54-00-77-00-0A
firmware uefi
memory 1073741824
uuid 6f1c5f1e-0000-4000-8000-525400770001
cpu QEMU Virtual CPU version 2.5+
vendor QEMU
product Standard PC (Q35 + ICH9, 2009)
disk /dev/vda 8589934592 virtio 0 - \n\
disk /dev/sda 500107862016 sata 0 S3Z9NB0K Samsung SSD 860 EVO 500GB
colour blue
"""


def test_the_facts_of_a_virtual_machine_are_read() -> None:
    facts = parse_facts(TEXT)
    assert facts.mac == "52:54:00:77:00:0a"
    assert facts.firmware is Firmware.UEFI
    assert facts.memory_bytes == 1 << 30
    assert facts.product == "Standard PC (Q35 + ICH9, 2009)"
    assert facts.serial == ""
    assert facts.disks == (
        Disk("/dev/vda", 8 << 30, "virtio"),
        Disk("/dev/sda", 500107862016, "sata", False, "S3Z9NB0K", "Samsung SSD 860 EVO 500GB"),
    )


OF_VDA = "table /dev/vda gpt\npart /dev/vda1 /dev/vda "


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mac 52:54:00:77:00", "facts line 11: expected a MAC address of 6 octets, came '52:54:00:77:00'"),
        (
            "firmware coreboot",
            "facts line 11: expected firmware bios or uefi or openfirmware, came 'coreboot'",
        ),
        ("cpus many", "facts line 11: expected the number of processors as a decimal number, came 'many'"),
        ("secureboot yes", "facts line 11: expected secureboot on or off, came 'yes'"),
        ("flags fpu <b>", "facts line 11: expected flags of a processor, came '<b>'"),
        ("pci 8086:100e 020000", "facts line 11: expected pci VENDOR:DEVICE CLASS SUBSYSTEM, came 2 words"),
        ("pci 8086:100 020000 -", "expected a PCI device as 8086:100e 020000, came '8086:100 020000'"),
        ("pci 8086:100e 0200 -", "expected a PCI device as 8086:100e 020000, came '8086:100e 0200'"),
        ("pci 8086:100e 020000 x", "facts line 11: expected a PCI subsystem as 103c:1234, came 'x'"),
        ("memory 1G", "facts line 11: expected memory in bytes as a decimal number, came '1G'"),
        ("memory 9223372036854775808", "expected memory in bytes as a decimal number"),
        ("vendor x\nvendor y", "facts line 12: expected vendor once, came it a second time"),
        ("vendor " + "x" * 257, "expected vendor of at most 256 characters, came 257"),
        (
            "disk /dev/vdb 1 virtio",
            "expected disk PATH SIZE TRANSPORT REMOVABLE SERIAL [MODEL], came 3 words",
        ),
        ("disk vdb 1 virtio 0 -", "facts line 11: expected a disk's path under /dev, came 'vdb'"),
        ("disk /dev/../etc/x 1 virtio 0 -", "expected a disk's path under /dev"),
        ("disk /dev/vdb many virtio 0 -", "expected a disk's size in bytes as a decimal number, came 'many'"),
        ("disk /dev/vdb 1 virtio yes -", "facts line 11: expected removable 0 or 1, came 'yes'"),
        ("disk /dev/vda 1 virtio 0 -", "expected disk /dev/vda once, came it a second time"),
        ("table /dev/vda", "facts line 11: expected table DISK KIND, came 1 words after table"),
        ("table /dev/vdb gpt", "facts line 11: expected a disk that an earlier line names, came '/dev/vdb'"),
        ("table /dev/vda <b>", "expected the kind of a partition table, came '<b>'"),
        ("table /dev/vda gpt\ntable /dev/vda dos", "facts line 12: expected the table of /dev/vda once"),
        ("part /dev/vda1 /dev/vda 1 1 -", "part PATH DISK START SIZE FSTYPE LABEL, came 5 words after part"),
        ("part /dev/vdb1 /dev/vdb 1 1 - -", "expected a disk that an earlier line names, came '/dev/vdb'"),
        ("part /dev/vda1 /dev/vda 1 1 - -", "expected the table of /dev/vda before what is in it"),
        (f"{OF_VDA}x 1 - -", "facts line 12: expected a partition's start in bytes as a decimal number"),
        (f"{OF_VDA}1 -1 - -", "expected a partition's size in bytes as a decimal number, came '-1'"),
        (f"{OF_VDA}1 1 - -\npart /dev/vda1 /dev/vda 1 1 - -", "facts line 13: expected partition /dev/vda1"),
        ("table /dev/vda gpt\npart vda1 /dev/vda 1 1 - -", "expected a partition's path under /dev"),
    ],
)
def test_a_malformed_line_is_named_with_what_was_expected(line: str, message: str) -> None:
    kept = [old for old in TEXT.splitlines() if old.split()[0] != line.split()[0] or line.startswith("disk")]
    text = "\n".join([*kept, *["x"] * (10 - len(kept)), line])
    with pytest.raises(Problem) as caught:
        parse_facts(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["mac", "firmware"])
def test_what_identifies_a_machine_must_be_there(missing: str) -> None:
    lines = [line for line in TEXT.splitlines() if not line.startswith(missing)]
    with pytest.raises(Problem, match=f"facts have no {missing} line"):
        parse_facts("\n".join(lines))


def test_facts_beyond_the_size_limit_are_refused() -> None:
    with pytest.raises(Problem, match=f"expected at most {MAX_BYTES}"):
        parse_facts(TEXT + "x" * MAX_BYTES)


def test_more_disks_than_any_machine_has_are_refused() -> None:
    disks = "\n".join(f"disk /dev/sd{number} 1 sata 0 -" for number in range(MAX_DISKS + 1))
    with pytest.raises(Problem, match="at most 256 disks"):
        parse_facts(f"mac 52:54:00:77:00:01\nfirmware bios\n{disks}\n")


def test_more_devices_and_flags_than_any_machine_has_are_refused() -> None:
    devices = "".join(f"pci 8086:{number:04x} 020000 -\n" for number in range(MAX_PCI + 1))
    with pytest.raises(Problem, match="at most 512 PCI devices, came one more"):
        parse_facts(TEXT + devices)
    flags = "".join(f"flags f{number}\n" for number in range(MAX_FLAGS + 1))
    with pytest.raises(Problem, match="at most 1024 processor flags, came more"):
        parse_facts(TEXT + flags)


def test_what_is_on_each_disk_is_read_and_a_disk_of_which_nothing_is_said_is_another_than_a_blank_one() -> (
    None
):
    told = "table /dev/sda dos\npart /dev/sda1 /dev/sda 1048576 4096 ntfs My_<b>Data\x07\n"
    vda, sda = parse_facts(f"{TEXT}{told}part /dev/sda2 /dev/sda 2097152 512 - -\n").disks
    assert (vda.table, vda.partitions) == ("", ())
    assert sda.table == "dos"
    assert sda.partitions == (
        DiskPartition("/dev/sda1", 1048576, 4096, "ntfs", "My_<b>Data?"),
        DiskPartition("/dev/sda2", 2097152, 512),
    )
    assert parse_facts(f"{TEXT}table /dev/vda none\n").disks[0].table == NO_TABLE


def test_more_partitions_than_a_page_shows_are_refused() -> None:
    lines = "".join(f"part /dev/vda{number} /dev/vda 0 1 - -\n" for number in range(MAX_PARTITIONS + 1))
    with pytest.raises(Problem, match="at most 256 partitions, came one more"):
        parse_facts(f"{TEXT}table /dev/vda gpt\n{lines}")


def test_facts_that_were_kept_before_machines_told_their_partitions_are_read() -> None:
    old = facts_to_json(parse_facts(TEXT)).replace(', "partitions": []', "").replace(', "table": ""', "")
    assert "partitions" not in old and "table" not in old
    assert facts_from_json(old) == parse_facts(TEXT)
    fields = json.loads(old)
    ancient = ("mac", "firmware", "memory_bytes", "uuid", "cpu", "vendor", "product", "serial", "disks")
    older = json.dumps({name: fields[name] for name in ancient})
    assert facts_from_json(older) == parse_facts(TEXT)


def test_escape_sequences_of_a_vendor_never_reach_a_terminal() -> None:
    facts = parse_facts("mac 52:54:00:77:00:01\nfirmware bios\nvendor \x1b[31mACME\x07\n")
    assert facts.vendor == "?[31mACME?"


def test_a_mac_is_written_one_way() -> None:
    assert normal_mac(" AA-BB-CC-DD-EE-FF ") == "aa:bb:cc:dd:ee:ff"
    assert normal_mac("aabbccddeeff") is None


def test_the_machine_of_a_facts_text_is_found_without_reading_the_rest() -> None:
    assert named_mac(f"token 52:54:00:77:00:0b\n{TEXT}disk nonsense\n") == "52:54:00:77:00:0a"
    assert named_mac("machine 52:54:00:77:00:0a\nfirmware uefi\n") is None
    assert named_mac("mac nonsense\n") is None


words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
    "-".__ne__
)
lines = st.lists(words, max_size=4).map(" ".join)
inside = st.tuples(
    st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), words | st.just(""), words | st.just("")
)


def filled(disk: Disk, table: str, parts: list[tuple[int, int, str, str]]) -> Disk:
    if not table:
        return disk
    found = tuple(DiskPartition(f"{disk.path}p{number}", *one) for number, one in enumerate(parts))
    return replace(disk, table=table, partitions=found)


plain_disks = st.builds(
    Disk,
    path=st.from_regex(r"/dev/[a-z][a-z0-9]{0,8}", fullmatch=True),
    size_bytes=st.integers(0, 2**63 - 1),
    transport=words | st.just(""),
    removable=st.booleans(),
    serial=words | st.just(""),
    model=lines,
)
disks = st.builds(
    filled, plain_disks, st.sampled_from(["", NO_TABLE, "gpt", "dos"]), st.lists(inside, max_size=4)
)
pci_ids = st.from_regex(r"[0-9a-f]{4}:[0-9a-f]{4}", fullmatch=True)
devices = st.builds(PciDevice, pci_ids, st.from_regex(r"[0-9a-f]{6}", fullmatch=True), pci_ids | st.just(""))
everything = st.builds(
    Facts,
    mac=st.from_regex(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", fullmatch=True),
    firmware=st.sampled_from(Firmware),
    memory_bytes=st.integers(0, 2**63 - 1),
    uuid=lines,
    cpu=lines,
    vendor=lines,
    product=lines,
    serial=lines,
    arch=lines,
    cpus=st.integers(0, 2**63 - 1),
    cpu_flags=st.sets(st.from_regex(r"[A-Za-z0-9_.+-]{1,40}", fullmatch=True), max_size=40).map(
        lambda found: tuple(sorted(found))
    ),
    secure_boot=st.none() | st.booleans(),
    family=lines,
    sku=lines,
    board_vendor=lines,
    board=lines,
    bios_vendor=lines,
    bios_version=lines,
    pci=st.sets(devices, max_size=6).map(sorted_devices),
    disks=st.lists(disks, max_size=4, unique_by=lambda disk: disk.path).map(tuple),
)


@given(everything)
def test_rendered_facts_read_back_as_the_same(facts: Facts) -> None:
    assert parse_facts(render_facts(facts)) == facts
    assert facts_from_json(facts_to_json(facts)) == facts


@given(st.text())
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        parse_facts(text)
    except Problem as problem:
        assert problem.message.startswith("facts ")
