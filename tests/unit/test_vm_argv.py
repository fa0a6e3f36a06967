"""What QEMU is told about a machine, and when KVM is used."""

import dataclasses
from pathlib import Path

import pytest

from appliance.boards import UEFI_ARM64, UEFI_IA32, UEFI_SECURE, Board, usual_board
from appliance.kvm import accelerator, choose_accel
from appliance.model import Firmware
from appliance.vm import Accel, DirectBoot, DiskInterface, Slot, Vm, VmDisk, VmMedium, argv, make_disk

SOCKETS = Path("/run/vm")
UEFI = Vm(
    name="alpha",
    directory=Path("/state/alpha"),
    firmware=Firmware.UEFI,
    mac="52:54:00:77:00:01",
    tap="tap0",
    disks=(VmDisk(Path("/state/alpha/disk.qcow2"), 4 << 30, serial="D-1"),),
    vendor="Acme, Inc.",
    product="Rack 1",
    serial="S-1",
    uuid="11111111-2222-3333-4444-555555555555",
)
BIOS = dataclasses.replace(UEFI, name="beta", firmware=Firmware.BIOS)


def words(vm: Vm, option: str) -> list[str]:
    """The values of one option."""
    line = argv(vm, Accel.TCG, SOCKETS)
    return [line[place + 1] for place, word in enumerate(line) if word == option]


def test_a_uefi_machine_uses_the_firmwares_own_pxe_client() -> None:
    (network,) = (value for value in words(UEFI, "-device") if value.startswith("virtio-net-pci"))
    assert network == "virtio-net-pci,netdev=net0,mac=52:54:00:77:00:01,romfile=,bootindex=1"


def test_a_bios_machine_keeps_the_ipxe_option_rom() -> None:
    (network,) = (value for value in words(BIOS, "-device") if value.startswith("virtio-net-pci"))
    assert network == "virtio-net-pci,netdev=net0,mac=52:54:00:77:00:01,bootindex=1"


def test_another_network_card_and_a_scsi_controller_are_what_the_machine_has() -> None:
    disks = tuple(VmDisk(Path(f"/state/{n}.raw"), 1, f"S{n}", DiskInterface.SCSI) for n in range(2))
    devices = words(dataclasses.replace(UEFI, nic="e1000e", rom=True, disks=disks), "-device")
    assert "e1000e,netdev=net0,mac=52:54:00:77:00:01,bootindex=1" in devices
    assert "lsi53c895a,id=lsi0" in devices
    assert "scsi-hd,bus=lsi0.0,scsi-id=1,serial=S1,drive=disk1,bootindex=3" in devices


def test_a_uefi_machine_has_its_own_copy_of_the_variables() -> None:
    code, variables, _disk = words(UEFI, "-drive")
    assert code == "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"
    assert variables == "if=pflash,unit=1,format=raw,file=/state/alpha/vars.fd"
    assert words(UEFI, "-machine") == ["q35"]


@pytest.mark.parametrize("wanted", [True, False])
def test_the_option_rom_can_be_asked_for_or_left_out(wanted: bool) -> None:
    for vm in (UEFI, BIOS):
        devices = words(dataclasses.replace(vm, rom=wanted), "-device")
        assert any("romfile=" in device for device in devices) is not wanted


@pytest.mark.parametrize("board", [UEFI_IA32, UEFI_SECURE])
def test_firmware_that_locks_its_flash_needs_smm(board: Board) -> None:
    vm = dataclasses.replace(UEFI, board=board)
    code, variables, _disk = words(vm, "-drive")
    assert words(vm, "-machine") == ["q35,smm=on"]
    assert board.flash is not None and f"file={board.flash.code}" in code
    assert variables == "if=pflash,unit=1,format=raw,file=/state/alpha/vars.fd"
    assert "driver=cfi.pflash01,property=secure,value=on" in words(vm, "-global")
    assert not words(UEFI, "-global")


def test_another_processor_has_its_own_qemu_and_never_kvm() -> None:
    vm = dataclasses.replace(UEFI, board=UEFI_ARM64)
    line = argv(vm, Accel.KVM, SOCKETS)
    assert line[0] == "qemu-system-aarch64"
    assert words(vm, "-cpu") == ["cortex-a57"]
    assert line[line.index("-accel") + 1] == Accel.TCG.value
    assert "-vga" not in line
    assert argv(UEFI, Accel.KVM, SOCKETS)[0] == usual_board(Firmware.UEFI).qemu == "qemu-system-x86_64"


