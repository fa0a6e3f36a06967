"""What has to start anew: the machine for its kernel, services for files that were replaced under them."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from distserver_client import pending, running
from distserver_client.manifest import Item
from distserver_client.pending import Kernel, Process, kernel_of, modules_of, reboot, service, stale

OLD, NEW = Kernel("6.6.30", "#1 SMP Mon"), Kernel("6.6.31", "#1 SMP Tue")
MAP = "7f00-7f01 r-xp 00000000 fe:00 12345                      {}\n"


def image(banner: str) -> bytes:
    """The beginning of an x86 kernel: its header at 0x1f1, the version where the header says."""
    made = bytearray(0x800)
    made[0x202:0x206] = b"HdrS"
    made[0x20E:0x210] = (0x300).to_bytes(2, "little")
    made[0x500 : 0x500 + len(banner)] = banner.encode()
    return bytes(made)


@pytest.mark.parametrize(
    ("runs", "installed", "modules", "said"),
    [
        (OLD, OLD, ["6.6.30"], ""),
        (OLD, NEW, ["6.6.31"], "kernel 6.6.30 runs, 6.6.31 is installed"),
        (OLD, Kernel("6.6.30", "#2 SMP Tue"), [], "another build of kernel 6.6.30 is installed"),
        (OLD, Kernel("6.6.30"), [], ""),
        (OLD, None, [], ""),
        (OLD, None, ["6.6.30", "6.6.31"], ""),
        (OLD, None, ["6.6.31"], "kernel 6.6.30 runs, and there are modules for 6.6.31"),
    ],
)
def test_a_machine_starts_anew_for_another_kernel_and_for_nothing_else(
    runs: Kernel, installed: Kernel | None, modules: list[str], said: str
) -> None:
    assert reboot(runs, installed, modules) == said


def test_a_kernel_says_itself_which_one_it_is_else_its_name_does() -> None:
    banner = "6.6.30-gentoo (root@build) #1 SMP PREEMPT_DYNAMIC Mon Jan 1"
    assert kernel_of(image(banner), "vmlinuz") == Kernel("6.6.30-gentoo", "#1 SMP PREEMPT_DYNAMIC Mon Jan 1")
    assert kernel_of(b"\x7fELF", "vmlinux-6.6.30") == Kernel("6.6.30")
    assert kernel_of(b"", "kernel-old") is None and kernel_of(b"", "vmlinuz") is None
    assert kernel_of(image("")[:0x500], "kernel-5.1") == Kernel("5.1")


def test_the_kernel_of_the_release_is_found_by_its_content(tmp_path: Path) -> None:
    content = image("6.6.31 (a@b) #3 SMP")
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/vmlinuz-6.6.30").write_bytes(bytes(len(content)))
    (tmp_path / "boot/vmlinuz-6.6.31").write_bytes(content)
    item = Item("kernel", len(content), hashlib.sha256(content).hexdigest())
    assert running.installed_kernel(tmp_path, item) == Kernel("6.6.31", "#3 SMP")
    (tmp_path / "boot/vmlinuz-6.6.31").unlink()
    assert (
        running.installed_kernel(tmp_path, item) is None and running.installed_kernel(tmp_path, None) is None
    )


def test_modules_of_packages_say_which_kernels_are_there(tmp_path: Path) -> None:
    paths = ["/lib/modules/6.6.30/kernel/a.ko", "/usr/lib/modules/6.6.31/b.ko", "/usr/lib/modulesx/1/c"]
    assert modules_of(paths) == {"6.6.30", "6.6.31"}
    record = tmp_path / "var/db/pkg/sys-kernel/a-1"
    record.mkdir(parents=True)
    (record / "CONTENTS").write_text(f"dir /lib/modules/9\nobj {paths[0]} {'0' * 32} 7\n")
    assert running.modules(tmp_path) == {"6.6.30"}


@pytest.mark.parametrize(
    ("path", "wants"),
    [
        ("/usr/lib64/libssl.so.3 (deleted)", True),
        ("/usr/bin/a program (deleted)", True),
        ("/usr/lib64/libssl.so.3", False),
        ("/memfd:jit (deleted)", False),
        ("/dev/zero (deleted)", False),
        ("/tmp/own.so (deleted)", False),
        ("[heap]", False),
    ],
)
def test_only_files_of_packages_that_were_replaced_count(path: str, wants: bool) -> None:
    assert pending.has_replaced(MAP.format(path)) is wants
    assert not pending.has_replaced(MAP.format(path).replace("r-xp", "rw-p"))


def test_a_service_is_named_as_its_init_names_it() -> None:
    for group, name in (
        ("0::/system.slice/sshd.service", "sshd"),
        ("0::/system.slice/system-getty.slice/getty@tty1.service/x", "getty@tty1"),
        ("1:name=openrc:/openrc/nginx\n0::/", "nginx"),
        ("0::/openrc.cronie", "cronie"),
        ("0::/user.slice", "bash"),
        ("", "bash"),
    ):
        assert service(Process(7, "bash", group, "")) == name
    assert service(Process(1, "systemd", "0::/init.scope", "")) == "init"
    one = Process(7, "b", "", MAP.format("/usr/lib/x (deleted)"))
    assert stale(
        [one, Process(8, "a", "", one.maps), Process(9, "b", "", one.maps), Process(10, "c", "", "")]
    ) == (
        "a",
        "b",
    )


def test_a_process_whose_program_is_gone_is_seen(tmp_path: Path) -> None:
    program = tmp_path / "nap"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    child = subprocess.Popen([program, "60"])

    def replaced() -> bool:
        found = {one.number: one for one in running.processes(Path("/proc"))}
        # What lies in /tmp passes anyway.
        return pending.has_replaced(found[child.pid].maps.replace(str(program), "/usr/bin/nap"))

    try:
        assert not replaced()
        program.unlink()
        assert replaced()
    finally:
        child.kill()
        child.wait()
