"""A new kernel is tried beside the old one: a good one stays, from any other the machine comes back."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.run import run
from distserver_client import disks, grubenv, kernel_files, kernels, menu, rebooting, trials
from distserver_client.errors import Problem
from distserver_client.kernel_files import Image
from distserver_client.loader import BLOCK, MENU, Grub
from distserver_client.menu import Entry, Menu
from distserver_client.paths import Places
from distserver_client.report import Phase
from distserver_client.trials import Record, Refusal, Standing, Start, Trial
from tests.kernel_machine import FIRST, INSTALLED, KernelMachine

KINDS = pytest.mark.parametrize("signed", [False, True], ids=["grub", "systemd-boot"])
WORDS = st.text("abcxyz=/.-_ \\\n$#", max_size=20)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), WORDS, max_size=6))
def test_what_is_written_to_the_environment_block_is_read_again(values: dict[str, str]) -> None:
    content = grubenv.render(values)
    assert len(content) == 1024
    assert grubenv.parse(content) == values


def test_grubs_own_editor_and_ours_understand_each_other_and_blocks_stay(tmp_path: Path) -> None:
    block = tmp_path / "grubenv"
    run(["grub-editenv", block, "create"])
    run(["grub-editenv", block, "set", "saved_entry=x y", "trial=old"])
    before = block.stat()
    grubenv.change(block, trial="0123", tries="2")
    assert run(["grub-editenv", block, "list"]).stdout == "saved_entry=x y\ntrial=0123\ntries=2\n"
    assert grubenv.read(block) == {"saved_entry": "x y", "trial": "0123", "tries": "2"}
    assert (block.stat().st_ino, block.stat().st_size) == (before.st_ino, 1024)
    with pytest.raises(Problem, match="holds 1024 bytes"):
        grubenv.change(block, trial="x" * 1000)
    assert grubenv.read(block)["trial"] == "0123"
    block.write_bytes(b"")
    grubenv.change(block, trial="")
    assert block.read_bytes() == grubenv.render({})


NAMES = st.from_regex(r"/(boot/)?[a-z]{1,6}-[0-9.]{1,5}", fullmatch=True)
IDS = st.from_regex(r"[0-9a-f]{12}", fullmatch=True)
ENTRIES = st.builds(Entry, IDS, st.just("Gentoo, Linux 6.1"), NAMES, st.one_of(st.just(""), NAMES))
HEADS = st.sampled_from(
    [(), ("if serial --unit=0; then", "  terminal_output serial", "fi"), ("insmod luks2",)]
)


@st.composite
def menus(draw: st.DrawFn) -> Menu:
    good, other = draw(ENTRIES), draw(st.one_of(st.none(), ENTRIES))
    seconds = draw(st.integers(1, 9999)) if other and draw(st.booleans()) else 0
    on_esp = bool(seconds) and draw(st.booleans())
    return Menu(draw(HEADS), draw(HEADS), "root=PARTUUID=1 rootwait ro", good, other, seconds, on_esp)


@given(menus())
def test_a_menu_is_read_as_it_was_written(made: Menu) -> None:
    assert menu.parse(menu.render(made)) == made


@settings(max_examples=20, deadline=None)
@given(menus())
def test_grub_accepts_the_syntax_of_every_menu(made: Menu) -> None:
    run(["grub-script-check"], stdin=menu.render(made).encode())


def test_the_installers_menu_keeps_its_consoles_and_arguments() -> None:
    text = "if serial --unit=0; then\n  terminal_input serial\nfi\n" + INSTALLED.format(above="/boot")
    found = menu.parse(text)
    assert found and menu.render(found) == text
    assert found.arguments == "root=PARTUUID=1-2 rootwait ro quiet"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "menuentry 'x' {\n chainloader +1\n}\n",
        'if true; then\n  set default="${saved_entry}"\nfi\nmenuentry "x" {\n  linux /vmlinuz ro\n}\n',
        'menuentry "x" {\n  linux /vmlinuz ro\n}\nsubmenu "more" {\n}\n',
    ],
)
def test_a_menu_that_somebody_else_writes_is_left_alone(tmp_path: Path, text: str) -> None:
    assert menu.parse(text) is None
    (tmp_path / "boot/grub").mkdir(parents=True)
    (tmp_path / MENU).write_text(text)
    assert kernels.find_loader(tmp_path) is None


def test_a_kernel_on_trial_does_not_wait_for_ever() -> None:
    plain = menu.trial_arguments("root=PARTUUID=1 rootwait ro panic=0", "", 900).split()
    assert "rootwait" not in plain and plain[-3:] == ["rootdelay=30", "panic=10", "distserver.trial=900"]
    assert "rd.emergency=reboot" in menu.trial_arguments("ro", "/initramfs.img", 900)


@KINDS
def test_a_good_kernel_becomes_the_machines_own(tmp_path: Path, signed: bool) -> None:
    machine = KernelMachine(tmp_path, signed).install()
    machine.update(2)
    assert machine.kernels.standing is Standing.PENDING and machine.kernels.is_pending
    assert machine.power_on() == b"kernel 2"
    assert machine.kernels.look() is Standing.RUNNING and machine.start.trial_seconds == 600
    assert not machine.kernels.is_approved() and not machine.kernels.is_pending
    machine.kernels.approve()
    assert machine.kernels.is_approved() and machine.kernels.record == Record()
    for _ in range(3):
        assert machine.power_on() == b"kernel 2"
        assert machine.kernels.look() is Standing.SETTLED and not machine.kernels.is_pending
    # The one before stays until the next one comes, and then goes.
    assert len(machine.loader.ids) == 2
    machine.update(3)
    assert machine.power_on() == b"kernel 3"
    machine.kernels.approve()
    copies = [path.read_bytes() for path in tmp_path.glob("boot/**/*") if path.is_file()]
    assert {one for one in copies if one.startswith(b"kernel")} == {b"kernel 2", b"kernel 3"}


@KINDS
@pytest.mark.parametrize("above", ["/boot", "", "/@/boot", "/@boot"])
def test_a_kernel_that_does_not_come_up_is_started_twice_and_given_up(
    tmp_path: Path, signed: bool, above: str
) -> None:
    machine = KernelMachine(tmp_path, signed, above).install()
    machine.update(2)
    started = [machine.power_on() for _ in range(3)]
    assert started == [b"kernel 2", b"kernel 2", FIRST]
    assert machine.kernels.look() is Standing.RETURNED
    refusal = machine.kernels.record.refusal
    assert refusal and refusal.why == "started 2 times, and the machine did not come up with it"
    assert not machine.kernels.is_pending and machine.loader.ids == (machine.start.kernel,)
    # Not again for this kernel, whatever release brings it; a person may, and another kernel is tried.
    machine.update(2)
    assert machine.power_on() == FIRST
    machine.update(2, again=True)
    assert machine.power_on() == b"kernel 2"
    machine.update(3)
    assert machine.power_on() == b"kernel 3"


@KINDS
def test_a_machine_that_reaches_no_server_goes_back_by_itself(tmp_path: Path, signed: bool) -> None:
    machine = KernelMachine(tmp_path, signed).install()
    machine.update(2)
    machine.power_on()
    at_once = replace(machine.kernels, start=replace(machine.start, trial_seconds=0.001))
    assert kernels.keep_watch(at_once) is False
    assert machine.kernels.standing is Standing.LEAVING
    assert machine.kernels.is_due("never", in_window=False)
    assert machine.power_on() == FIRST
    machine.kernels.look()
    assert machine.kernels.record.refusal and machine.kernels.record.refusal.silent
    # The kernel before reaches the server sooner than that: it was the new one's fault.
    machine.kernels.heard(machine.emerge(2))
    hasty = machine.kernels.record.refusal
    late = kernels.uptime() >= 600
    assert (hasty is None and late) or (hasty is not None and not hasty.silent and not late)


def test_the_watch_ends_when_the_kernel_is_approved(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    machine.update(2)
    machine.power_on()
    machine.kernels.approve()
    assert kernels.keep_watch(replace(machine.kernels, start=replace(machine.start, trial_seconds=0.001)))


def test_a_server_that_is_away_for_both_kernels_is_nobodys_fault(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    machine.update(2)
    for _ in range(trials.MOST_AGAIN + 1):
        assert machine.power_on() == b"kernel 2"
        machine.kernels.give_up("no report", silent=True)
        assert machine.power_on() == FIRST
        machine.kernels.look()
        replace(machine.kernels, trial_seconds=1.0).heard(machine.emerge(2))
    assert machine.kernels.record.refusal and machine.power_on() == FIRST


def test_where_grub_cannot_write_a_person_chooses_the_new_kernel(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path, writable=False).install()
    machine.update(2)
    assert machine.power_on() == FIRST
    assert machine.kernels.look() is Standing.PENDING
    assert not machine.kernels.is_due("now", in_window=True)
    said = trials.describe(machine.kernels.record, machine.kernels.standing)
    assert said.startswith("kernel 2 waits to be chosen in the boot menu: ") and said.endswith("is on RAID")
    chosen = machine.loader.ids[1]
    machine.start = Start(chosen, "boot by hand")
    assert machine.kernels.look() is Standing.RUNNING
    machine.kernels.approve()
    assert machine.power_on() == b"kernel 2"


def test_a_loader_that_does_not_count_tries_nothing_and_is_not_asked_again(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path, counts=False).install()
    machine.update(2)
    assert machine.power_on() == FIRST
    assert machine.kernels.look() is Standing.RETURNED
    assert machine.kernels.look() is Standing.PENDING
    assert not machine.kernels.is_due("now", in_window=True) and machine.kernels.is_pending
    said = trials.describe(machine.kernels.record, machine.kernels.standing)
    assert said == "kernel 2 waits to be chosen in the boot menu: the boot loader did not start it"
    machine.counts = True
    assert machine.power_on() == b"kernel 2"


def test_the_environment_block_is_on_the_esp_where_the_disk_is_raid(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    (tmp_path / "boot/efi/EFI").mkdir(parents=True)
    loader = Grub(tmp_path, obstacle=lambda place: "" if place.name == "efi" else "RAID")
    machine.kernels.hold()
    image = Image(tmp_path / "boot/vmlinuz-2")
    image.kernel.write_bytes(b"kernel 2")
    assert loader.arm(image, 600) == ""
    assert grubenv.read(tmp_path / "boot/efi/EFI/distserver/grubenv") == {"trial": image.id, "tries": "2"}
    assert not (tmp_path / BLOCK).exists()
    assert "search --no-floppy --file --set=envdev /EFI/distserver/grubenv" in (tmp_path / MENU).read_text()
    assert loader.left() == 2
    run(["grub-script-check", tmp_path / MENU])


def test_a_release_that_goes_back_takes_its_kernel_back(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    machine.update(2)
    machine.update(1)
    assert machine.kernels.record == Record() and not machine.kernels.is_pending
    assert machine.power_on() == FIRST


def test_a_signed_machine_starts_no_kernel_without_a_signature(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path, signed=True).install()
    release = machine.emerge(2)
    with pytest.raises(Problem, match="no signed kernel"):
        machine.kernels.install(replace(release, files={"kernel": release.files["kernel"]}))


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.lists(st.tuples(st.integers(2, 5), st.booleans()), min_size=1, max_size=6))
def test_whatever_kernels_come_a_bad_one_is_left_and_a_good_one_kept(
    signed: bool, updates: list[tuple[int, bool]]
) -> None:
    """Odd kernels work, even ones do not; between updates the machine is started as often as it takes."""
    with TemporaryDirectory() as place:
        machine = KernelMachine(Path(place), signed).install()
        good = FIRST
        for number, again in updates:
            machine.update(number, again=again)
            for _ in range(menu.MOST_TRIES + 1):
                runs = machine.power_on()
                works = int(runs.split()[1]) % 2 == 1
                assert works or machine.start.trial_seconds
                if works:
                    machine.kernels.look()
                    machine.kernels.approve()
            assert runs == (f"kernel {number}".encode() if number % 2 else good)
            good = runs


def test_modules_of_a_kernel_that_can_be_started_outlive_its_package(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    place = tmp_path / "lib/modules/1/kernel"
    place.mkdir(parents=True)
    (place / "net.ko").write_text("module")
    (place.parent / "build").symlink_to("/usr/src")
    machine.kernels.hold()
    (place / "net.ko").unlink()
    place.rmdir()
    (place.parent / "build").unlink()
    place.parent.rmdir()
    machine.kernels.install(machine.emerge(2))
    assert (place / "net.ko").read_text() == "module" and not (place.parent / "build").exists()
    machine.power_on()
    machine.kernels.approve()
    assert (place / "net.ko").exists()
    machine.update(3)
    machine.power_on()
    machine.kernels.approve()
    assert not place.parent.exists() and not list(Places(tmp_path).modules.glob("*/1"))


def test_modules_that_a_package_owns_are_its_own_affair(tmp_path: Path) -> None:
    shelf, packages = tmp_path / "shelf", tmp_path / "pkg"
    (shelf / "id/1").mkdir(parents=True)
    (shelf / "id/1/old.ko").touch()
    (tmp_path / "lib/modules/1").mkdir(parents=True)
    (packages / "sys-kernel/x-1").mkdir(parents=True)
    (packages / "sys-kernel/x-1/CONTENTS").write_text("obj /lib/modules/1/new.ko 0 0\n")
    assert kernel_files.restore_modules(tmp_path, shelf, packages) == []
    kernel_files.forget_modules(tmp_path, shelf, packages, [])
    assert (tmp_path / "lib/modules/1").is_dir() and not list(shelf.iterdir())


def test_a_kernel_tells_its_version_itself_or_by_its_name(tmp_path: Path) -> None:
    content = bytearray(4096)
    content[0x202:0x206] = b"HdrS"
    content[0x20E:0x210] = (0x400).to_bytes(2, "little")
    content[0x600:0x620] = b"6.1.9-x (portage@distserver) #1\0"
    (tmp_path / "vmlinuz-else").write_bytes(content)
    assert Image(tmp_path / "vmlinuz-else").version == "6.1.9-x"
    for name, version in (
        ("boot/vmlinuz-6.6", "6.6"),
        ("lib/modules/6.7/vmlinuz", "6.7"),
        ("usr/src/linux-6.8-gentoo/arch/x86/boot/bzImage", "6.8-gentoo"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        assert Image(path).version == version


TRIAL = Trial("0123456789ab", "6.2", "r", "boot 1")
REFUSAL = Refusal("0123456789ab", "6.2", "r", "no")


@pytest.mark.parametrize(
    ("record", "policy", "expected"),
    [
        (Record(), "now", Phase.CURRENT),
        (Record(TRIAL), "never", Phase.CURRENT),
        (Record(TRIAL), "window", Phase.UPDATING),
        (Record(replace(TRIAL, obstacle="RAID")), "now", Phase.CURRENT),
        (Record(refusal=REFUSAL), "never", Phase.FAILED),
    ],
)
def test_a_release_is_whole_with_its_kernel(record: Record, policy: str, expected: Phase) -> None:
    now = trials.standing(record, Start("", "boot 1"))
    assert trials.phase(Phase.CURRENT, policy, record, now) is expected
    assert trials.phase(Phase.FAILED, policy, record, now) is Phase.FAILED


@pytest.mark.parametrize(
    ("policy", "in_window", "due"),
    [("never", True, False), ("window", False, False), ("window", True, True), ("now", False, True)],
)
def test_the_machine_is_started_anew_by_its_policy(
    tmp_path: Path, policy: str, in_window: bool, due: bool
) -> None:
    machine = KernelMachine(tmp_path).install()
    assert not machine.kernels.is_due(policy, in_window=in_window)
    machine.update(2)
    assert machine.kernels.is_due(policy, in_window=in_window) is due


def test_how_the_machine_was_started_is_on_the_command_line() -> None:
    line = "BOOT_IMAGE=/x root=PARTUUID=1 distserver.kernel=0123 distserver.trial=900 quiet\n"
    assert trials.started(line, "id\n") == Start("0123", "id", 900.0)
    assert trials.started("quiet", "id") == Start("", "id", 0.0)


def test_a_machine_is_started_anew_by_its_own_init() -> None:
    assert rebooting.commands(systemd=True, init="systemd") == [["systemctl", "reboot"]]
    assert rebooting.commands(systemd=False, init="openrc-init")[0][0] == "openrc-shutdown"
    assert rebooting.commands(systemd=False, init="init") == [["reboot"], ["busybox", "reboot"]]


def test_what_is_remembered_of_kernels_is_plain_to_read(tmp_path: Path) -> None:
    machine = KernelMachine(tmp_path).install()
    machine.update(2)
    said = json.loads(Places(tmp_path).kernels.read_text())
    assert said["trial"]["version"] == "2" and said["refusal"] is None


MOUNTS = "29 1 8:3 / / rw,relatime shared:1 - ext4 /dev/sda3 rw\n30 29 0:40 / /srv rw - btrfs /dev/sdb rw\n"


def test_which_file_system_a_boot_loader_could_write() -> None:
    assert disks.kind_of(MOUNTS, "8:3") == "ext4"
    assert disks.kind_of(MOUNTS, "8:4") == ""
    assert "no single disk" in disks.obstacle(Path("/proc"))
