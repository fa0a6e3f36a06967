"""Several disks, arrays, groups, kept file systems: what is planned, and what is refused with a sentence."""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.disk_contents import contents_after
from appliance.disk_model import DiskLayout, DiskRole, Group, Partition, Raid, Subvolume, Table, Volume
from appliance.disk_plan import EXTENT, OF_GROUP, OF_RAID
from appliance.disk_profiles import read_disks
from appliance.farm_model import Release
from appliance.install import MIB, Plan, Refused, describe, plan_install, render
from appliance.model import Disk, DiskPartition, Facts, Firmware
from tests.installer_box import RELEASE, Box
from tests.layouts.catalogue import ALL, Layout
from tests.unit.plain_profile import PLAIN

GIB = 1024 * MIB
SEALED = Release(RELEASE, "vm", 1.0, "gentoo:0a1b", 3, 100)
BIOS_BOOT = Partition("bios", MIB, "", "", Firmware.BIOS)


def planned(layout: DiskLayout, *disks: Disk, firmware: Firmware = Firmware.BIOS) -> Plan:
    facts = Facts("52:54:00:77:00:01", firmware, disks=disks)
    return plan_install(facts, replace(PLAIN, disk=layout), SEALED, hostname="vm-1")


def lines(plan: Plan) -> list[str]:
    return render(plan, report="r", base="b", pool="p").splitlines()


def disks_of(layout: Layout) -> list[Disk]:
    return [
        Disk(f"/dev/vd{'abcdef'[number]}", size, "virtio", serial=f"LAYOUT{number}", table="none")
        for number, size in enumerate(layout.disks_bytes)
    ]


def test_an_array_and_a_group_are_made_in_the_order_of_what_they_are_made_of() -> None:
    (layout,) = (one for one in ALL if one.name == "raid1-lvm")
    text = lines(planned(layout.layout, *disks_of(layout)))
    assert [one for one in text if one.split()[0] in ("programs", "raid", "vg", "lv", "mkfs", "loader")] == [
        "programs storage",
        "raid /dev/md0 1 1.0 boot /dev/vda2 /dev/vdb2",
        "raid /dev/md1 1 1.2 data /dev/vda3 /dev/vdb3",
        "vg vg /dev/md1",
        "lv vg root 1024",
        "lv vg swap 64",
        "lv vg home 688",
        "mkfs /dev/md0 ext4 boot",
        "mkfs /dev/mapper/vg-root ext4 root",
        "mkfs /dev/mapper/vg-swap swap swap",
        "mkfs /dev/mapper/vg-home xfs home",
        "loader bios /dev/vda /dev/vdb",
    ]


def test_people_see_what_each_disk_and_each_array_becomes() -> None:
    (layout,) = (one for one in ALL if one.name == "raid1-lvm")
    said = describe(planned(layout.layout, *disks_of(layout)))
    assert "after: /dev/vdb (second) has a GPT with 3 partitions" in said
    assert "  /dev/vdb3 1.7 GiB data-b: a part of what follows" in said
    assert "  /dev/md1 1.7 GiB RAID 1 (metadata 1.2) of /dev/vda3, /dev/vdb3" in said
    assert "  /dev/mapper/vg-home 688.0 MiB logical volume of vg, xfs on /home" in said


def test_an_mbr_has_no_names_and_an_active_partition_for_bios() -> None:
    (layout,) = (one for one in ALL if one.name == "mbr-ext4")
    text = lines(planned(layout.layout, *disks_of(layout)))
    assert [one for one in text if one.startswith("sfdisk")] == [
        "sfdisk label: dos",
        "sfdisk start=1MiB, size=64MiB, type=S, bootable",
        "sfdisk start=65MiB, size=958MiB, type=L",
    ]


def test_subvolumes_are_mounted_with_their_options() -> None:
    (layout,) = (one for one in ALL if one.name == "gpt-btrfs-subvolumes")
    text = lines(planned(layout.layout, *disks_of(layout)))
    assert [one for one in text if one.startswith(("subvolume", "mount"))] == [
        "subvolume /dev/vda3 @",
        "subvolume /dev/vda3 @home",
        "mount /dev/vda3 / subvol=@,compress=zstd:1",
        "mount /dev/vda2 /boot",
        "mount /dev/vda3 /home subvol=@home,compress=zstd:1,nodev",
    ]


