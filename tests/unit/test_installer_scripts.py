"""The installer's shell functions under a real busybox, with a real gpgv and a real HTTP server."""

import os
import threading
import time
from pathlib import Path

import pytest

from appliance.facts import parse_facts
from appliance.model import NO_TABLE, PC_FIRMWARE, Disk, DiskPartition, Facts, Firmware, PciDevice
from appliance.run import run
from appliance.wiping import render_wipe
from tests.installer_box import CODE, MIB, OVERLAY, Box, Server, lay, plan_text
from tests.loop_devices import blank, loop_device

PARTS = (
    "console", "dialogue", "machine", "network", "facts", "report", "memory", "history", "release", "room",
    "plan", "medium", "inspection", "one_machine", "offline", "online", "target", "assemble", "wipe",
    "settings", "packages", "boot", "secure", "lending", "main",
)  # fmt: skip


# The text of the scripts


def test_every_script_is_clean_for_shellcheck() -> None:
    scripts = [OVERLAY / "init", OVERLAY / "sbin/retry", OVERLAY / "etc/udhcpc.script", CODE / "step"]
    run(["shellcheck", "-s", "sh", *scripts, *sorted(CODE.glob("*.sh"))])


def test_the_parts_together_use_no_variable_that_none_of_them_sets(tmp_path: Path) -> None:
    whole = tmp_path / "whole.sh"
    init = (OVERLAY / "init").read_text()
    bodies = [(CODE / f"{part}.sh").read_text().replace("# shellcheck shell=sh\n", "") for part in PARTS]
    whole.write_text("\n".join(["code=/x", *bodies, init.partition("parts.sh\n")[2]]))
    run(["shellcheck", "--norc", "-s", "sh", "-e", "SC2013", whole])


def test_the_list_of_parts_is_the_directory() -> None:
    assert sorted(PARTS) == sorted(p.stem for p in CODE.glob("*.sh") if p.stem != "parts")


# Plans


@pytest.mark.parametrize("firmware", PC_FIRMWARE)
def test_a_plan_the_server_renders_is_accepted(box: Box, firmware: Firmware) -> None:
    box.plan(plan_text(firmware=firmware))
    assert box.sh("check_plan").stdout == ""
    assert box.sh("plan_value kernel; plan_value disk").stdout == "console=ttyS0 quiet\n/dev/nvme0n1\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("plan 1", "plan 2", "plan line 1: expected plan 1, came plan 2"),
        ("sfdisk label: gpt", "disk /dev/nvme0n1", "names /dev/nvme0n1 a second time"),
        ("mount ", "disk /dev/vdb\nmount ", "names /dev/vdb when others are in use already"),
        ("mkfs /dev/nvme0n1p1", "mkfs /dev/nvme0n1p3 vfat X\nmkfs /dev/nvme0n1p1", "is used a second time"),
        ("sfdisk label: gpt", "unchanged /dev/sda", "cannot leave /dev/sda"),
        ("sfdisk label: gpt", "unchanged /dev/nvme0n1\nsfdisk x", "the table of /dev/nvme0n1 is to stay"),
        ("mkfs /dev/nvme0n1p3", "keep /dev/nvme0n1p3", "cannot keep /dev/nvme0n1p3"),
        ("mount /dev/nvme0n1p3 /", "mount /dev/nvme0n1p3 / $(reboot)", "cannot mount with $(reboot)"),
        ("mkfs /dev/nvme0n1p1", "mkfs /dev/sda1", "/dev/sda1 is not a partition of /dev/nvme0n1"),
        ("mkfs /dev/nvme0n1p1 vfat", "mkfs /dev/nvme0n1p1 zfs", "cannot make zfs"),
        ("mkfs /dev/nvme0n1p1", "mkfs /dev/nvme0n1p1/../../sda", "is not a partition"),
        ("mount /dev/nvme0n1p3 /", "mount /dev/sda3 /", "/dev/sda3 is not a partition"),
        ("/boot/efi", "/../efi", "cannot mount at /../efi"),
        ("/boot/efi", "/b$(reboot)", "cannot mount at /b$(reboot)"),
        ("unpack stage", "unpack ../../stage", "is not a release's file"),
        ("unpack stage", "run reboot", "does not know run"),
        ("loader uefi /dev/nvme0n1", "loader uefi /dev/sda", "expected loader bios|uefi /dev/nvme0n1"),
        ("hostname vm-1", "hostname vm 1", "expected one plain word after hostname"),
        ("finish\n", "", "the plan has no finish"),
        ("finish\n", "finish\nunpack stage\n", "comes after finish"),
        ("disk /dev/nvme0n1\n", "", "sfdisk before disk"),
        ("mount /dev/nvme0n1p3 /\n", "", "the first mount is not /"),
    ],
)
def test_a_plan_that_is_not_sound_is_refused_before_its_first_step(
    box: Box, old: str, new: str, message: str
) -> None:
    text = plan_text().replace(old, new, 1)
    assert text != plan_text()
    box.plan(text)
    assert message in box.sh("check_plan", ok=(1,)).stdout


