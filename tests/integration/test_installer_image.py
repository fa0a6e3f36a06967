"""The installer's initramfs: its programs run, and in a machine it installs, or stops before any harm."""

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.facts import parse_facts
from appliance.farm_model import Release
from appliance.install import plan_install, render
from appliance.lab import APPLIANCE_ADDRESS, Lan, foreign_dhcp, lan, wait_for_port
from appliance.model import NO_TABLE, Disk, Facts, Firmware
from appliance.run import run, running
from appliance.sandbox import Sandbox
from appliance.site_model import DiskLayout, Partition, Profile, StageSource
from appliance.vm import DirectBoot, Vm, VmDisk, make_disk
from appliance.vm_power import PoweredOn, power_on
from buildfarm.cpio import cpio, file, link
from buildfarm.installer import PROGRAMS, build_installer, decompress
from buildfarm.stage import Stage
from tests.integration.compile_yard import PORT, flags, yard

MIB = 1024 * 1024
MAC = "52:54:00:77:00:01"
RELEASE = "20260101-0123456789ab"
SERVER = f"http://{APPLIANCE_ADDRESS}"
# What Debian's cloud kernel has as modules and the reference kernel has built in.
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "vfat", "nls_ascii", "nls_cp437", "squashfs", "loop")
STOPPED = "this machine is not installed"


def needed_modules(tree: Path) -> set[str]:
    """The files of MODULES and of what they depend on, by modules.dep."""
    table = {}
    for line in (tree / "modules.dep").read_text().splitlines():
        name, _, needs = line.partition(":")
        table[name] = needs.split()
    pending = [name for name in table if Path(name).stem.replace("-", "_") in MODULES]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += table[name]
    return found


