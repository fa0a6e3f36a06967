"""The installer's shell functions under a real busybox, with a real gpgv and a real HTTP server."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from appliance.facts import parse_facts
from appliance.farm_model import Release
from appliance.install import plan_install, render
from appliance.model import Disk, Facts, Firmware
from appliance.run import Finished, run
from appliance.site_model import DiskLayout, Partition, Profile, StageSource

OVERLAY = Path(__file__).resolve().parents[2] / "overlays" / "installer"
CODE = OVERLAY / "lib" / "installer"
RELEASE = "20260101-0123456789ab"
PARTS = (
    "console", "machine", "network", "facts", "report", "release", "plan", "target", "settings", "packages",
    "boot", "secure", "lending", "main",
)  # fmt: skip
MIB = 1024 * 1024


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "X-Waits" in self.headers and self.server.refusals:
            self.server.refusals -= 1
            self.send_response(503, "Come Again In 7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        self.server.asked.append((self.path, start))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def do_POST(self) -> None:
        self.server.posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        answers = self.server.answers[self.path]
        if isinstance(answers, list):  # one after the other
            answers = answers.pop(0)
        answer = answers.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass

    server: "Server"


class Server(ThreadingHTTPServer):
    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, str | list[str]] = {
            "/event": "ok\n",
            "/hello": "wait 1 unknown\n",
            "/plan": "refused no\n",
        }
        self.posted: list[tuple[str, str]] = []
        self.asked: list[tuple[str, int]] = []
        self.refusals = 0
        """How often a client that can wait is told to come again first."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@dataclass(frozen=True)
class Box:
    """A place in which functions of the installer run, and what they left there."""

    path: Path
    server: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    def sh(self, script: str, ok: tuple[int, ...] = (0,)) -> Finished:
        env = {
            "code": str(CODE),
            "work": str(self.path),
            "plan": str(self.path / "plan"),
            "target": str(self.path / "target"),
            "devices": str(self.path),
            "sys": str(self.path / "sys"),
            "net": str(self.path / "sys/class/net"),
            "cmdline": str(self.path / "cmdline"),
            "longest_wait": "1",
            "fetch_tries": "2",
            **self.settings,
        }
        (self.path / "cmdline").write_text(f"quiet distserver={self.server}/ console=ttyS0\n")
        lead = ". $code/parts.sh; read_arguments; open_consoles; "
        return run(["busybox", "sh", "-c", lead + script], env=env, ok=ok, timeout_seconds=60)

    def plan(self, text: str) -> None:
        (self.path / "plan").write_text(text)

    @property
    def console(self) -> str:
        return (self.path / "console").read_text()


@pytest.fixture
def box(tmp_path: Path, server: Server) -> Box:
    (tmp_path / "console").touch()
    (tmp_path / "secret").write_text("s3cret\n")
    return Box(tmp_path, server.url)


def plan_text(base: str = "http://10.77.0.2/r/x", firmware: Firmware = Firmware.UEFI) -> str:
    partitions = (
        Partition("esp", 64 * MIB, "vfat", "/boot/efi", Firmware.UEFI),
        Partition("bios", MIB, "", "", Firmware.BIOS),
        Partition("swap", 64 * MIB, "swap"),
        Partition("root", None, "ext4", "/"),
    )
    profile = Profile(
        "vm", "", "amd64", "x86_64-pc-linux-gnu", "distserver:amd64", StageSource(""), StageSource(""), "",
        "console=ttyS0 quiet", "", {}, (), DiskLayout(partitions, 0),
    )  # fmt: skip
    facts = Facts("52:54:00:77:00:01", firmware, disks=(Disk("/dev/nvme0n1", 1024 * MIB),))
    plan = plan_install(facts, profile, Release(RELEASE, "vm", 1.0, "tiny:0a1b", 3, 100), hostname="vm-1")
    return render(plan, report="s3cret", base=base, pool="http://10.77.0.2")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


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


@pytest.mark.parametrize("firmware", list(Firmware))
def test_a_plan_the_server_renders_is_accepted(box: Box, firmware: Firmware) -> None:
    box.plan(plan_text(firmware=firmware))
    assert box.sh("check_plan").stdout == ""
    assert box.sh("plan_value kernel; plan_value disk").stdout == "console=ttyS0 quiet\n/dev/nvme0n1\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("plan 1", "plan 2", "plan line 1: expected plan 1, came plan 2"),
        ("sfdisk label: gpt", "disk /dev/vdb", "names a second disk"),
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