def test_a_bios_machine_has_no_flash_and_no_uefi_settings() -> None:
    assert len(words(BIOS, "-drive")) == 1
    assert words(BIOS, "-fw_cfg") == []
    assert words(BIOS, "-machine") == ["pc"]


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "left_out"),
    [(True, False, ["IPv6"]), (False, False, ["IPv4", "IPv6"]), (True, True, [])],
)
def test_pxe_over_an_address_family_is_left_out_unless_asked_for(
    ipv4: bool, ipv6: bool, left_out: list[str]
) -> None:
    vm = dataclasses.replace(UEFI, ipv4_pxe=ipv4, ipv6_pxe=ipv6)
    expected = [f"name=opt/org.tianocore/{family}PXESupport,string=n" for family in left_out]
    assert words(vm, "-fw_cfg") == expected


def test_the_disk_comes_after_the_network() -> None:
    assert "virtio-blk-pci,serial=D-1,drive=disk0,bootindex=2" in words(UEFI, "-device")


def test_the_network_can_come_after_all_disks() -> None:
    two = (*UEFI.disks, VmDisk(Path("/b.raw"), 1))
    devices = words(dataclasses.replace(UEFI, disks=two, network_first=False), "-device")
    order = [device.rsplit("bootindex=", 1)[1] for device in devices if "bootindex" in device]
    assert [device.split(",")[0] for device in devices if "bootindex" in device] == [
        "virtio-net-pci",
        "virtio-blk-pci",
        "virtio-blk-pci",
    ]
    assert order == ["4", "2", "3"]


@pytest.mark.parametrize(
    ("interface", "device", "controller"),
    [
        (DiskInterface.IDE, "ide-hd,bus=ide.0,serial=X", ""),
        (DiskInterface.AHCI, "ide-hd,bus=ahci0.0,serial=X", "ich9-ahci,id=ahci0"),
        (DiskInterface.NVME, "nvme,serial=X", ""),
        (DiskInterface.USB, "usb-storage,bus=xhci0.0,removable=on,serial=X", "qemu-xhci,id=xhci0"),
    ],
)
def test_each_disk_interface_has_its_device(interface: DiskInterface, device: str, controller: str) -> None:
    disk = VmDisk(Path("/d.raw"), 1, serial="X", interface=interface)
    devices = words(dataclasses.replace(BIOS, disks=(disk,)), "-device")
    assert f"{device},drive=disk0,bootindex=2" in devices
    assert not controller or controller in devices


def test_a_machine_of_its_time_has_the_network_card_of_its_time() -> None:
    old = dataclasses.replace(BIOS, nic="rtl8139")
    assert "rtl8139,netdev=net0,mac=52:54:00:77:00:01,bootindex=1" in words(old, "-device")


ISO = Path("/a,b.iso")


@pytest.mark.parametrize("board", [None, UEFI_IA32])
def test_a_cd_is_in_the_drive_of_the_machines_own_bus(board: Board | None) -> None:
    vm = dataclasses.replace(UEFI, board=board, medium=VmMedium(ISO))
    assert "ide-cd,bus=ide.0,id=medium-drive,drive=medium,bootindex=0" in words(vm, "-device")
    assert words(vm, "-drive")[-1] == ("if=none,id=medium,format=raw,media=cdrom,readonly=on,file=/a,,b.iso")


def test_a_machine_without_ide_has_its_cd_behind_scsi() -> None:
    devices = words(dataclasses.replace(UEFI, board=UEFI_ARM64, medium=VmMedium(ISO)), "-device")
    assert devices.index("virtio-scsi-pci,id=scsi0") < devices.index(
        "scsi-cd,bus=scsi0.0,id=medium-drive,drive=medium,bootindex=0"
    )


@pytest.mark.parametrize(("writable", "access"), [(False, "snapshot=on"), (True, "cache=unsafe")])
def test_what_a_guest_writes_to_a_usb_stick_is_kept_only_when_wanted(writable: bool, access: str) -> None:
    vm = dataclasses.replace(BIOS, medium=VmMedium(ISO, Slot.USB, writable=writable))
    assert f"if=none,id=medium,format=raw,{access},file=/a,,b.iso" in words(vm, "-drive")
    device = "usb-storage,bus=xhci0.0,removable=on,id=medium-drive,drive=medium,bootindex=0"
    assert device in words(vm, "-device")


def test_a_usb_stick_and_usb_disks_share_one_controller() -> None:
    disk = VmDisk(Path("/d.raw"), 1, interface=DiskInterface.USB)
    devices = words(dataclasses.replace(BIOS, disks=(disk,), medium=VmMedium(ISO, Slot.USB)), "-device")
    assert devices.count("qemu-xhci,id=xhci0") == 1


@pytest.mark.parametrize("network_first", [True, False])
def test_the_medium_can_be_asked_after_everything_else(network_first: bool) -> None:
    vm = dataclasses.replace(UEFI, medium=VmMedium(ISO), medium_first=False, network_first=network_first)
    order = [int(one.rsplit("bootindex=", 1)[1]) for one in words(vm, "-device") if "bootindex" in one]
    assert len(order) == len(set(order)) == 3
    assert order[-1] == max(order)


