"""Which disk, which partitions, which steps: decided before anything is written."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.farm_model import Release
from appliance.install import (
    MIB,
    Plan,
    Refused,
    describe,
    fingerprint,
    fingerprint_in,
    partition_device,
    plan_install,
    render,
)
from appliance.install import planned as said_of_plan
from appliance.model import Disk, Facts, Firmware
from appliance.run import run
from appliance.site_model import DiskLayout, Partition, Profile, StageSource

GIB = 1024 * MIB
RELEASE = "20260101-0123456789ab"
SEALED = Release(RELEASE, "vm", 1.0, "gentoo:0a1b guru:2c3d", 3, 100)
PARTITIONS = (
    Partition("esp", 64 * MIB, "vfat", "/boot/efi", Firmware.UEFI),
    Partition("bios", 1 * MIB, "", "", Firmware.BIOS),
    Partition("swap", 512 * MIB, "swap"),
    Partition("root", None, "ext4", "/"),
)


def profile(*partitions: Partition, serial: str = "", transport: str = "") -> Profile:
    return Profile(
        name="vm",
        description="",
        arch="amd64",
        chost="x86_64-pc-linux-gnu",
        portage_profile="distserver:amd64",
        stage=StageSource("reference:build"),
        install_stage=StageSource("reference:install"),
        kernel_package="sys-kernel/reference",
        kernel_arguments="console=ttyS0 quiet",
        kernel_config="",
        portage={},
        world=(),
        disk=DiskLayout(partitions or PARTITIONS, 2 * GIB, transport=transport, serial=serial),
    )


def machine(*disks: Disk, firmware: Firmware = Firmware.UEFI) -> Facts:
    return Facts("52:54:00:77:00:01", firmware, disks=disks)


def planned(facts: Facts, wanted: Profile | None = None, hostname: str = "vm-1") -> Plan:
    return plan_install(facts, wanted or profile(), SEALED, hostname=hostname)


VDA = Disk("/dev/vda", 8 * GIB, "virtio")
VDB = Disk("/dev/vdb", 8 * GIB, "virtio", serial="B1")


def test_the_plan_text_of_a_uefi_machine() -> None:
    base = f"http://10.77.0.2/r/{RELEASE}"
    assert render(planned(machine(VDA)), report="s3cret", base=base, pool="http://10.77.0.2") == (
        "plan 1\n"
        "report s3cret\n"
        f"release {RELEASE}\n"
        f"base {base}\n"
        "pool http://10.77.0.2\n"
        "hostname vm-1\n"
        "disk /dev/vda\n"
        "sfdisk label: gpt\n"
        'sfdisk start=1MiB, size=64MiB, type=U, name="esp"\n'
        'sfdisk start=65MiB, size=512MiB, type=S, name="swap"\n'
        'sfdisk start=577MiB, size=7614MiB, type=L, name="root"\n'
        "mkfs /dev/vda1 vfat ESP\n"
        "mkfs /dev/vda2 swap swap\n"
        "mkfs /dev/vda3 ext4 root\n"
        "mount /dev/vda3 /\n"
        "mount /dev/vda1 /boot/efi\n"
        "unpack stage\n"
        "unpack portage.tar\n"
        "tree tree-gentoo.sqfs gentoo\n"
        "tree tree-guru.sqfs guru\n"
        "packages @system @world\n"
        "unpack client.tar\n"
        "kernel console=ttyS0 quiet\n"
        "loader uefi /dev/vda\n"
        "finish\n"
    )


def test_the_fingerprint_of_a_plan_is_what_is_done_and_not_the_way_it_came() -> None:
    plan = planned(machine(VDA))
    net = render(plan, report="s3cret", base=f"http://10.77.0.2/r/{RELEASE}", pool="http://10.77.0.2")
    medium = render(plan, report="offline", base=f"file:///run/medium/r/{RELEASE}", pool="file:///run/medium")
    assert net != medium
    assert fingerprint(net) == fingerprint(medium)
    other = [
        planned(machine(VDB)),
        planned(machine(VDA), hostname="vm-2"),
        planned(machine(VDA, firmware=Firmware.BIOS)),
        planned(machine(VDA), replace(profile(), kernel_arguments="quiet")),
    ]
    marks = {fingerprint(render(one, report="offline", base="b", pool="p")) for one in (plan, *other)}
    assert len(marks) == 5


def test_a_fingerprint_is_what_a_shell_gets_of_the_plan_without_these_lines() -> None:
    text = render(planned(machine(VDA)), report="r", base="b", pool="p")
    said = run(["sh", "-c", "grep -vE '^(report|base|pool) ' | sha256sum"], stdin=text.encode()).stdout
    assert fingerprint(text) == said.split()[0]


def test_a_fingerprint_is_found_in_what_the_timeline_says() -> None:
    mark = fingerprint("plan 1\n")
    assert fingerprint_in(said_of_plan(RELEASE, "uefi", mark)) == mark
    assert fingerprint_in(f"base http://10.77.0.2\nplan {mark}") == ""


def test_a_bios_machine_gets_a_bios_boot_partition_and_no_esp() -> None:
    plan = planned(machine(VDA, firmware=Firmware.BIOS))
    assert [(piece.partition.name, piece.type_code) for piece in plan.slices] == [
        ("bios", "21686148-6449-6E6F-744E-656564454649"),
        ("swap", "S"),
        ("root", "L"),
    ]
    text = render(plan, report="r", base="b", pool="p")
    assert "mkfs /dev/vda1 " not in text
    assert "loader bios /dev/vda\n" in text


def test_people_see_what_is_lost_and_what_will_be() -> None:
    assert describe(planned(machine(replace(VDA, model="Disk of QEMU")))) == [
        "vm-1 (52:54:00:77:00:01, uefi)",
        f"profile vm, release {RELEASE}",
        "before: /dev/vda 8.0 GiB virtio Disk of QEMU: everything on it is lost",
        "after: /dev/vda has a GPT with 3 partitions",
        "  /dev/vda1 64.0 MiB esp: vfat on /boot/efi",
        "  /dev/vda2 512.0 MiB swap: swap",
        "  /dev/vda3 7.4 GiB root: ext4 on /",
        "installed: stage, @system @world as binary packages, kernel, boot loader",
        "kernel arguments: console=ttyS0 quiet",
    ]


def test_two_matching_disks_are_refused_by_name_and_size() -> None:
    with pytest.raises(Refused) as caught:
        planned(machine(VDA, VDB))
    assert caught.value.message == (
        "2 disks match profile vm (/dev/vda 8.0 GiB, /dev/vdb 8.0 GiB), expected exactly 1"
    )
    assert caught.value.hint == "set [disk] serial, model or transport so that it names one of them"


def test_a_serial_pattern_chooses_between_two_disks() -> None:
    assert planned(machine(VDA, VDB), profile(serial="b*")).disks[0].disk == VDB


def test_no_matching_disk_is_refused_with_every_disks_reason() -> None:
    disks = (
        Disk("/dev/sda", 64 * GIB, "usb", removable=True),
        Disk("/dev/sdb", 1 * GIB, "sata", model="Old"),
        Disk("/dev/nvme0n1", 64 * GIB, "nvme"),
    )
    with pytest.raises(Refused) as caught:
        planned(machine(*disks), profile(transport="sata"))
    assert caught.value.message == (
        "no disk matches profile vm (/dev/sda 64.0 GiB is removable; "
        "/dev/sdb 1.0 GiB is smaller than 2.0 GiB; "
        "/dev/nvme0n1 64.0 GiB has transport nvme, wanted sata), expected exactly 1"
    )


def test_a_removable_disk_is_never_chosen_even_when_it_is_the_only_one() -> None:
    with pytest.raises(Refused, match="is removable"):
        planned(machine(replace(VDA, removable=True)))


def test_a_release_of_an_older_distserver_is_not_installed_by_plans_its_installer_does_not_know() -> None:
    with pytest.raises(Refused, match="is of an older DistServer") as refused:
        plan_install(machine(VDA), profile(), replace(SEALED, snapshot="0a1b"), hostname="web1")
    assert refused.value.hint == "build the profile again"


def test_a_machine_without_disks_is_refused() -> None:
    with pytest.raises(Refused, match="reported no disk"):
        planned(machine())


def test_partitions_that_do_not_fit_are_refused() -> None:
    root = Partition("root", 9 * GIB, "ext4", "/")
    with pytest.raises(Refused, match=r"/dev/vda holds 8\.0 GiB, the partitions of profile vm need 9\.1 GiB"):
        planned(machine(VDA), profile(PARTITIONS[0], root))


def test_a_rest_of_nothing_is_refused() -> None:
    swap = Partition("swap", 8 * GIB - 66 * MIB, "swap")
    with pytest.raises(Refused, match="need"):
        planned(machine(VDA), profile(PARTITIONS[0], swap, PARTITIONS[3]))


@pytest.mark.parametrize(
    ("firmware", "partitions", "message"),
    [
        (Firmware.UEFI, PARTITIONS[1:], "no EFI system partition"),
        (Firmware.BIOS, (PARTITIONS[0], *PARTITIONS[2:]), "no BIOS boot partition"),
        (Firmware.UEFI, PARTITIONS[:3], "no partition mounted at /"),
        (Firmware.UEFI, (*PARTITIONS, Partition("home", None, "ext4", "/home")), "more than one partition"),
        (Firmware.UEFI, (*PARTITIONS, Partition("two", 1, "ext4", "/")), "mount points twice"),
        (Firmware.UEFI, (*PARTITIONS, Partition("root", 1, "ext4", "/x")), "partition names twice"),
        (Firmware.UEFI, (*PARTITIONS, Partition("x", 1, "zfs", "/x")), "wants zfs, the installer makes ext4"),
        (Firmware.UEFI, (*PARTITIONS, Partition("x", 1, "ext4", "/a/../b")), "cannot be mounted at"),
        (Firmware.UEFI, (*PARTITIONS, Partition("x", 1, "swap", "/x")), "cannot be mounted at"),
        (Firmware.UEFI, (*PARTITIONS, Partition("x", 0, "swap")), "has no size"),
        (Firmware.UEFI, (*PARTITIONS, Partition('x", type=U', 1, "swap")), "is not valid"),
    ],
)
def test_a_layout_that_cannot_work_is_refused(
    firmware: Firmware, partitions: tuple[Partition, ...], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        planned(machine(VDA, firmware=firmware), profile(*partitions))


@pytest.mark.parametrize("hostname", ["", "-a", "a_b", "A", "x" * 64, "a\nfinish"])
def test_a_host_name_no_resolver_takes_is_refused(hostname: str) -> None:
    with pytest.raises(Refused, match="is not valid"):
        planned(machine(VDA), hostname=hostname)


def test_a_kernel_argument_cannot_add_a_line_to_the_plan() -> None:
    with pytest.raises(Refused, match="control character"):
        planned(machine(VDA), replace(profile(), kernel_arguments="quiet\ndisk /dev/vdb"))


def test_mounts_come_above_before_below_whatever_the_partition_order() -> None:
    layout = (Partition("home", GIB, "ext4", "/home/data"), *PARTITIONS, Partition("h", GIB, "ext4", "/home"))
    places = [one.place for one in planned(machine(VDA), profile(*layout)).mounted]
    assert places == ["/", "/home", "/boot/efi", "/home/data"]


@pytest.mark.parametrize(
    ("disk", "device"),
    [("/dev/sda", "/dev/sda2"), ("/dev/nvme0n1", "/dev/nvme0n1p2"), ("/dev/mmcblk0", "/dev/mmcblk0p2")],
)
def test_partition_devices_are_named_as_the_kernel_names_them(disk: str, device: str) -> None:
    assert partition_device(disk, 2) == device


def test_labels_are_cut_to_what_the_file_system_holds() -> None:
    esp = Partition("esp-of-this-machine", 64 * MIB, "vfat", "/boot/efi")
    plan = planned(machine(VDA), profile(esp, PARTITIONS[3]))
    assert plan.slices[0].label == "ESP-OF-THIS"


sizes = st.integers(1, 4 * GIB)


@given(
    st.integers(0, 16 * GIB),
    st.lists(sizes | st.none(), min_size=1, max_size=6),
    st.sampled_from(Firmware),
)
def test_partitions_never_overlap_and_never_leave_the_disk(
    disk_bytes: int, wanted: list[int | None], firmware: Firmware
) -> None:
    extra = [Partition(f"p{number}", size, "ext4", f"/p{number}") for number, size in enumerate(wanted)]
    layout = (*PARTITIONS[:2], Partition("root", 64 * MIB, "ext4", "/"), *extra)
    try:
        plan = planned(machine(Disk("/dev/vda", disk_bytes), firmware=firmware), profile(*layout))
    except Refused:
        return
    end = MIB
    for piece in plan.slices:
        assert piece.start_bytes >= end
        assert piece.start_bytes % MIB == piece.size_bytes % MIB == 0
        assert piece.size_bytes >= max(piece.partition.size_bytes or 0, MIB)
        end = piece.end_bytes
    assert end + MIB <= disk_bytes


disks = st.builds(
    Disk,
    path=st.from_regex(r"/dev/sd[a-h]", fullmatch=True),
    size_bytes=st.sampled_from([GIB, 4 * GIB]),
    transport=st.sampled_from(["sata", "usb"]),
    removable=st.booleans(),
)


@given(st.lists(disks, max_size=5, unique_by=lambda disk: disk.path))
def test_a_disk_is_chosen_only_when_it_is_the_only_one(found: list[Disk]) -> None:
    matching = [d for d in found if not d.removable and d.transport == "sata" and d.size_bytes >= 2 * GIB]
    try:
        chosen = planned(machine(*found), profile(transport="sata")).disks[0].disk
    except Refused:
        assert len(matching) != 1
    else:
        assert [chosen] == matching