# Facts


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


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
        vendor="QEMU",
        product="Standard PC (Q35 + ICH9, 2009)",
        disks=(
            Disk("/dev/nvme0n1", 4096, "nvme", False, "S1", "ACME SSD"),
            Disk("/dev/sdb", 1024, "", True, "WD9"),
            Disk("/dev/vda", 8 << 30, "virtio", False, "my_disk"),
        ),
    )


def test_this_machines_own_facts_are_read_by_the_server(box: Box) -> None:
    inner = Box(box.path, box.server, {"sys": "/sys", "proc": "/proc"})
    facts = parse_facts(inner.sh("boot_nic=52:54:00:77:00:01; facts").stdout)
    assert facts.memory_bytes > 100 * MIB
    assert facts.cpu


def test_the_nic_that_booted_is_asked_first_and_is_the_machines_name(box: Box) -> None:
    nics = {"eth0": "52:54:00:00:00:01", "eth1": "52:54:00:00:00:0a"}
    lay(box.path / "sys/class/net", {f"{nic}/address": mac + "\n" for nic, mac in nics.items()})
    lay(box.path / "sys/class/net", {f"{nic}/device/x": "" for nic in nics})
    lay(box.path / "sys/class/net", {"lo/address": "00:00:00:00:00:00\n"})
    script = "echo BOOTIF=01-52-54-00-00-00-0A >$cmdline; read_arguments; list_nics; own_mac"
    assert box.sh(script).stdout.split() == ["eth1", "eth0", "52:54:00:00:00:0a"]