WIPE = render_wipe([Disk("/dev/sda", 8 * MIB)], report="s3cret")


def test_the_servers_plan_that_wipes_is_understood(box: Box) -> None:
    box.plan(WIPE)
    assert box.sh("check_plan; is_wipe").stdout == ""
    box.plan(plan_text())
    box.sh("is_wipe", ok=(1,))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("wipe /dev/sda", "wipe /dev/sdb", "cannot wipe /dev/sdb, the disk is /dev/sda"),
        ("wipe /dev/sda", "wipe /dev/sda /dev/sdb", "cannot wipe"),
        ("disk /dev/sda\n", "", "the disk is not named"),
        ("disk /dev/sda\n", "disk /dev/sda\ndisk /dev/sdb\n", "cannot wipe /dev/sda, the disk is /dev/sdb"),
        ("wipe /dev/sda\n", "wipe /dev/sda\ndisk /dev/sdb\n", "not every disk is wiped"),
        ("wipe /dev/sda\n", "wipe /dev/sda\nmkfs /dev/sda1 ext4 x\n", "has mkfs, and wipes"),
        ("wipe /dev/sda\n", "sfdisk label: gpt\nwipe /dev/sda\n", "has sfdisk, and wipes"),
        ("report s3cret\n", "", "the plan has no report"),
        ("finish\n", "", "the plan has no finish"),
    ],
)
def test_a_plan_that_wipes_does_nothing_else_and_names_one_disk(
    box: Box, old: str, new: str, message: str
) -> None:
    box.plan(WIPE.replace(old, new, 1))
    assert message in box.sh("check_plan", ok=(1,)).stdout


