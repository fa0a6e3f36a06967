"""What machines say of themselves: read strictly where it matters, leniently where vendors vary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.facts import MAX_BYTES, MAX_DISKS, normal_mac, parse_facts, render_facts
from appliance.model import Disk, Facts, Firmware

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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mac 52:54:00:77:00", "facts line 11: expected a MAC address of 6 octets, came '52:54:00:77:00'"),
        ("firmware coreboot", "facts line 11: expected firmware bios or uefi, came 'coreboot'"),
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


def test_escape_sequences_of_a_vendor_never_reach_a_terminal() -> None:
    facts = parse_facts("mac 52:54:00:77:00:01\nfirmware bios\nvendor \x1b[31mACME\x07\n")
    assert facts.vendor == "?[31mACME?"


def test_a_mac_is_written_one_way() -> None:
    assert normal_mac(" AA-BB-CC-DD-EE-FF ") == "aa:bb:cc:dd:ee:ff"
    assert normal_mac("aabbccddeeff") is None


words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20).filter(
    "-".__ne__
)
lines = st.lists(words, max_size=4).map(" ".join)
disks = st.builds(
    Disk,
    path=st.from_regex(r"/dev/[a-z][a-z0-9]{0,8}", fullmatch=True),
    size_bytes=st.integers(0, 2**63 - 1),
    transport=words | st.just(""),
    removable=st.booleans(),
    serial=words | st.just(""),
    model=lines,
)
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
    disks=st.lists(disks, max_size=4, unique_by=lambda disk: disk.path).map(tuple),
)


@given(everything)
def test_rendered_facts_read_back_as_the_same(facts: Facts) -> None:
    assert parse_facts(render_facts(facts)) == facts


@given(st.text())
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        parse_facts(text)
    except Problem as problem:
        assert problem.message.startswith("facts ")