@pytest.fixture(scope="session")
def target_root(kernel_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile's root as far as the installer wants it: busybox and the kernel's modules."""
    root = tmp_path_factory.mktemp("root")
    source = next((kernel_files / "lib/modules").iterdir())
    version = source.name
    place = root / "lib/modules" / version
    run(["busybox", "depmod", "-b", kernel_files, version])
    for name in sorted(needed_modules(source)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes((source / name).read_bytes())
    run(["busybox", "depmod", "-b", root, version])
    (root / "bin").mkdir()
    (root / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    return root


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`good` and `other`: GnuPG homes with one signing key each, its public key beside it in armor."""
    place = tmp_path_factory.mktemp("keys")
    for name in ("good", "other"):
        (place / name).mkdir(mode=0o700)
        gpg: list[str | Path] = ["gpg", "--homedir", place / name, "--batch", "--quiet", "--passphrase", ""]
        run([*gpg, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never"])
        run([*gpg, "--armor", "--output", place / f"{name}.asc", "--export"])
        run(["gpgconf", "--homedir", place / name, "--kill", "all"])
    return place


@pytest.fixture(scope="session")
def image(target_root: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("image") / "installer"
    build_installer(Path("/"), target_root, (keys / "good.asc").read_bytes(), output, output.parent)
    return output


# The image


def test_the_same_roots_and_key_give_the_same_bytes(
    image: Path, target_root: Path, keys: Path, tmp_path: Path
) -> None:
    again = build_installer(
        Path("/"), target_root, (keys / "good.asc").read_bytes(), tmp_path / "again", tmp_path
    )
    assert again.path.read_bytes() == image.read_bytes()
    assert again.packed_bytes < again.unpacked_bytes


def test_every_program_finds_its_libraries_in_the_image(image: Path, tmp_path: Path) -> None:
    run(["busybox", "cpio", "-i", "-d"], stdin=decompress(image.read_bytes()), cwd=tmp_path)
    prefix = Sandbox(tmp_path, env={"LD_LIBRARY_PATH": "/usr/lib/installer"}).prefix()
    for program in PROGRAMS:
        option = "-V" if program.startswith("mkfs.ext4") else "--version"
        # mkfs.vfat knows no such option: it says how it is used.
        printed = run([f"/usr/bin/{program}", option], prefix=prefix, ok=(0, 1)).stdout
        assert "error while loading shared libraries" not in printed
        assert printed


def test_a_busybox_that_needs_libraries_is_refused(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_bytes(Path("/usr/bin/gpgv").read_bytes())
    with pytest.raises(Problem, match="needs shared libraries"):
        build_installer(
            Path("/"), tmp_path, (keys / "good.asc").read_bytes(), tmp_path / "installer", tmp_path
        )


def test_a_missing_program_is_named(target_root: Path, keys: Path, tmp_path: Path) -> None:
    key = (keys / "good.asc").read_bytes()
    with pytest.raises(Problem, match=f"blkid is in none of {tmp_path}"):
        build_installer(tmp_path, target_root, key, tmp_path / "installer", tmp_path, host=None)


def test_what_a_stage_lacks_comes_from_the_farms_own_host(keys: Path, tmp_path: Path) -> None:
    """As with a stage3: no mkfs.vfat, no static busybox."""
    (tmp_path / "stage/bin").mkdir(parents=True)
    (tmp_path / "stage/bin/sh").write_bytes(Path("/bin/dash").read_bytes())
    output = tmp_path / "installer"
    build_installer(tmp_path / "stage", None, (keys / "good.asc").read_bytes(), output, tmp_path)
    run(["busybox", "cpio", "-i", "-d"], stdin=decompress(output.read_bytes()), cwd=tmp_path)
    assert (tmp_path / "usr/bin/mkfs.vfat").is_file()
    foreign = bytearray((tmp_path / "stage/bin/sh").read_bytes())
    foreign[18:20] = (183).to_bytes(2, "little")  # EM_AARCH64
    (tmp_path / "stage/bin/sh").write_bytes(foreign)
    with pytest.raises(Problem, match="busybox is in none of"):
        build_installer(tmp_path / "stage", None, (keys / "good.asc").read_bytes(), output, tmp_path)


# The installation


@dataclass(frozen=True)
class Served:
    """A directory that a server in the lab's appliance room serves."""

    path: Path

    @property
    def release(self) -> Path:
        return self.path / "r" / RELEASE

    def posted(self) -> list[tuple[str, str]]:
        """(path, body) of every question and event so far."""
        texts = (self.path / "posted").read_text().split("\n--\n")
        return [(head, body) for text in texts if text for head, _, body in [text.partition("\n")]]

    def events(self) -> list[str]:
        """`stage status` of every event so far, notes left out."""
        found = []
        for path, body in self.posted():
            if path == "/event":
                fields = dict(line.split(" ", 1) for line in body.partition("\n\n")[0].splitlines())
                found.append(f"{fields['stage']} {fields['status']}")
        return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def plan_text() -> str:
    partitions = (Partition("bios", MIB, "", "", Firmware.BIOS), Partition("root", None, "ext4", "/"))
    profile = Profile(
        "vm", "", "amd64", "x86_64-pc-linux-gnu", "distserver:amd64", StageSource(""), StageSource(""), "",
        "console=ttyS0 quiet", "", {}, (), DiskLayout(partitions, 0),
    )  # fmt: skip
    facts = Facts(MAC, Firmware.BIOS, disks=(Disk("/dev/vda", 512 * MIB),))
    plan = plan_install(facts, profile, Release(RELEASE, "vm", 1.0, "tiny:0a1b", 3, 100), hostname="vm-1")
    text = render(plan, report="s3cret", base=f"{SERVER}/r/{RELEASE}", pool=SERVER)
    # This release's stage is no Gentoo: it has no packages.
    return "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(("packages", "tree")))


GRUB_INSTALL = b"#!/bin/sh\necho $* >/grub-install-arguments\nmkdir -p /boot/grub\n"


@pytest.fixture
def served(tmp_path: Path, kernel: Path, keys: Path) -> Served:
    """A small signed release: its stage holds busybox, a kernel and something that stands for GRUB."""
    place = Served(tmp_path / "served")
    place.release.mkdir(parents=True)
    (place.path / "posted").touch()
    (place.path / "answers").mkdir()
    for name, text in {"hello": "install tok-1\n", "plan": plan_text(), "event": "ok\n"}.items():
        (place.path / "answers" / name).write_text(text)
    root = tmp_path / "stage"
    stage = [
        file("bin/busybox", Path("/bin/busybox").read_bytes(), 0o755),
        link("bin/sh", "busybox"),
        link("bin/mkdir", "busybox"),
        link("usr/bin/env", "../../bin/busybox"),
        file("usr/sbin/grub-install", GRUB_INSTALL, 0o755),
        file("boot/vmlinuz-6.1", kernel.read_bytes()),
        file("etc/fstab", b"# the stage's\n"),
    ]
    root.mkdir()
    run(["busybox", "cpio", "-i", "-d"], stdin=cpio(stage), cwd=root)
    run(["tar", "--zstd", "-C", root, "-cf", place.release / "stage", "."])
    for name in ("portage", "client"):
        (tmp_path / name / "etc" / name).mkdir(parents=True)
        (tmp_path / name / "etc" / name / "here").write_text(name)
        run(["tar", "-C", tmp_path / name, "-cf", place.release / f"{name}.tar", "etc"])
    (place.release / "kernel").write_bytes(kernel.read_bytes())
    sign(place, keys, "good")
    return place


def sign(place: Served, keys: Path, signer: str) -> None:
    manifest = place.release / "manifest"
    files = sorted(path for path in place.release.iterdir() if not path.name.startswith("manifest"))
    lines = [f"FILE {path.name} {path.stat().st_size} SHA256 {sha256(path)}" for path in files]
    manifest.write_text("\n".join(["distserver-release 1", f"id {RELEASE}", "profile vm", *lines, ""]))
    gpg: list[str | Path] = ["gpg", "--homedir", keys / signer, "--batch", "--yes", "--detach-sign"]
    run([*gpg, "-o", f"{manifest}.sig", manifest])
    run(["gpgconf", "--homedir", keys / signer, "--kill", "all"])


@pytest.fixture
def net() -> Iterator[Lan]:
    with lan("inst") as made:
        yield made


@pytest.fixture
def vm(net: Lan, kernel: Path, image: Path, tmp_path: Path) -> Vm:
    made = Vm(
        name="vm-1",
        directory=tmp_path / "vm",
        firmware=Firmware.BIOS,
        mac=MAC,
        tap=net.taps[0],
        memory_mb=768,
        disks=(VmDisk(tmp_path / "disk.raw", 512 * MIB, serial="D-1"),),
        direct=DirectBoot(kernel, image, f"console=ttyS0 quiet distserver={SERVER}"),
    )
    make_disk(made.disks[0])
    return made


@contextmanager
def switched_on(vm: Vm, net: Lan, served: Served, scratch: Path) -> Iterator[PoweredOn]:
    """The machine on a LAN with a DHCP server and the release's server."""
    program: list[str | Path] = [sys.executable, Path(__file__).with_name("release_server.py"), served.path]
    log = scratch / "server.log"
    with (
        foreign_dhcp(net, scratch / "dhcp.log"),
        running(program, prefix=net.exec_prefix("appliance"), output=log),
    ):
        wait_for_port(net, "appliance", 80, seconds=10)
        with power_on(vm, prefix=net.exec_prefix("lan")) as machine:
            yield machine


def read_from_disk(disk: Path, command: str) -> str:
    """What debugfs says of the file system in the disk's last partition."""
    last = run(["sfdisk", "-q", "-o", "start,sectors", "-l", disk]).stdout.split()[-2:]
    start, sectors = map(int, last)
    part = disk.with_suffix(".ext4")
    geometry = ["bs=512", f"skip={start}", f"count={sectors}", "conv=sparse", "status=none"]
    run(["dd", f"if={disk}", f"of={part}", *geometry])
    assert run(["e2fsck", "-f", "-n", part], ok=(0,)).status == 0
    return run(["debugfs", "-R", command, part]).stdout


def test_a_machine_is_installed_from_a_signed_release(
    vm: Vm, net: Lan, served: Served, tmp_path: Path
) -> None:
    with switched_on(vm, net, served, tmp_path) as machine:
        machine.console.wait_for("installed: restarting from the disk", seconds=180)
    stages = (
        "verify",
        "partition",
        "filesystems",
        "stage",
        "portage",
        "client",
        "kernel",
        "loader",
        "finish",
    )
    steps = [f"{stage} {status}" for stage in stages for status in ("begin", "done")]
    assert served.events() == ["network done", "plan done", *steps]
    (_, hello), (_, plan), *_ = served.posted()
    assert plan.splitlines()[0] == "token tok-1"
    facts = parse_facts(hello)
    assert (facts.mac, facts.firmware) == (MAC, Firmware.BIOS)
    (seen,) = facts.disks
    assert re.fullmatch(r"pci-0000:00:[0-9a-f]{2}\.0", seen.place)
    known = Disk("/dev/vda", 512 * MIB, "virtio", False, "D-1", table=NO_TABLE, rotational=True)
    assert replace(seen, place="") == known
    disk = vm.disks[0].path
    assert "BIOS boot" in run(["sfdisk", "-l", disk]).stdout
    read = {name: read_from_disk(disk, f"cat {name}") for name in ("/etc/hostname", "/etc/fstab")}
    assert "vm-1\n" in read["/etc/hostname"]
    uuid = run(["blkid", "-p", "-s", "UUID", "-o", "value", disk.with_suffix(".ext4")]).stdout.strip()
    assert f"UUID={uuid} / ext4 defaults,noatime 0 1" in read["/etc/fstab"]
    part = run(["sfdisk", "--part-uuid", disk, "2"]).stdout.strip().lower()
    assert f"root=PARTUUID={part} rootwait ro console=ttyS0 quiet" in read_from_disk(
        disk, "cat /boot/grub/grub.cfg"
    )
    assert "--target=i386-pc --boot-directory=/boot /dev/vda" in read_from_disk(
        disk, "cat /grub-install-arguments"
    )
    assert "client" in read_from_disk(disk, "cat /etc/client/here")
    assert RELEASE in read_from_disk(disk, "cat /etc/distserver/release")


def test_a_wrong_stage_is_reported_and_leaves_a_shell_and_nothing_mounted(
    vm: Vm, net: Lan, served: Served, tmp_path: Path
) -> None:
    stage = served.release / "stage"
    data = bytearray(stage.read_bytes())
    data[1000] ^= 1
    stage.write_bytes(bytes(data))
    with switched_on(vm, net, served, tmp_path) as machine:
        machine.console.wait_for(STOPPED, seconds=120)
        machine.console.wait_for_shell(seconds=30)
        assert "/mnt/target" not in machine.console.succeed("mount")
    assert served.events()[-2:] == ["stage begin", "stage failed"]
    assert "stage is not what the manifest says; it was removed unused" in served.posted()[-1][1]


def test_a_release_with_another_signature_is_refused_before_the_disk_is_touched(
    vm: Vm, net: Lan, served: Served, keys: Path, tmp_path: Path
) -> None:
    sign(served, keys, "other")
    with switched_on(vm, net, served, tmp_path) as machine:
        machine.console.wait_for(STOPPED, seconds=120)
    assert served.events()[-2:] == ["verify begin", "verify failed"]
    assert "the manifest's signature is not good" in served.posted()[-1][1]
    with vm.disks[0].path.open("rb") as disk:
        assert not any(disk.read(4 * MIB))


def test_a_probe_says_so_and_switches_the_machine_off(vm: Vm, net: Lan, kernel: Path, image: Path) -> None:
    direct = DirectBoot(kernel, image, "console=ttyS0 quiet distserver.probe")
    probe = Vm("probe", vm.directory, Firmware.BIOS, direct=direct, memory_mb=512)
    with power_on(probe) as machine:
        machine.console.wait_for("distserver: probe ok", seconds=60)
        machine.wait_for_exit(seconds=20)


@dataclass(frozen=True)
class GoodKey:
    """Signs with the key that the image trusts."""

    keys: Path

    def sign(self, path: Path, signature: Path) -> None:
        gpg: list[str | Path] = ["gpg", "--homedir", self.keys / "good", "--batch", "--yes"]
        run([*gpg, "--detach-sign", "-o", signature, path])
        run(["gpgconf", "--homedir", self.keys / "good", "--kill", "all"])

    def public_keyring(self) -> Path:
        return self.keys / "good" / "pubring.kbx"


def test_an_idle_machine_compiles_and_nothing_is_written_to_its_disk(
    build_stage: Stage, kernel: Path, image: Path, keys: Path, tmp_path: Path
) -> None:
    with (
        yard(tmp_path / "yard", build_stage.root, signer=GoodKey(keys), taps=1) as made,
        foreign_dhcp(made.net, tmp_path / "dhcp.log"),
    ):
        desk = made.services.cluster
        made.services.add_machine(MAC, name="idle")
        desk.lend(MAC, True)
        token = made.services.desk.lending.token(MAC)
        words = f"console=ttyS0 quiet distserver=http://{APPLIANCE_ADDRESS}:{PORT} distserver.name=idle"
        direct = DirectBoot(kernel, image, f"{words} distserver.mode=compile-node distserver.token={token}")
        disk = VmDisk(tmp_path / "disk.raw", 512 * MIB, serial="D-1")
        make_disk(disk)
        directory = tmp_path / "vm"
        idle = Vm("idle", directory, Firmware.BIOS, mac=MAC, tap=made.net.taps[0], memory_mb=768)
        idle = replace(idle, disks=(disk,), direct=direct)
        with power_on(idle, prefix=made.net.exec_prefix("lan")) as machine:
            made.wait_for_host("idle")
            root = made.root()
            made.project(root, 2)
            with desk.lease(root, 1, flags=flags(12), start_seconds=300) as lease:
                assert lease.hosts == ("idle",), lease.rejected
                made.make(lease, root, 12)
                assert lease.report().remote["idle"] > 0
            desk.lend(MAC, False)
            machine.console.wait_for("not needed any more: restarting", seconds=120)
        assert disk.path.stat().st_blocks == 0