def test_the_plans_disk_is_overwritten_to_its_last_sector_and_no_other_is_touched(
    box: Box, server: Server, tmp_path: Path
) -> None:
    """Real block devices, whose sizes are no whole MiB."""
    size = 3 * MIB + 5 * 512
    files = [tmp_path / "ours", tmp_path / "neighbour"]
    for file in files:
        file.write_bytes(b"secret" * (size // 6) + b"!" * (size % 6))
    with loop_device(files[0]) as ours, loop_device(files[1]):
        box.plan(render_wipe([Disk(str(ours), size)], report="s3cret"))
        inner = Box(box.path, box.server, {"tools": "/usr/sbin"})
        said = inner.sh("poweroff() { echo switched off $*; }; wipe_steps").stdout
    assert said.endswith("switched off -f\n")
    assert files[0].read_bytes() == bytes(size)
    assert files[1].read_bytes()[:6] == b"secret"
    ends = [body for path, body in server.posted if "status done" in body]
    assert [body.splitlines()[1] for body in ends] == ["stage wipe", "stage finish"]
    assert f"bytes {size}" in ends[0]


def test_a_disk_that_cannot_be_overwritten_is_not_said_to_be_wiped(
    box: Box, server: Server, tmp_path: Path
) -> None:
    file = tmp_path / "ours"
    file.write_bytes(b"x" * MIB)
    with loop_device(file, read_only=True) as ours:
        box.plan(render_wipe([Disk(str(ours), MIB)], report="s3cret"))
        box.sh("poweroff() { echo never; }; wipe_steps", ok=(1,))
    assert not [body for _, body in server.posted if "stage finish" in body]
    assert [body for _, body in server.posted if "stage wipe\nstatus failed" in body]


# Facts


def test_facts_are_in_the_form_the_server_reads(box: Box) -> None:
    lay(
        box.path / "sys",
        {
            "class/net/eth0/address": "52:54:00:77:00:01\n",
            "class/dmi/id/sys_vendor": "QEMU\n",
            "class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)  \n",
            "class/dmi/id/product_serial": "\n",
            "firmware/efi/x": "",
            "block/loop0/size": "100\n",
            "block/sr0/size": "100\n",
            "block/vda/size": "16777216\n",
            "block/vda/removable": "0\n",
            "block/vda/serial": "my disk",
            "block/nvme0n1/size": "8\n",
            "block/nvme0n1/device/model": "ACME  SSD   \n",
            "block/nvme0n1/device/serial": "S1\x07 \n",
            "block/sda/size": "0\n",
            "block/sdb/size": "2\n",
            "block/sdb/removable": "1\n",
            "block/sdb/device/vpd_pg80": "\x00\x00\x00\x03WD9",
        },
    )
    lay(box.path / "proc", {"meminfo": "MemTotal:  1000 kB\n", "cpuinfo": "model name\t: A CPU\n" * 2})
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    facts = parse_facts(inner.sh("nic=eth0; facts").stdout)
    assert facts == Facts(
        mac="52:54:00:77:00:01",
        firmware=Firmware.UEFI,
        memory_bytes=1024000,
        cpu="A CPU",
        arch=os.uname().machine,
        vendor="QEMU",
        product="Standard PC (Q35 + ICH9, 2009)",
        disks=(
            Disk("/dev/nvme0n1", 4096, "nvme", False, "S1", "ACME SSD"),
            Disk("/dev/sdb", 1024, "", True, "WD9"),
            Disk("/dev/vda", 8 << 30, "virtio", False, "my_disk"),
        ),
    )


FACTS = "boot_nic=52:54:00:77:00:01; facts"
XEON = """processor\t: 0
model name\t: Intel(R) Xeon(R) CPU  E5405
flags\t\t: fpu mmx {long} sse2 $(x) lm
processor\t: 1
model name\t: Intel(R) Xeon(R) CPU  E5405
flags\t\t: fpu
"""


def test_processor_board_and_pci_devices_are_in_the_facts_and_what_is_odd_in_them_is_not(box: Box) -> None:
    devices = {
        "0000:00:1f.2": ("0x8086", "0x2922", "0x010601", "0x103c", "0x281e"),
        "0000:02:01.0": ("0x1000", "0x0030", "0x010000", "0x0000", "0x0000"),
        "0000:02:01.1": ("0x1000", "0x0030", "0x010000", "0x0000", "0x0000"),
        "0000:03:00.0": ("0x14e4", "$(x)\x1b", "0x020000", "0x103c", "0x0001"),
        "0000:04:00.0": ("0x14e4", "0x1", "0x020000", "0x103c", "0x0001"),
    }
    names = ("vendor", "device", "class", "subsystem_vendor", "subsystem_device")
    tree = {f"bus/pci/devices/{at}/{name}": f"{value}\n" for at, values in devices.items()
            for name, value in zip(names, values, strict=True)}  # fmt: skip
    words = {"board_name": "X7DCL\n", "bios_version": "2.0a \x07\n", "product_sku": "\n"}
    words |= {"product_family": "Server\n"}
    secure = "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    lay(box.path / "sys", tree | {f"class/dmi/id/{name}": value for name, value in words.items()})
    lay(box.path / "sys", {secure: "\x06\x00\x00\x00\x01"})
    cpuinfo = XEON.format(long="x" * 41)
    lay(box.path / "proc", {"meminfo": "MemTotal:  1000 kB\n", "cpuinfo": cpuinfo})
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    facts = parse_facts(inner.sh(f"set -e; {FACTS}").stdout)
    assert (facts.cpu, facts.cpus, facts.arch) == ("Intel(R) Xeon(R) CPU E5405", 2, os.uname().machine)
    assert facts.cpu_flags == ("fpu", "lm", "mmx", "sse2", "x")
    assert (facts.firmware, facts.secure_boot) == (Firmware.UEFI, True)
    assert (facts.board, facts.bios_version, facts.sku, facts.family) == ("X7DCL", "2.0a", "", "Server")
    assert facts.pci == (
        PciDevice("1000:0030", "010000"),
        PciDevice("8086:2922", "010601", "103c:281e"),
    )
    assert len(parse_facts(inner.sh(f"most_devices=1; {FACTS}").stdout).pci) == 1


SPARC = """cpu\t\t: TI UltraSparc IIi (Sabre)
fpu\t\t: UltraSparc IIi integrated FPU
type\t\t: sun4u
ncpus probed\t: 1
ncpus active\t: 1
cpucaps\t\t: flush,stbar,swap,muldiv,v9,mul32,div32,v8plus,vis
"""


def test_a_sparc_says_who_made_it_from_its_device_tree(box: Box) -> None:
    tree = {"openprom/name": "openprom\x00", "name": "SUNW,Ultra-5_10\x00", "model": "SUNW,375-0066\x00"}
    tree |= {"banner-name": "Sun Ultra 5/10 UPA/PCI (UltraSPARC-IIi 440MHz)\x00"}
    lay(box.path / "proc/device-tree", tree)
    lay(box.path / "proc", {"meminfo": "MemTotal:  1000 kB\n", "cpuinfo": SPARC})
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    facts = parse_facts(inner.sh(f"set -e; {FACTS}").stdout)
    assert facts.firmware is Firmware.OPENFIRMWARE
    assert (facts.vendor, facts.product, facts.board) == ("SUNW", "Ultra-5_10", "SUNW,375-0066")
    assert facts.family == "Sun Ultra 5/10 UPA/PCI (UltraSPARC-IIi 440MHz)"
    assert (facts.cpu, facts.cpus) == ("TI UltraSparc IIi (Sabre)", 1)
    assert {"v9", "vis"} <= set(facts.cpu_flags)


def test_an_arm_that_has_no_name_says_its_numbers(box: Box) -> None:
    cpuinfo = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: 0xd07\n"
    lay(box.path / "proc", {"meminfo": "MemTotal:  1000 kB\n", "cpuinfo": cpuinfo})
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    facts = parse_facts(inner.sh(f"set -e; {FACTS}").stdout)
    assert (facts.cpu, facts.cpus, facts.cpu_flags) == ("ARM 0x41 0xd07", 1, ("asimd", "fp"))


SECTORS = 32768
TABLE = "label: gpt\nstart=2048, size=8192\nstart=20480, size=8192\n"


@pytest.fixture
def disks(box: Box) -> Box:
    """Four disks: sysfs is ours, what is on them is real (a table, a file system, nothing, no node)."""
    lay(box.path / "sys/block", {f"sd{letter}/size": f"{SECTORS}\n" for letter in "abcd"})
    for number, start in enumerate((2048, 20480), 1):
        place = {"partition": f"{number}\n", "start": f"{start}\n", "size": "8192\n"}
        lay(box.path / f"sys/block/sda/sda{number}", place)
        blank(box.path / f"sda{number}", 8192 * 512)
    for name in ("sda", "sdb", "sdc"):
        blank(box.path / name, SECTORS * 512)
    run(["/usr/sbin/sfdisk", "-q", box.path / "sda"], stdin=TABLE.encode())
    run(["/usr/sbin/mkfs.ext4", "-q", "-F", "-L", "a <b> $(x)", box.path / "sda1"])
    run(["/usr/sbin/mkswap", "-q", box.path / "sdb"])
    lay(box.path / "proc", {"meminfo": "MemTotal:  1000 kB\n", "cpuinfo": "model name\t: A CPU\n"})
    settings = {"proc": str(box.path / "proc"), "tools": "/usr/sbin"}
    return Box(box.path, box.server, settings)


def test_what_is_on_the_disks_is_in_the_facts_and_nothing_is_written(disks: Box) -> None:
    files = [disks.path / name for name in ("sda", "sda1", "sda2", "sdb", "sdc")]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    sda, sdb, sdc, sdd = parse_facts(disks.sh("set -e; " + FACTS).stdout).disks
    assert sda.table == "gpt"
    assert sda.partitions == (
        DiskPartition("/dev/sda1", MIB, 4 * MIB, "ext4", "a_<b>_$(x)"),
        DiskPartition("/dev/sda2", 10 * MIB, 4 * MIB),
    )
    assert (sdb.table, sdb.partitions) == (NO_TABLE, (DiskPartition("/dev/sdb", 0, 16 * MIB, "swap"),))
    assert (sdc.table, sdc.partitions) == (NO_TABLE, ())
    assert (sdd.table, sdd.partitions) == ("", ())
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before


def test_a_disk_with_more_partitions_than_are_told_is_not_told_in_part(disks: Box) -> None:
    sda, sdb, *_ = parse_facts(disks.sh(f"most_partitions=1; {FACTS}").stdout).disks
    assert (sda.table, sda.partitions) == ("", ())
    assert len(sdb.partitions) == 1


def test_without_blkid_nothing_is_said_of_the_disks_and_the_facts_are_whole(disks: Box) -> None:
    facts = parse_facts(disks.sh(f"set -e; tools=/nowhere; {FACTS}").stdout)
    assert [disk.table for disk in facts.disks] == [""] * 4


def test_the_first_report_has_what_the_disk_holds_after_the_installation(disks: Box) -> None:
    script = (
        "boot_nic=52:54:00:77:00:01; facts >$work/facts; $tools/mkswap -q -L new $devices/sda2; facts_now"
    )
    disks.plan("disk /dev/sda\n")
    sda, sdb, *_ = parse_facts(disks.sh(f"set -e; {script}").stdout).disks
    assert [one.label for one in sda.partitions] == ["a_<b>_$(x)", "new"]
    assert sdb.partitions[0].filesystem == "swap"


def test_this_machines_own_facts_are_read_by_the_server(box: Box) -> None:
    inner = Box(box.path, box.server, {"sys": "/sys", "proc": "/proc"})
    facts = parse_facts(inner.sh("boot_nic=52:54:00:77:00:01; facts").stdout)
    assert facts.memory_bytes > 100 * MIB
    assert facts.cpu and facts.cpus and facts.cpu_flags and facts.pci


RESCUE = "connect() { nic=eth0; }; keep_shells() { wait; }; read_arguments; rescue"


def test_a_rescue_shell_tells_the_server_of_itself_and_asks_for_nothing(box: Box, server: Server) -> None:
    server.answers["/hello"] = "rescue it starts as before after this\n"
    said = box.sh(f"echo distserver={server.url} distserver.token=ab12 >$cmdline; {RESCUE}").stdout
    [(path, body)] = server.posted
    assert path == "/hello" and "mac " in body and body.endswith("\nrescue ab12\n")
    assert "no answer" not in said


def test_a_rescue_shell_of_a_medium_has_nobody_to_tell(box: Box, server: Server) -> None:
    box.sh(f"echo distserver={server.url} >$cmdline; {RESCUE}")
    assert server.posted == []


def test_the_nic_that_booted_is_asked_first_and_is_the_machines_name(box: Box) -> None:
    nics = {"eth0": "52:54:00:00:00:01", "eth1": "52:54:00:00:00:0a"}
    lay(box.path / "sys/class/net", {f"{nic}/address": mac + "\n" for nic, mac in nics.items()})
    lay(box.path / "sys/class/net", {f"{nic}/device/x": "" for nic in nics})
    lay(box.path / "sys/class/net", {"lo/address": "00:00:00:00:00:00\n"})
    script = "echo BOOTIF=01-52-54-00-00-00-0A >$cmdline; read_arguments; list_nics; own_mac"
    assert box.sh(script).stdout.split() == ["eth1", "eth0", "52:54:00:00:00:0a"]


# Questions and events


def test_an_event_is_in_the_form_the_server_reads(box: Box, server: Server) -> None:
    box.sh("event stage done 'all is well' 1.5 4096")
    body = "report s3cret\nstage stage\nstatus done\nseconds 1.5\nbytes 4096\n\nall is well\n"
    assert server.posted == [("/event", body)]


def test_the_server_can_stop_an_installation(box: Box, server: Server) -> None:
    server.answers["/event"] = "stop the machine was disarmed\n"
    assert "disarmed" not in box.sh("event stage begin '' && echo went on", ok=(1,)).stdout
    assert "the server says stop: the machine was disarmed" in box.console


def test_a_question_waits_for_a_server_that_is_away(box: Box) -> None:
    with Server() as late:
        port = late.server_port
    late_box = Box(box.path, f"http://127.0.0.1:{port}")
    answered: list[str] = []
    script = "echo x >$work/facts; ask /hello $work/facts"
    asker = threading.Thread(target=lambda: answered.append(late_box.sh(script).stdout))
    asker.start()
    deadline = time.monotonic() + 30
    while "next try" not in box.console and time.monotonic() < deadline:
        asker.join(0.1)
    with Server(port) as back:
        server = threading.Thread(target=back.serve_forever, args=(0.05,))
        server.start()
        asker.join(30)
        back.shutdown()
        server.join()
    assert answered == ["wait 1 unknown\n"]


def test_a_failed_step_ends_at_its_first_failure_and_reports_its_last_lines(box: Box, server: Server) -> None:
    lay(box.path / "code", {p.name: p.read_text() for p in CODE.iterdir()})
    (box.path / "code/step").chmod(0o755)
    with (box.path / "code/main.sh").open("a") as part:
        part.write("work_hard() { seq 1 60; false; echo never; }\n")
    inner = Box(box.path, box.server, {"code": str(box.path / "code")})
    inner.sh("step stage work_hard || exit 7", ok=(7,))
    (_, begin), (_, failed) = server.posted
    assert "status begin" in begin
    assert "status failed" in failed
    assert failed.rstrip().splitlines()[-40:] == [str(number) for number in range(21, 61)]
    assert "never" not in failed


def test_a_refused_plan_is_shown_on_the_console(box: Box, server: Server) -> None:
    server.answers["/plan"] = "refused 2 disks match profile vm\n"
    box.sh("echo x >$work/facts; token=t; get_plan && exit 9; true")
    assert "refused: 2 disks match profile vm" in box.console
    assert server.posted == [("/plan", "token t\nx\n")]


def test_a_token_that_is_not_good_any_more_is_asked_for_again(box: Box, server: Server) -> None:
    server.answers["/hello"] = "install new\n"
    server.answers["/plan"] = ["again this token was used already\n", plan_text()]
    box.sh("echo x >$work/facts; token=old; wait_for_plan")
    assert "asking again: this token was used already" in box.console
    assert [body for path, body in server.posted if path == "/plan"] == ["token old\nx\n", "token new\nx\n"]


def test_a_plan_that_is_not_sound_is_reported(box: Box, server: Server) -> None:
    server.answers["/plan"] = plan_text().replace("mkfs /dev/nvme0n1p1", "mkfs /dev/sda1")
    box.sh("echo x >$work/facts; token=t; get_plan && exit 9; true")
    assert "status failed" in server.posted[1][1]
    assert "/dev/sda1 is not a partition of /dev/nvme0n1" in server.posted[1][1]


def test_waiting_asks_again_until_told_to_install(box: Box, server: Server) -> None:
    lay(box.path / "sys/class/net/eth0", {"address": "52:54:00:77:00:01\n"})
    script = "nic=eth0; facts >$work/facts; ask_for_token; echo got $token"
    told: list[str] = []
    asker = threading.Thread(target=lambda: told.append(box.sh(script).stdout))
    asker.start()
    deadline = time.monotonic() + 30
    while len(server.posted) < 2 and time.monotonic() < deadline:
        asker.join(0.05)
    server.answers["/hello"] = "install tok-1\n"
    asker.join(30)
    assert told == ["got tok-1\n"]
    assert "waiting 1 s: unknown" in box.console