# Releases


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signing keys `good`, `other` and, from the future, `later`; each exported beside its home."""
    place = tmp_path_factory.mktemp("keys")
    for name in ("good", "other", "later"):
        home = place / name
        home.mkdir(mode=0o700)
        gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        if name == "later":
            gpg += ["--faked-system-time", "20700101T000000!"]
        run([*gpg, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never"])
        run([*gpg, "--output", place / f"{name}.gpg", "--export"])
        run(["gpgconf", "--homedir", home, "--kill", "all"])
    return place


def publish(server: Server, keys: Path, scratch: Path, *, signer: str = "good", **files: bytes) -> str:
    """Put a signed release on the server; returns the text of its manifest."""
    lines = ["distserver-release 1", f"id {RELEASE}", "profile vm"]
    for name, data in files.items():
        lines.append(f"FILE {name} {len(data)} SHA256 {sha256(data)}")
        server.files[f"/r/{RELEASE}/{name}"] = data
    text = "\n".join(lines) + "\n"
    (scratch / "text").write_text(text)
    when = ["--faked-system-time", "20700102T000000!"] if signer == "later" else []
    gpg: list[str | Path] = ["gpg", "--homedir", keys / signer, "--batch", "--yes", *when]
    run([*gpg, "--detach-sign", "-o", scratch / "sig", scratch / "text"])
    run(["gpgconf", "--homedir", keys / signer, "--kill", "all"])
    server.files[f"/r/{RELEASE}/manifest"] = text.encode()
    server.files[f"/r/{RELEASE}/manifest.sig"] = (scratch / "sig").read_bytes()
    return text


@pytest.fixture
def trusting(box: Box, keys: Path, server: Server) -> Box:
    box.plan(plan_text(base=f"{server.url}/r/{RELEASE}"))
    return Box(box.path, box.server, {"key": str(keys / "good.gpg")})


def test_a_manifest_signed_with_the_installers_key_is_good(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path)
    assert f"release {RELEASE}: signature good" in trusting.sh("set -e; verify_release").stdout
    assert (trusting.path / "manifest").exists()


def test_a_manifest_signed_with_another_key_is_refused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, signer="other")
    said = trusting.sh("set -e; verify_release; echo went on", ok=(1,)).stdout
    assert "the manifest's signature is not good" in said
    assert "went on" not in said
    assert not (trusting.path / "manifest").exists()


def test_a_manifest_changed_after_signing_is_refused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    text = publish(server, keys, tmp_path)
    server.files[f"/r/{RELEASE}/manifest"] = text.replace("vm", "vn").encode()
    assert "signature is not good" in trusting.sh("set -e; verify_release", ok=(1,)).stdout


def test_a_good_manifest_of_another_release_is_refused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path)
    trusting.plan(plan_text(base=f"{server.url}/r/{RELEASE}").replace(f"release {RELEASE}", "release other"))
    said = trusting.sh("set -e; verify_release", ok=(1,)).stdout
    assert f"the manifest is of release {RELEASE}, expected other" in said
    assert not (trusting.path / "manifest").exists()


def test_a_machine_whose_clock_is_behind_still_knows_the_signature(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, signer="later")
    later = Box(trusting.path, trusting.server, {"key": str(keys / "later.gpg")})
    assert "signature good" in later.sh("set -e; verify_release").stdout


def test_a_clock_behind_the_release_is_set_to_when_it_was_made(box: Box) -> None:
    clock = "case $* in *-s*) echo set $* >>$work/clock ;; +%s) echo 5 ;; *) command date $@ ;; esac"
    fakes = f"date() {{ {clock}; }}; "
    box.sh(fakes + "hwclock() { :; }; set -e; correct_clock 2026-01-01T00:00:00Z; correct_clock ''")
    box.sh(fakes + "set -e; correct_clock 1970-01-01T00:00:04Z")
    assert (box.path / "clock").read_text() == "set -u -s @1767225600\n"


def test_a_file_is_fetched_and_its_bytes_are_counted(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    trusting.sh("set -e; verify_release; fetch stage $work/got; fetch stage $work/got")
    assert (trusting.path / "got").read_bytes() == b"s" * 5000
    assert (trusting.path / "bytes").read_text() == "5000\n"
    assert server.asked.count((f"/r/{RELEASE}/stage", 0)) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    (trusting.path / "got").write_bytes(b"s" * 3000)
    trusting.sh("set -e; verify_release; fetch stage $work/got")
    assert (trusting.path / "got").read_bytes() == b"s" * 5000
    assert (f"/r/{RELEASE}/stage", 3000) in server.asked


def test_an_installer_that_is_told_to_wait_waits_as_often_as_it_is_told(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    trusting.sh("set -e; verify_release")
    server.refusals = 4  # fetch_tries is 2
    said = trusting.sh("sleep() { echo slept $1; }; set -e; verify_release; fetch stage $work/got").stdout
    assert said.count("slept 7\n") == 4
    assert (trusting.path / "got").read_bytes() == b"s" * 5000


def test_leftovers_of_another_file_are_not_mixed_in(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    (trusting.path / "got").write_bytes(b"x" * 3000)
    trusting.sh("set -e; verify_release; fetch stage $work/got")
    assert (trusting.path / "got").read_bytes() == b"s" * 5000


def test_a_file_that_is_not_what_the_manifest_says_is_removed_unused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    server.files[f"/r/{RELEASE}/stage"] = b"s" * 4999 + b"t"
    said = trusting.sh("set -e; verify_release; fetch stage $work/got; echo went on", ok=(1,)).stdout
    assert "stage is not what the manifest says; it was removed unused" in said
    assert "went on" not in said
    assert not (trusting.path / "got").exists()


def test_a_file_the_manifest_does_not_list_is_not_even_asked_for(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path)
    server.files[f"/r/{RELEASE}/stage"] = b"x"
    assert "lists no file stage" in trusting.sh("set -e; verify_release; fetch stage $work/a", ok=(1,)).stdout
    assert (f"/r/{RELEASE}/stage", 0) not in server.asked


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


# What is written on the target


@pytest.fixture
def partitioned(box: Box) -> Box:
    """The plan's partitions have names, from a program that stands for `blkid -s KIND -o value DEVICE`."""
    box.plan(plan_text())
    tools = box.path / "tools"
    lay(tools, {"blkid": '#!/bin/sh\neval "device=\\$$#"\necho "$2-of-${device##*/}"\n'})
    (tools / "blkid").chmod(0o755)
    return Box(box.path, box.server, {"tools": str(tools)})


def test_fstab_names_file_systems_by_uuid_and_mounts_the_trees(partitioned: Box) -> None:
    (partitioned.path / "trees").write_text("tree-gentoo.sqfs gentoo\ntree-guru.sqfs guru\n")
    assert partitioned.sh("set -e; fstab").stdout.splitlines()[1:] == [
        "UUID=UUID-of-nvme0n1p3 / ext4 defaults,noatime 0 1",
        "UUID=UUID-of-nvme0n1p1 /boot/efi vfat defaults,noatime 0 2",
        "UUID=UUID-of-nvme0n1p2 none swap sw 0 0",
        "/var/lib/distserver/tree-gentoo.sqfs /var/db/repos/gentoo squashfs loop,ro,nofail 0 0",
        "/var/lib/distserver/tree-guru.sqfs /var/db/repos/guru squashfs loop,ro,nofail 0 0",
    ]