def test_a_disk_is_raw_unless_its_file_is_named_qcow2() -> None:
    vm = dataclasses.replace(BIOS, disks=(*BIOS.disks, VmDisk(Path("/b.raw"), 1)))
    formats = [drive.split("format=")[1].split(",")[0] for drive in words(vm, "-drive")]
    assert formats == ["qcow2", "raw"]
    assert all("cache=unsafe" in drive for drive in words(vm, "-drive"))


def test_what_a_guest_writes_is_taken_down_behind_a_volatile_cache() -> None:
    vm = dataclasses.replace(BIOS, disks=(VmDisk(Path("/a.raw"), 1, write_log=Path("/a,b.log")),))
    (drive,) = words(vm, "-drive")
    assert "driver=blklogwrites,file.driver=raw,file.file.driver=file,file.file.filename=/a.raw" in drive
    assert drive.endswith("log.file.filename=/a,,b.log,cache=writeback")


def test_a_kernel_that_is_handed_over_needs_no_initramfs() -> None:
    vm = dataclasses.replace(BIOS, direct=DirectBoot(Path("/k"), None))
    assert words(vm, "-kernel") == ["/k"]
    assert words(vm, "-initrd") == []


def test_a_comma_in_a_name_does_not_end_the_option() -> None:
    assert words(UEFI, "-smbios") == ["type=1,manufacturer=Acme,, Inc.,product=Rack 1,serial=S-1"]
    vm = dataclasses.replace(BIOS, disks=(VmDisk(Path("/a,b.raw"), 1),))
    assert words(vm, "-drive")[0].endswith("file=/a,,b.raw")


def test_the_identity_is_left_to_qemu_when_not_given() -> None:
    vm = dataclasses.replace(BIOS, vendor="", product="", serial="", uuid="")
    assert words(vm, "-smbios") == words(vm, "-uuid") == []
    assert words(UEFI, "-uuid") == [UEFI.uuid]


def test_a_machine_without_a_tap_has_no_network_card() -> None:
    vm = dataclasses.replace(BIOS, tap="", mac="")
    assert words(vm, "-netdev") == []
    assert not any("net" in device for device in words(vm, "-device"))


def test_the_console_waits_for_its_reader_and_carries_the_firmwares_text() -> None:
    line = argv(BIOS, Accel.TCG, SOCKETS)
    assert "-nographic" in line
    assert "socket,id=console,path=/run/vm/console,server=on,wait=on" in line


def test_a_reboot_goes_through_the_firmware_again() -> None:
    assert "-no-reboot" not in argv(UEFI, Accel.TCG, SOCKETS)


def test_a_direct_boot_hands_over_kernel_and_arguments() -> None:
    vm = dataclasses.replace(BIOS, direct=DirectBoot(Path("/k"), Path("/i"), "console=ttyS0 quiet"))
    assert argv(vm, Accel.KVM, SOCKETS)[-6:] == [
        "-kernel",
        "/k",
        "-initrd",
        "/i",
        "-append",
        "console=ttyS0 quiet",
    ]


@pytest.mark.parametrize(
    ("has_device", "proven", "chosen"),
    [
        (False, None, Accel.TCG),
        (False, True, Accel.TCG),
        (True, None, None),
        (True, False, Accel.TCG),
        (True, True, Accel.KVM),
    ],
)
def test_kvm_is_chosen_only_when_a_boot_proved_it(
    has_device: bool, proven: bool | None, chosen: Accel | None
) -> None:
    assert choose_accel(has_device=has_device, proven=proven) is chosen


def test_without_the_device_software_emulation_is_used_at_once(tmp_path: Path) -> None:
    assert accelerator(None, cache=tmp_path / "accel", device=tmp_path / "no-kvm") is Accel.TCG


def test_a_device_nobody_could_try_is_not_used(tmp_path: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    assert accelerator(None, cache=tmp_path / "accel", device=device) is Accel.TCG


def test_the_answer_is_kept_until_the_host_boots_again(tmp_path: Path) -> None:
    device, cache = tmp_path / "kvm", tmp_path / "accel"
    device.touch()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cache.write_text(f"{boot} kvm\n")
    assert accelerator(None, cache=cache, device=device) is Accel.KVM
    cache.write_text("another-boot kvm\n")
    assert accelerator(None, cache=cache, device=device) is Accel.TCG


@pytest.mark.parametrize("name", ["blank.raw", "blank.qcow2"])
def test_a_new_disk_is_blank_and_takes_no_room(name: str, tmp_path: Path) -> None:
    disk = VmDisk(tmp_path / "machine" / name, 4 << 30)
    disk.path.parent.mkdir()
    disk.path.write_bytes(b"\x55\xaa" * 300_000)
    make_disk(disk)
    assert disk.path.stat().st_blocks * 512 < 400_000
    if disk.format == "raw":
        assert disk.path.stat().st_size == 4 << 30