@pytest.mark.parametrize("layout", ALL, ids=lambda one: one.name)
def test_the_installer_takes_every_plan_and_none_for_another_disk(box: Box, layout: Layout) -> None:
    text = "\n".join(lines(planned(layout.layout, *disks_of(layout), firmware=layout.firmware))) + "\n"
    box.plan(text)
    assert box.sh("check_plan").stdout == ""
    found = [
        line for line in text.splitlines() if line.split()[0] in ("mkfs", "raid", "vg", "mount", "loader")
    ]
    tries = []
    for line in found:
        for word in line.split():
            if word.startswith(("/dev/vd", "/dev/md", "/dev/mapper/")):
                tries.append(text.replace(line, line.replace(word, "/dev/vdz1", 1), 1))
    for number, other in enumerate(tries):
        (box.path / f"plan{number}").write_text(other)
    said = box.sh(
        f"n=0; while [ $n -lt {len(tries)} ]; do plan=$work/plan$n; check_plan >/dev/null && echo took $n; "
        f"n=$((n + 1)); done; echo tried"
    ).stdout
    assert said == "tried\n"


# Which disk


def two(serial: str = "", path: str = "", transport: str = "") -> DiskLayout:
    root = Partition("root", None, "ext4", "/")
    data = (Partition("data", None, "ext4", "/data"),)
    other = DiskRole(data, transport=transport, serial=serial, path=path, role="data")
    return DiskLayout((BIOS_BOOT, root), role="system", serial="s*", others=(other,))


A = Disk("/dev/sda", 8 * GIB, "sata", serial="S1", place="pci-0000:00:1f.2-ata-1", rotational=False)
B = Disk("/dev/sdb", 8 * GIB, "sata", serial="T1", place="pci-0000:00:1f.2-ata-2", rotational=True)


def test_each_role_gets_its_disk() -> None:
    plan = planned(two(serial="t*"), B, A)
    assert [(one.role, one.disk.path) for one in plan.disks] == [("system", "/dev/sda"), ("data", "/dev/sdb")]
    assert planned(two(path="*-ata-2"), B, A).disks[1].disk == B


def test_a_role_that_two_disks_match_is_refused_by_name_though_one_is_taken() -> None:
    with pytest.raises(Refused) as caught:
        planned(two(transport="sata"), A, B)
    assert caught.value.message == (
        "2 disks match role data of profile vm (/dev/sda 8.0 GiB, /dev/sdb 8.0 GiB), expected exactly 1"
    )


def test_two_roles_are_never_the_same_disk() -> None:
    with pytest.raises(Refused, match=r"/dev/sda 8.0 GiB matches the roles system and data of profile vm"):
        planned(two(serial="S1"), A, B)


@pytest.mark.parametrize(
    ("role", "why"),
    [
        (DiskRole((), max_size_bytes=4 * GIB), "is larger than 4.0 GiB"),
        (DiskRole((), path="pci-*-ata-9"), "has path pci-0000:00:1f.2-ata-1, wanted pci"),
        (DiskRole((), rotational=True), "does not rotate"),
    ],
)
def test_a_disk_that_is_none_of_a_role_is_named_with_its_reason(role: DiskRole, why: str) -> None:
    layout = replace(
        two(),
        serial="",
        max_size_bytes=role.max_size_bytes,
        path=role.path,
        rotational=role.rotational,
        others=(),
    )
    with pytest.raises(Refused, match=why):
        planned(layout, A)


# Kept


HOME = DiskLayout(
    (
        BIOS_BOOT,
        Partition("root", 2 * GIB, "ext4", "/"),
        Partition("home", None, "ext4", "/home", keep=True),
    )
)
BLANK = Disk("/dev/sda", 8 * GIB, "sata", table="none")


def installed() -> Disk:
    """The disk as the first installation leaves it."""
    plan = planned(HOME, BLANK)
    return contents_after(Facts("52:54:00:77:00:01", Firmware.BIOS, disks=(BLANK,)), plan).disks[0]


def test_the_first_installation_makes_what_is_kept_later() -> None:
    text = lines(planned(HOME, BLANK))
    assert "mkfs /dev/sda3 ext4 home new" in text
    assert "sfdisk label: gpt" in text