def test_a_file_system_without_uuid_ends_the_step(partitioned: Box) -> None:
    lay(partitioned.path / "tools", {"blkid": "#!/bin/sh\nexit 2\n"})
    assert "went on" not in partitioned.sh("set -e; fstab >$work/fstab; echo went on", ok=(1, 2)).stdout


def test_grub_starts_the_release_kernel_and_speaks_on_the_serial_line(partitioned: Box) -> None:
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "console=ttyS0 quiet\n"})
    text = partitioned.sh("set -e; grub_config").stdout
    root = "root=PARTUUID=PARTUUID-of-nvme0n1p3"
    assert f"linux /boot/vmlinuz-6 {root} rootwait ro console=ttyS0 quiet\n" in text
    assert "serial --unit=0 --speed=115200" in text
    assert "set timeout=1\n" in text


def test_grub_names_the_kernel_from_a_boot_partition_of_its_own(partitioned: Box) -> None:
    partitioned.plan(plan_text().replace("/boot/efi", "/boot"))
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "quiet\n"})
    text = partitioned.sh("set -e; grub_config").stdout
    assert "linux /vmlinuz-6 root=" in text
    assert "serial" not in text


def test_a_kernel_that_is_not_the_releases_ends_the_step(partitioned: Box) -> None:
    lay(partitioned.path, {"target/boot/vmlinuz-5": "old", "target/etc/x": "", "manifest.sig": ""})
    (partitioned.path / "target/var/lib/distserver").mkdir(parents=True)
    (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    said = partitioned.sh("set -e; check_kernel quiet", ok=(1,)).stdout
    assert f"/boot/vmlinuz-5: 3 {sha256(b'old')}" in said
    assert "no kernel in /boot is the release's" in said
    lay(partitioned.path, {"target/boot/vmlinuz-6": "new"})
    partitioned.sh("set -e; check_kernel quiet")
    assert (partitioned.path / "kernel").read_text() == "/boot/vmlinuz-6\n"
    assert (partitioned.path / "target/etc/hostname").read_text() == "vm-1\n"


def test_a_kernel_in_its_build_tree_is_brought_to_boot(partitioned: Box) -> None:
    image = "target/usr/src/linux-6.6.30-gentoo/arch/x86/boot/bzImage"
    lay(
        partitioned.path,
        {image: "new", "target/boot/vmlinuz-5": "old", "target/etc/x": "", "manifest.sig": ""},
    )
    (partitioned.path / "target/var/lib/distserver").mkdir(parents=True)
    (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    partitioned.sh("set -e; check_kernel quiet")
    assert (partitioned.path / "kernel").read_text() == "/boot/vmlinuz-6.6.30-gentoo\n"
    assert (partitioned.path / "target/boot/vmlinuz-6.6.30-gentoo").read_text() == "new"


def test_a_kernel_beside_its_modules_is_brought_to_boot(partitioned: Box) -> None:
    image = "target/usr/lib/modules/6.6.30-x/vmlinuz"
    lay(partitioned.path, {image: "new", "target/boot/grub/x": "", "target/etc/x": "", "manifest.sig": ""})
    (partitioned.path / "target/var/lib/distserver").mkdir(parents=True)
    (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    partitioned.sh("set -e; check_kernel quiet")
    assert (partitioned.path / "kernel").read_text() == "/boot/vmlinuz-6.6.30-x\n"


def test_grub_loads_the_initramfs_of_the_kernel_and_no_other(partitioned: Box) -> None:
    lay(partitioned.path, {"kernel": "/boot/vmlinuz-6.6-x\n", "kernel.arguments": "quiet\n"})
    lay(partitioned.path, {"target/boot/initramfs-6.5.img": ""})
    assert "initrd" not in partitioned.sh("set -e; grub_config").stdout
    lay(partitioned.path, {"target/boot/initramfs-6.6-x.img": ""})
    text = partitioned.sh("set -e; grub_config").stdout
    assert "rootwait ro quiet\n  initrd /boot/initramfs-6.6-x.img\n}" in text


SIGNED_FILES = {"loader.efi": b"a loader", "kernel.efi": b"a kernel"}


def signed_release(box: Box, server: Server, files: dict[str, bytes] = SIGNED_FILES) -> None:
    """A release with a signed kernel and loader, its kernel found, no GRUB anywhere."""
    lines = [f"FILE {name} {len(data)} SHA256 {sha256(data)}\n" for name, data in files.items()]
    (box.path / "manifest").write_text("".join(lines))
    server.files |= {f"/r/x/{name}": data for name, data in files.items()}
    box.plan(plan_text(base=f"{server.url}/r/x"))
    lay(box.path, {"kernel": "/boot/vmlinuz-6\n", "kernel.arguments": "console=ttyS0 quiet\n"})


def test_a_signed_release_brings_its_own_loader_and_kernel(partitioned: Box, server: Server) -> None:
    signed_release(partitioned, server)
    said = partitioned.sh("set -e; install_loader uefi /dev/nvme0n1").stdout
    esp = partitioned.path / "target/boot/efi"
    assert (esp / "EFI/BOOT/BOOTX64.EFI").read_bytes() == b"a loader"
    assert (esp / "EFI/distserver/kernel.efi").read_bytes() == b"a kernel"
    assert (esp / "loader/entries/distserver.conf").read_text().splitlines() == [
        "title Gentoo",
        "linux /EFI/distserver/kernel.efi",
        "options root=PARTUUID=PARTUUID-of-nvme0n1p3 rootwait ro console=ttyS0 quiet",
    ]
    assert "editor no" in (esp / "loader/loader.conf").read_text()
    assert "the site's signature" in said and "setup mode" not in said


def test_a_shim_of_the_release_stands_before_the_loader(partitioned: Box, server: Server) -> None:
    files = {"loader.efi": b"a loader", "kernel.efi": b"a kernel", "shim.efi": b"a shim"}
    signed_release(partitioned, server, {**files, "mokmanager.efi": b"a manager"})
    partitioned.sh("set -e; install_loader uefi /dev/nvme0n1")
    place = partitioned.path / "target/boot/efi/EFI/BOOT"
    assert {one.name: one.read_bytes() for one in place.iterdir()} == {
        "BOOTX64.EFI": b"a shim",
        "grubx64.efi": b"a loader",
        "mmx64.efi": b"a manager",
    }


def test_the_signed_kernel_has_its_initramfs_beside_it(partitioned: Box, server: Server) -> None:
    signed_release(partitioned, server)
    lay(partitioned.path, {"target/boot/initramfs-6.img": "an initramfs"})
    partitioned.sh("set -e; install_loader uefi /dev/nvme0n1")
    esp = partitioned.path / "target/boot/efi"
    assert (esp / "EFI/distserver/initramfs").read_text() == "an initramfs"
    assert "\ninitrd /EFI/distserver/initramfs\n" in (esp / "loader/entries/distserver.conf").read_text()


@pytest.mark.parametrize(("firmware", "signed"), [("bios", True), ("uefi", False)])
def test_other_machines_and_releases_get_grub(
    partitioned: Box, server: Server, firmware: str, signed: bool
) -> None:
    signed_release(partitioned, server)
    if not signed:
        (partitioned.path / "manifest").write_text(f"FILE kernel 3 SHA256 {sha256(b'new')}\n")
    script = f"mount_inside() {{ :; }}; set -e; install_loader {firmware} /dev/nvme0n1"
    assert "grub-install is not in the installed system" in partitioned.sh(script, ok=(1,)).stdout


@pytest.mark.parametrize(("setup_mode", "enrolled"), [(1, True), (0, False)])
def test_keys_are_enrolled_only_in_setup_mode(
    partitioned: Box, server: Server, setup_mode: int, enrolled: bool
) -> None:
    signed_release(partitioned, server)
    vendor, images = "8be4df61-93ca-11d2-aa0d-00e098032b8c", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
    efi, keys = partitioned.path / "efi", partitioned.path / "keys"
    lay(keys, {"PK.auth": "the PK", "KEK.auth": "the KEK", "db.auth": "the db"})
    efi.mkdir()
    (efi / f"SetupMode-{vendor}").write_bytes(bytes((6, 0, 0, 0, setup_mode)))
    box = Box(partitioned.path, partitioned.server, {**partitioned.settings})
    settings = f"efi_variables={efi}; enrolment={keys}; "
    said = box.sh(f"{settings} set -e; install_loader uefi /dev/nvme0n1").stdout
    written = {one.name: one.read_bytes() for one in efi.iterdir() if not one.name.startswith("SetupMode")}
    names = {f"db-{images}": "the db", f"KEK-{vendor}": "the KEK", f"PK-{vendor}": "the PK"}
    expected = {name: b"\x27\0\0\0" + text.encode() for name, text in names.items()}
    assert written == (expected if enrolled else {})
    assert ("the site's keys are enrolled" in said) is enrolled
    assert ("not in setup mode" in said) is not enrolled


def test_the_index_names_the_pool_and_every_package_has_a_time(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    index = b"URI: http://elsewhere\nVERSION: 0\n\nCPV: a/b-1\nSIZE: 5\n\nCPV: a/c-1\nMTIME: 7\n\n"
    publish(server, keys, tmp_path, Packages=index)
    trusting.sh("set -e; verify_release; write_index")
    assert (trusting.path / "target/var/lib/distserver/index/Packages").read_text() == (
        "URI: http://10.77.0.2\nVERSION: 0\n\nCPV: a/b-1\nMTIME: 1\nSIZE: 5\n\nCPV: a/c-1\nMTIME: 1\n\n"
    )


def test_a_package_that_is_not_of_the_release_is_removed_before_it_is_merged(box: Box) -> None:
    place = box.path / "target/var/cache/binhost/release/pool"
    lay(place, {"aa/one.gpkg.tar": "one", "bb/two.gpkg.tar": "two"})
    (box.path / "manifest").write_text(f"PACKAGE a/one-1-1 3 SHA256 {sha256(b'one')}\n")
    said = box.sh("set -e; check_packages; echo went on", ok=(1,)).stdout
    assert "pool/bb/two.gpkg.tar is not what the manifest says; it was removed unused" in said
    assert "went on" not in said
    assert sorted(path.name for path in place.rglob("*.tar")) == ["one.gpkg.tar"]


@pytest.mark.parametrize(
    ("memory_kib", "largest", "enough"),
    [(996_000, 12_000_000, True), (996_000, 60_000_000, False), (480_000, 1000, False)],
)
def test_packages_are_unpacked_in_memory_only_when_they_fit(
    box: Box, memory_kib: int, largest: int, enough: bool
) -> None:
    lay(
        box.path,
        {"proc/meminfo": f"MemTotal: {memory_kib} kB\n", "manifest": f"PACKAGE a/b-1-1 {largest} x\n"},
    )
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    inner.sh("memory_is_enough", ok=(0 if enough else 1,))


def test_each_package_emerge_comes_to_is_reported_once(box: Box, server: Server) -> None:
    lines = (
        ">>> Emerging binary (3 of 16) sys-apps/sed-4.9::distserver",
        ">>> Installing (3 of 16) sys-apps/sed-4.9::distserver",
        ">>> Jobs: 0 of 16 complete",
    )
    quoted = "\\n".join(lines)
    assert box.sh(f"printf '{quoted}\\n' | watch_emerge merging").stdout.splitlines() == list(lines)
    assert [body for _, body in server.posted] == [
        "report s3cret\nstage packages\nstatus note\n\nmerging 3/16 sys-apps/sed-4.9\n"
    ]


# Stands for emerge: each call takes the next status of a list, the last one for ever.
EMERGE = """emerge() {
    calls=$((${calls:-0} + 1)); rm -f "$work/emerge.status"
    status=$(echo $statuses | cut -d ' ' -f $calls)
    [ "$status" = 0 ] || echo ${status:-1} >"$work/emerge.status"
}
sleep() { :; }
"""


@pytest.mark.parametrize(("statuses", "calls"), [("0", 1), ("1 0", 2), ("1 1 0", 3)])
def test_packages_that_did_not_come_are_fetched_again(
    box: Box, server: Server, statuses: str, calls: int
) -> None:
    box.plan(f"base {server.url}/r/x\n")
    server.files["/r/x/manifest.sig"] = b"x"
    assert box.sh(f"{EMERGE} statuses='{statuses}'; fetch_packages @system; echo $calls").stdout.endswith(
        f"{calls}\n"
    )


def test_packages_that_a_present_server_does_not_give_end_the_step_after_three_tries(
    box: Box, server: Server
) -> None:
    box.plan(f"base {server.url}/r/x\n")
    server.files["/r/x/manifest.sig"] = b"x"
    script = f"{EMERGE} statuses=''; trap 'echo $calls' EXIT; fetch_packages @system"
    said = box.sh(script, ok=(1,)).stdout
    assert "emerge --fetchonly ended with status 1" in said
    assert said.endswith("3\n")


def test_a_server_that_is_away_for_longer_is_waited_for(box: Box) -> None:
    box.plan("base http://127.0.0.1:9/r/x\n")
    statuses = " ".join(["1"] * 12 + ["0"])
    assert box.sh(f"{EMERGE} statuses='{statuses}'; fetch_packages @system; echo $calls").stdout.endswith(
        "13\n"
    )
