"""Machines with real firmware, switched on and off; a small kernel stands in for an installer."""

import sys
import time
from pathlib import Path

import pytest

from appliance.boards import MICROSOFT_KEYS, UEFI_ARM64, UEFI_IA32, UEFI_SECURE, Board, Flash
from appliance.console import ConsoleClosed, ConsoleTimeout, plain
from appliance.deadline import DeadlinePassed, wait_until
from appliance.errors import Problem
from appliance.kvm import ProbeImage, accelerator, kernel_boots
from appliance.model import PC_FIRMWARE, Firmware
from appliance.qmp import control
from appliance.run import running
from appliance.vm import Accel, DirectBoot, DiskInterface, Slot, Vm, VmDisk, VmMedium, make_disk
from appliance.vm_power import PoweredOn, power_on
from tests.small_linux import make_initramfs

MARKER = "the initramfs runs"
INIT = f"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
dmesg -n 1
echo "{MARKER}"
exec setsid cttyhack sh
"""


@pytest.fixture(scope="session")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """busybox and a script."""
    return make_initramfs(tmp_path_factory.mktemp("initramfs") / "root", INIT)


@pytest.fixture
def vm(request: pytest.FixtureRequest, tmp_path: Path, kernel: Path, initramfs: Path) -> Vm:
    return Vm(
        name="alpha",
        directory=tmp_path / "alpha",
        firmware=getattr(request, "param", Firmware.BIOS),
        memory_mb=512,
        disks=(VmDisk(tmp_path / "disk.qcow2", 1 << 30, serial="D-1", interface=DiskInterface.NVME),),
        vendor="Acme, Inc.",
        product="Rack 1",
        serial="S-1",
        uuid="11111111-2222-3333-4444-555555555555",
        direct=DirectBoot(kernel, initramfs),
    )


def wait_for_init(machine: PoweredOn) -> None:
    machine.console.wait_for(MARKER, seconds=120)
    machine.console.wait_for_shell(seconds=60)


@pytest.mark.parametrize("vm", PC_FIRMWARE, indirect=True, ids=lambda firmware: firmware.value)
def test_a_machine_boots_its_kernel_from_its_firmware_and_obeys(vm: Vm) -> None:
    make_disk(vm.disks[0])
    with power_on(vm) as machine:
        wait_for_init(machine)
        console = machine.console
        assert console.command("ls /sys/firmware/efi").status == (0 if vm.firmware is Firmware.UEFI else 1)
        identity = "cd /sys/class/dmi/id && cat sys_vendor product_name product_serial product_uuid"
        assert console.succeed(identity).splitlines() == ["Acme, Inc.", "Rack 1", "S-1", vm.uuid]
        facts = "cd /sys/block/nvme0n1 && cat size && tr -d ' ' <device/serial"
        assert console.succeed(facts).split() == [str((1 << 30) // 512), "D-1"]
        console.send_line("echo going; poweroff -f")
        machine.wait_for_exit(seconds=30)
        with pytest.raises(ConsoleClosed, match="going"):
            console.wait_for("anything more", seconds=10)
    seen = plain(vm.transcript.read_bytes())
    firmware, marker = (
        seen.index({"bios": "SeaBIOS (version", "uefi": "EFI stub"}[vm.firmware.value]),
        seen.index(MARKER),
    )
    assert firmware < seen.index("Linux version") < marker < seen.rindex("going")


def test_pulling_the_plug_ends_the_machine_and_keeps_what_it_said_and_wrote(vm: Vm) -> None:
    make_disk(vm.disks[0])
    with power_on(vm) as machine:
        wait_for_init(machine)
        machine.console.succeed("echo kept | dd of=/dev/nvme0n1 conv=fsync; seq 20000")
        machine.power_off()
        assert machine.process.poll() is not None
        machine.power_off()
    assert "\n20000\n" in plain(vm.transcript.read_bytes())
    with power_on(vm) as machine:
        wait_for_init(machine)
        assert machine.console.succeed("head -n 1 /dev/nvme0n1") == "kept\n"
    assert plain(vm.transcript.read_bytes()).count("SeaBIOS (version") == 2


def test_the_reset_button_and_a_reboot_go_through_the_firmware_again(vm: Vm) -> None:
    make_disk(vm.disks[0])
    with power_on(vm) as machine:
        wait_for_init(machine)
        machine.reset()
        machine.console.wait_for("SeaBIOS (version", seconds=30)
        wait_for_init(machine)
        machine.console.send_line("reboot -f")
        machine.console.wait_for("SeaBIOS (version", seconds=30)
        wait_for_init(machine)


def test_uefi_variables_are_kept_between_power_ons(vm: Vm) -> None:
    uefi = Vm("gamma", vm.directory, Firmware.UEFI, memory_mb=512, direct=vm.direct)
    with power_on(uefi) as machine:
        wait_for_init(machine)
    inode = uefi.variables.stat().st_ino
    with power_on(uefi) as machine:
        machine.console.wait_for(MARKER, seconds=120)
    assert uefi.variables.stat().st_ino == inode
    assert uefi.variables.read_bytes() != Path("/usr/share/OVMF/OVMF_VARS_4M.fd").read_bytes()


@pytest.mark.parametrize("board", [UEFI_IA32, UEFI_SECURE, UEFI_ARM64], ids=["ia32", "secure", "arm64"])
def test_each_board_starts_its_own_firmware(board: Board, tmp_path: Path) -> None:
    machine = Vm("delta", tmp_path / "delta", Firmware.UEFI, memory_mb=512, board=board)
    with power_on(machine) as on:
        on.console.wait_for("BdsDxe", seconds=120)


def test_variables_can_start_with_keys(tmp_path: Path) -> None:
    enrolled = Vm("kappa", tmp_path / "kappa", Firmware.UEFI, board=UEFI_SECURE, keys=MICROSOFT_KEYS)
    with power_on(enrolled) as on:
        on.power_off()
    assert b"Microsoft Windows Production PCA" in enrolled.variables.read_bytes()


def test_firmware_that_is_not_installed_is_named_with_its_package(tmp_path: Path) -> None:
    absent = Board("qemu-system-x86_64", "q35", "qemu64", Flash(tmp_path / "x", tmp_path / "y", "ovmf-x"))
    bare = Vm("alpha", tmp_path, Firmware.UEFI, board=absent)
    with pytest.raises(Problem, match=r"no UEFI firmware: .*/x is missing") as problem, power_on(bare):
        raise AssertionError("it has no firmware")
    assert "ovmf-x" in problem.value.hint


def test_a_machine_that_stays_on_is_reported_with_its_last_lines(vm: Vm) -> None:
    make_disk(vm.disks[0])
    with power_on(vm) as machine:
        wait_for_init(machine)
        with pytest.raises(DeadlinePassed, match=f"alpha switches itself off(.*\n)*.*{MARKER}"):
            machine.wait_for_exit(seconds=0.2)
        with pytest.raises(ConsoleTimeout, match=MARKER):
            machine.console.wait_for("login:", seconds=0.2)


def test_a_machine_qemu_does_not_take_says_why(vm: Vm) -> None:
    with pytest.raises(Problem, match=r"alpha cannot be switched on.*status 1") as problem, power_on(vm):
        raise AssertionError("it has no disk file")
    assert "disk.qcow2" in problem.value.hint


@pytest.mark.parametrize("board", [None, UEFI_ARM64], ids=["pc", "arm64"])
@pytest.mark.parametrize("slot", list(Slot), ids=lambda slot: slot.value)
def test_a_medium_is_in_the_machine_until_it_is_taken_out(
    board: Board | None, slot: Slot, tmp_path: Path
) -> None:
    image = tmp_path / "a, b.iso"
    image.write_bytes(bytes(1 << 20))
    firmware = Firmware.UEFI if board else Firmware.BIOS
    vm = Vm("delta", tmp_path, firmware, memory_mb=128, board=board, medium=VmMedium(image, slot))

    def media(machine: PoweredOn) -> list[str]:
        drives = control(machine.control, "query-block")
        return [one["device"] for one in drives if "inserted" in one and one["device"] == "medium"]

    with power_on(vm) as machine:
        assert media(machine) == ["medium"]
        machine.take_medium_out()
        wait_until(lambda: not media(machine) or None, seconds=10, what="the medium is out")


def test_a_machine_dies_with_the_process_that_switched_it_on(vm: Vm, tmp_path: Path) -> None:
    make_disk(vm.disks[0])
    out = tmp_path / "pid"
    program = (
        "import sys; from pathlib import Path; from appliance.model import Firmware\n"
        "from appliance.vm import Vm\nfrom appliance.vm_power import power_on\n"
        f"with power_on(Vm('orphan', Path({str(vm.directory)!r}), Firmware.BIOS)) as machine:\n"
        "    print(machine.process.pid, flush=True); machine.wait_for_exit(seconds=600)\n"
    )
    with running([sys.executable, "-c", program], output=out) as owner:
        pid = int(wait_until(lambda: out.read_text().strip() or None, seconds=30, what="the machine is on"))
        assert Path(f"/proc/{pid}").exists()
        owner.kill()
        wait_until(lambda: not _alive(pid) or None, seconds=10, what=f"the end of QEMU {pid}")


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_a_kernel_that_runs_is_told_from_one_that_does_not(kernel: Path, initramfs: Path) -> None:
    assert kernel_boots(ProbeImage(kernel, initramfs, MARKER), Accel.TCG, seconds=60)
    assert not kernel_boots(ProbeImage(initramfs, initramfs, MARKER), Accel.TCG, seconds=3)


def test_kvm_is_tried_and_the_answer_kept(kernel: Path, initramfs: Path, tmp_path: Path) -> None:
    image, cache = ProbeImage(kernel, initramfs, MARKER), tmp_path / "accel"
    device = tmp_path / "kvm"
    device.touch()
    chosen = accelerator(image, cache=cache, device=device)
    assert cache.read_text().split()[1] == chosen.name.lower()
    before = time.monotonic()
    assert accelerator(image, cache=cache, device=device) is chosen
    assert time.monotonic() - before < 1
