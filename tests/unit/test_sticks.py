"""Which drives may be written: sticks, never what the running system stands on; and which one is meant."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from iso.stick_choice import choose
from iso.sticks import (
    REMOVABLE,
    Block,
    Bus,
    Contents,
    Drive,
    Refused,
    Role,
    Stick,
    System,
    Use,
    amount,
    describe,
    judge,
    matches,
    too_small,
    tower,
    wanted_by_system,
)

GB = 10**9
STICK = Drive("sdb", (8, 16), Bus.USB, 16 * GB, vendor="Kingston", model="DataTraveler", serial="0123")
DISK = Drive("sda", (8, 0), Bus.ATA, 500 * GB, removable=False, model="WD Blue", serial="W-1")


def system(*drives: Drive, blocks: tuple[Block, ...] = (), uses: tuple[Use, ...] = ()) -> System:
    whole = {drive.name: Block(drive.name, drive.name, drive.size_bytes) for drive in drives}
    return System(drives, {**whole, **{block.name: block for block in blocks}}, uses)


def part(name: str, disk: str, **contents: str) -> Block:
    return Block(name, disk, 4 * GB, contents=Contents(**contents))  # type: ignore[arg-type]


def mapped(name: str, *below: str) -> Block:
    return Block(name, name, 4 * GB, frozenset(below))


def reasons(drive: Drive, there: System) -> list[str]:
    judged = judge(drive, there)
    assert isinstance(judged, Refused), judged
    return [reason.said for reason in judged.reasons]


def test_a_stick_that_nothing_uses_may_be_written() -> None:
    assert judge(STICK, system(DISK, STICK, blocks=(part("sdb1", "sdb"),))) == Stick(STICK)


@pytest.mark.parametrize("bus", list(Bus))
@pytest.mark.parametrize("claims", [True, False])
def test_the_bus_decides_what_is_removable_and_not_what_the_drive_claims(bus: Bus, claims: bool) -> None:
    drive = replace(STICK, bus=bus, removable=claims)
    judged = judge(drive, system(drive))
    if bus in REMOVABLE:
        assert isinstance(judged, Stick)
        assert ("not removable" in judged.note) == (bus is Bus.USB and not claims)
    else:
        assert isinstance(judged, Refused)
        assert f"its bus is {bus.value}" in judged.reasons[0].said
        assert ("whatever it says" in judged.reasons[0].said) == claims


def test_a_mounted_stick_is_refused_with_the_command_that_unmounts_it() -> None:
    use = Use("sdb1", Role.MOUNTED, "/media/my stick")
    judged = judge(STICK, system(STICK, blocks=(part("sdb1", "sdb"),), uses=(use,)))
    assert isinstance(judged, Refused)
    assert [(one.said, one.fix) for one in judged.reasons] == [
        ("sdb1 is mounted at /media/my stick", "umount '/media/my stick'")
    ]


@pytest.mark.parametrize(
    "use",
    [
        Use("dm-1", Role.MOUNTED, "/"),
        Use("dm-1", Role.SWAP),
        Use("sdb1", Role.MOUNTED, "/boot/efi"),
        Use("sdb", Role.NEEDED, "its boot loader"),
    ],
    ids=lambda use: f"{use.block} {use.role.name}",
)
def test_what_the_running_system_stands_on_is_refused_and_said_first(use: Use) -> None:
    blocks = (part("sdb1", "sdb"), mapped("md0", "sdb1", "sda"), mapped("dm-1", "md0"))
    uses = (Use("sdb1", Role.MOUNTED, "/mnt"), use)
    for drive in (STICK, DISK) if use.block == "dm-1" else (STICK,):
        first = reasons(drive, system(STICK, DISK, blocks=blocks, uses=uses))[0]
        assert first.startswith("it belongs to the running system: ")
        assert ("which is built on it" in first) == (use.block == "dm-1")


def test_what_is_built_on_a_stick_uses_it_even_when_it_is_not_mounted() -> None:
    there = system(STICK, blocks=(part("sdb1", "sdb"), mapped("dm-0", "sdb1")))
    assert reasons(STICK, there) == ["dm-0 is built on sdb1 and uses it"]


def test_read_only_and_empty_drives_and_large_sectors_are_named() -> None:
    assert reasons(replace(STICK, read_only=True), system(STICK)) == ["it is read-only"]
    assert reasons(replace(STICK, size_bytes=0), system(STICK)) == ["there is no medium in it"]
    assert "4096 bytes" in reasons(replace(STICK, sector_bytes=4096), system(STICK))[0]


def test_a_stick_that_is_too_small_is_refused_with_both_sizes() -> None:
    assert too_small(STICK, 16 * GB) is None
    said = too_small(STICK, 16 * GB + 1)
    assert said == "sdb holds 16.0 GB and the image has 16.0 GB: it is 1 bytes too small"


@st.composite
def systems(draw: st.DrawFn) -> System:
    """Drives with partitions, devices built on any of them and on each other, and uses of anything."""
    drives = [
        Drive(f"sd{letter}", (8, number * 16), draw(st.sampled_from(list(Bus))), draw(st.integers(0, GB)))
        for number, letter in enumerate("abc"[: draw(st.integers(1, 3))])
    ]
    blocks = {drive.name: Block(drive.name, drive.name, drive.size_bytes) for drive in drives}
    for drive in drives:
        for number in range(draw(st.integers(0, 2))):
            blocks[f"{drive.name}{number}"] = Block(f"{drive.name}{number}", drive.name, 1)
    for number in range(draw(st.integers(0, 4))):
        below = draw(st.frozensets(st.sampled_from(sorted(blocks)), min_size=1, max_size=3))
        blocks[f"dm-{number}"] = Block(f"dm-{number}", f"dm-{number}", 1, below)
        if draw(st.booleans()):
            blocks[f"dm-{number}p1"] = Block(f"dm-{number}p1", f"dm-{number}", 1)
    use = st.builds(
        Use,
        st.sampled_from(sorted(blocks)),
        st.sampled_from(list(Role)),
        st.sampled_from(["/", "/boot", "/mnt", "swap"]),
    )
    return System(tuple(drives), blocks, tuple(draw(st.lists(use, max_size=3))))


def below(name: str, blocks: dict[str, Block]) -> set[str]:
    """Everything that a device needs: the way down, where judge() looks up."""
    block = blocks[name]
    needs = {one for one in (*block.built_on, block.disk) if one != name}
    return {name}.union(*(below(one, blocks) for one in needs))


@given(systems())
def test_what_anything_in_use_stands_on_is_never_writable(there: System) -> None:
    blocks = dict(there.blocks)
    needed = set[str]().union(*(below(use.block, blocks) for use in there.uses))
    for drive in there.drives:
        judged = judge(drive, there)
        if drive.name in needed:
            assert isinstance(judged, Refused)
            assert any(use.block in reason.said for use in there.uses for reason in judged.reasons)


@given(systems())
def test_a_stick_is_writable_exactly_when_nothing_is_in_the_way(there: System) -> None:
    blocks = dict(there.blocks)
    for drive in there.drives:
        stands = {name for name in blocks if drive.name in below(name, blocks)}
        free = not any(use.block in stands for use in there.uses)
        bare = all(blocks[name].disk == drive.name for name in stands)
        good = drive.bus in REMOVABLE and drive.size_bytes > 0
        assert isinstance(judge(drive, there), Stick) == (free and bare and good)


def test_devices_that_are_built_on_each_other_in_a_circle_end_the_search() -> None:
    there = system(STICK, blocks=(mapped("dm-0", "sdb", "dm-1"), mapped("dm-1", "dm-0")))
    assert [block.name for block in tower("sdb", there.blocks)] == ["sdb", "dm-0", "dm-1"]


def test_what_the_system_boots_from_is_found_in_fstab_the_command_line_and_the_boot_loader() -> None:
    fstab = """
    # a comment
    UUID="AB-12"   /boot/efi  vfat  noauto 0 1   # another
    LABEL=ROOT     /          ext4  defaults
    /dev/sdb2      none       swap  sw
    /dev/sdb9      /media/usb auto  noauto,user
    """
    texts = {"fstab": fstab, "cmdline": "ro root=PARTUUID=77 resume=/dev/sdb3 quiet", "loader": "C0-FFEE\0"}
    found = wanted_by_system(texts)
    assert found == {
        "UUID=AB-12": "/boot/efi",
        "LABEL=ROOT": "/",
        "/dev/sdb2": "swap",
        "PARTUUID=77": "root= of the kernel",
        "/dev/sdb3": "resume= of the kernel",
        "PARTUUID=C0-FFEE": "its boot loader",
    }


@pytest.mark.parametrize(
    ("spec", "is_it"),
    [
        ("UUID=ab-12", True),
        ("UUID=AB-12", True),
        ("LABEL=data", True),
        ("PARTUUID=77", True),
        ("PARTLABEL=mine", True),
        ("/dev/sdb1", True),
        ("/dev/sdb", False),
        ("UUID=77", False),
        ("LABEL=", False),
        ("tmpfs", False),
    ],
)
def test_a_device_is_known_by_what_fstab_calls_it(spec: str, is_it: bool) -> None:
    block = part("sdb1", "sdb", uuid="AB-12", label="data", part_uuid="77", part_label="mine")
    assert matches(block, spec) is is_it
    assert not matches(part("sdc1", "sdc"), spec)


def test_what_would_be_lost_is_listed_by_partition() -> None:
    blocks = (
        replace(Block("sdb", "sdb", 16 * GB), contents=Contents(table="gpt")),
        part("sdb10", "sdb", part_label="later"),
        part("sdb2", "sdb", file_system="vfat", label="DATA"),
        replace(part("sdb3", "sdb"), contents=Contents(readable=False)),
    )
    drive = replace(STICK, medium="0123456789abcdef 'VM'")
    assert describe(drive, system(drive, blocks=blocks).blocks) == [
        "DistServer medium 0123456789abcdef 'VM'",
        "partition table gpt",
        "sdb2 vfat 'DATA' 4.0 GB",
        "sdb3 cannot be looked at 4.0 GB",
        "sdb10 'later' 4.0 GB",
    ]
    assert describe(STICK, system(STICK).blocks) == ["nothing that is known"]


def test_sizes_are_those_on_a_sticks_label() -> None:
    assert [amount(size) for size in (0, 999, 1500, 15_500_000_000, 2 * 10**12)] == [
        "0 bytes", "999 bytes", "2 kB", "15.5 GB", "2000.0 GB",
    ]  # fmt: skip


# Which one is meant

OTHER = replace(STICK, name="sdc", number=(8, 32), serial="4567")
BACKUP = replace(STICK, name="sdd", removable=False, serial="B-1")


def chosen(*drives: Drive, device: str = "", serial: str = "", yes: bool = False) -> str:
    return choose(system(*drives), device, serial, unattended=yes).drive.name


def test_the_only_stick_is_meant_when_none_is_named() -> None:
    assert chosen(DISK, STICK) == "sdb"
    assert chosen(DISK, STICK, yes=True) == "sdb"
    assert chosen(DISK, STICK, OTHER, replace(STICK, name="sde", size_bytes=0), serial="4567") == "sdc"


def test_slots_of_one_card_reader_have_one_serial_number_and_the_one_with_a_card_is_meant() -> None:
    empty = replace(STICK, name="sdc", size_bytes=0)
    assert chosen(empty, STICK, serial="0123") == "sdb"
    with pytest.raises(Problem, match="no medium"):
        chosen(empty, serial="0123")


@pytest.mark.parametrize(
    ("drives", "asked", "said"),
    [
        ((DISK,), {}, "no stick to write: none is plugged in"),
        (
            (STICK, OTHER),
            {},
            r"2 that may be meant: sdb \(Kingston DataTraveler, 16.0 GB, serial 0123\)",
        ),
        ((STICK, replace(OTHER, serial="0123")), {"serial": "0123"}, "2 that may be meant"),
        ((DISK, STICK), {"device": "sda"}, r"sda \(WD Blue.*is not written: it is no removable medium"),
        ((DISK, STICK), {"device": "sdz"}, "there is no drive sdz"),
        (
            (STICK, OTHER),
            {"device": "sdb", "serial": "4567"},
            "has the serial number 0123, expected 4567",
        ),
        ((replace(STICK, serial=""),), {"device": "sdb", "serial": "1"}, "sdb has no serial number"),
        ((DISK, STICK), {"serial": "W-1"}, "no stick with the serial number W-1"),
        ((replace(STICK, read_only=True),), {}, "it is read-only"),
        ((replace(STICK, read_only=True), replace(OTHER, read_only=True)), {}, "none of them may be written"),
    ],
)
def test_what_is_not_clear_or_not_allowed_is_refused(
    drives: tuple[Drive, ...], asked: dict[str, str], said: str
) -> None:
    with pytest.raises(Problem, match=said):
        chosen(*drives, device=asked.get("device", ""), serial=asked.get("serial", ""))


def test_a_partition_is_refused_with_the_name_of_its_stick() -> None:
    there = system(STICK, blocks=(part("sdb1", "sdb"),))
    with pytest.raises(Problem, match="sdb1 is a part of sdb"):
        choose(there, "sdb1", "", unattended=False)


def test_without_a_person_a_name_is_not_enough_where_there_are_two() -> None:
    with pytest.raises(Problem, match="here are sdb, sdc") as problem:
        chosen(STICK, OTHER, device="sdb", yes=True)
    assert "--serial 0123" in problem.value.hint
    assert chosen(STICK, OTHER, device="sdb", serial="0123", yes=True) == "sdb"


def test_without_a_person_a_usb_disk_has_to_be_named_by_its_serial_number() -> None:
    with pytest.raises(Problem, match="not enough for sdd: it is a USB disk that says it is not removable"):
        chosen(BACKUP, yes=True)
    assert chosen(BACKUP, serial="B-1", yes=True) == "sdd"
    assert chosen(BACKUP) == "sdd"