def test_what_is_there_as_declared_is_kept_and_its_table_is_not_written() -> None:
    plan = planned(HOME, installed())
    text = lines(plan)
    assert [one for one in text if "sda3" in one] == ["keep /dev/sda3 ext4 home", "mount /dev/sda3 /home"]
    assert "unchanged /dev/sda" in text and not any(one.startswith("sfdisk") for one in text)
    assert "mkfs /dev/sda2 ext4 root" in text
    said = describe(plan)
    assert "before: /dev/sda 8.0 GiB sata: everything on it is lost but /dev/sda3" in said
    assert "  /dev/sda3 6.0 GiB home: ext4 on /home, kept as it is" in said
    assert any(line.startswith("  /dev/sda3 ") and line.endswith(": kept") for line in said)


def moved(disk: Disk, number: int, **change: str | int) -> Disk:
    parts: list[DiskPartition] = list(disk.partitions)
    parts[number] = replace(parts[number], **change)  # type: ignore[arg-type]
    return replace(disk, partitions=tuple(parts))


@pytest.mark.parametrize(
    ("there", "why"),
    [
        (moved(installed(), 2, size_bytes=5 * GIB), "are not where the profile puts them"),
        (moved(installed(), 1, size_bytes=GIB), "are not where the profile puts them"),
        (moved(installed(), 2, filesystem="xfs"), "holds xfs home, and profile vm keeps ext4 home"),
        (moved(moved(installed(), 2, label=""), 1, label="home"), "/dev/sda3 holds ext4 "),
        (replace(installed(), table="dos"), "are not where the profile puts them"),
        (replace(BLANK, table=""), "nobody knows what is on /dev/sda"),
    ],
)
def test_what_is_there_and_does_not_fit_is_refused(there: Disk, why: str) -> None:
    with pytest.raises(Refused, match=why):
        planned(HOME, there)


def test_a_disk_of_something_else_is_installed_for_the_first_time() -> None:
    other = replace(BLANK, table="gpt", partitions=(DiskPartition("/dev/sda1", MIB, GIB, "ntfs", "C"),))
    assert "mkfs /dev/sda3 ext4 home new" in lines(planned(HOME, other))


# Refused


def test_a_kernel_inside_of_nothing_a_loader_reads_is_refused() -> None:
    with pytest.raises(Refused, match="is made of nothing, which is not there"):
        planned(replace(HOME, raids=(Raid("r", 1, ("nothing", "root")),)), BLANK)


@pytest.mark.parametrize(
    ("layout", "why"),
    [
        (replace(HOME, raids=(Raid("r", 1, ("root", "home")),)), "root of profile vm has a file system"),
        (replace(HOME, raids=(Raid("r", 5, ("root", "home")),)), "has a file system|needs 3 members"),
        (replace(HOME, table=Table.MBR, partitions=HOME.partitions + tuple(
            Partition(f"p{n}", MIB) for n in range(3))), "6 partitions in an MBR, expected at most 4"),
        (DiskLayout((BIOS_BOOT, Partition("a", GIB), Partition("root", None, "ext4", "/")),
            groups=(Group("vg", ("a",), (Volume("x", 2 * GIB, "ext4", "/x"),)),)), "its volumes need more"),
        (DiskLayout((BIOS_BOOT, Partition("root", None, "xfs", "/", keep=True))), "is kept, expected"),
        (DiskLayout((BIOS_BOOT, Partition("t", 64 * MIB, "xfs", "/t"), Partition("root", None, "ext4", "/"))),
            "xfs needs 300"),
        (DiskLayout((BIOS_BOOT, Partition("root", None, "ext4", "/", subvolumes=(Subvolume("@", "/x"),)))),
            "has subvolumes, expected btrfs"),
        (DiskLayout((BIOS_BOOT, Partition("root", None, "ext4", "/", options="a b"))), "cannot be mounted"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_is_refused(layout: DiskLayout, why: str) -> None:
    with pytest.raises(Refused, match=why):
        planned(layout, BLANK)


# Whatever the profile and the disks


names = ["a", "b", "c", "d"]
kinds = st.sampled_from(["", "", "ext4", "xfs", "btrfs", "swap"])


def part(name: str, size: int, kind: str, keep: bool) -> Partition:
    is_mounted = kind not in ("", "swap")
    return Partition(name, size, kind, f"/{name}" if is_mounted else "", keep=keep and is_mounted)


parts = st.builds(part, st.sampled_from(names), st.integers(1, 3 * GIB), kinds, st.booleans())
roles = st.lists(parts, max_size=3, unique_by=lambda part: part.name).map(tuple)
disks = st.lists(
    st.builds(
        Disk,
        st.sampled_from(["/dev/sda", "/dev/sdb", "/dev/sdaa", "/dev/nvme0n1"]),
        st.integers(GIB, 12 * GIB),
        serial=st.sampled_from(["S", "T", "U"]),
        table=st.sampled_from(["none", "gpt", ""]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda disk: disk.path,
)


@st.composite
def layouts(draw: st.DrawFn) -> DiskLayout:
    other = tuple(
        replace(part, name=f"o{part.name}", mount=part.mount and f"/o{part.name}") for part in draw(roles)
    )
    table = draw(st.sampled_from(Table))
    first = (Partition("root", 400 * MIB, "ext4", "/"), *draw(roles))
    free = [part.name for part in (*first, *other) if not part.filesystem]
    raids = (Raid("r", draw(st.sampled_from([0, 1])), tuple(free[:2]), "1.2"),) if len(free) > 1 else ()
    rest = ["r"] if raids else free[:1]
    volumes = (Volume("v", draw(st.integers(1, 2 * GIB)), "ext4", "/v"), Volume("w", None, "xfs", "/w"))
    groups = (Group("vg", tuple(rest), volumes),) if rest and table is Table.MBR else ()
    return DiskLayout(
        first, role="one", serial="S", table=table, raids=raids, groups=groups,
        others=(DiskRole(other, role="two", serial="T"),),
    )  # fmt: skip


@settings(max_examples=300)
@given(layouts(), disks)
def test_no_plan_ever_names_what_is_not_chosen_and_everything_fits(
    layout: DiskLayout, found: Sequence[Disk]
) -> None:
    try:
        plan = planned(layout, *found)
        again = contents_after(Facts("52:54:00:77:00:01", Firmware.BIOS, disks=tuple(found)), plan)
        second = planned(layout, *again.disks)
    except Refused:
        return
    chosen = [one.disk for one in plan.disks]
    assert [disk.serial for disk in chosen] == ["S", "T"]
    mine = {piece.device for piece in plan.slices} | {disk.path for disk in chosen}
    mine |= {made.device for made in plan.made}
    for line in lines(plan):
        assert {word for word in line.split() if word.startswith("/dev/")} <= mine
    for one in plan.disks:
        assert all(piece.end_bytes + MIB <= one.disk.size_bytes for piece in one.slices)
    for made in plan.made:
        sizes = {piece.device: piece.size_bytes for piece in plan.slices}
        sizes |= {other.device: other.size_bytes for other in plan.made}
        match made.what:
            case Raid(level=level):
                held = [sizes[device] - OF_RAID for device in made.of]
                assert 0 <= made.size_bytes <= max(0, min(held) if level else sum(held))
            case Group():
                assert made.size_bytes <= sum(max(0, sizes[device] - OF_GROUP) for device in made.of)
                assert made.size_bytes == sum(
                    one.size_bytes for one in plan.made if isinstance(one.what, Volume)
                )
                assert made.size_bytes % EXTENT == 0
    kept = {piece.device for piece in second.slices if piece.partition.keep}
    for line in lines(second):
        if kept & set(line.split()):
            assert line.split()[0] in ("keep", "mount")


# Read


def test_the_full_form_is_read_and_its_mistakes_are_named() -> None:
    complaints: list[str] = []
    text = """
    [[disks]]
    role = "one"
    table = "bsd"
    [[disks.partition]]
    name = "root"
    size = "much"
    filesystem = "zfs"
    mount = "/"
    [[disks]]
    role = "one"
    [[disks.partition]]
    name = "root"
    size = "1 GiB"
    [[raid]]
    name = "r"
    level = 6
    members = []
    metadata = "2"
    """
    read_disks(Path("f"), tomllib.loads(text), complaints)
    assert complaints == [
        'f: disks[1].partition[1].size: expected a size such as "512 MiB" or "rest", got \'much\'',
        "f: disks[1].partition[1].filesystem: expected ext4, xfs, btrfs, vfat, swap or nothing, got 'zfs'",
        "f: disks[1].table: expected gpt or mbr, got 'bsd'",
        "f: raid[1].level: expected one of 0, 1, 5, 10, got 6",
        "f: raid[1].metadata: expected one of 1.2, 1.0, 0.90, got '2'",
        "f: disks: root is there twice",
        "f: disks: the role one is there twice",
    ]
