"""Consoles of real firmware: a person at a terminal, and dialogues that make it boot from the network."""

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest

from appliance.console import plain
from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.model import Tree
from appliance.overlays import HOME, example_site
from appliance.run import run, running
from appliance.services import Services
from tests.integration.bmcyard import ipmi
from tests.integration.netyard import DEADLINE_SECONDS, inside, yard

MAC = "52:54:00:77:00:01"
SECONDS = 60.0
PC = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-nodefaults", "-nographic", "-vga", "std"]
MENU = ["-machine", "pc", "-m", "64", "-boot", "menu=on,splash-time=20000"]
CARD = ["-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0"]
OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
SPARC = ["qemu-system-sparc64", "-nographic", "-monitor", "none", "-m", "128", "-nic", "user"]


@dataclass(frozen=True)
class Desk:
    """A site with one machine whose console is a socket."""

    site: Path
    state: Path
    line: Path

    @property
    def services(self) -> Services:
        return Services(self.site, Tree(self.state))

    def say(self, table: str) -> None:
        with (self.site / "appliance.toml").open("a") as file:
            file.write(f'[[machine]]\nmac = "{MAC}"\n{table}\n')

    def netboot(self, firmware: str, log: Path) -> list[str]:
        """The states a dialogue went through."""
        services, states = self.services, list[str]()
        services.power.netboot(services.machine(MAC), firmware, log, states.append)
        return states

    def at_a_terminal(self, *words: str) -> "pexpect.spawn[str]":
        """`distserver console` as a person starts it."""
        argv = [
            "-m",
            "appliance.cli",
            "--state",
            str(self.state),
            "console",
            "--site",
            str(self.site),
            *words,
            MAC,
        ]
        return pexpect.spawn(
            sys.executable,
            argv,
            cwd=str(HOME),
            env={**os.environ, "PYTHONPATH": str(HOME)},
            encoding="latin-1",
            timeout=SECONDS,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(
        Path(shutil.copytree(example_site(), tmp_path / "site")), tmp_path / "state", tmp_path / "line"
    )
    made.services.add_machine(MAC, name="web1")
    return made


@contextmanager
def powered(desk: Desk, *argv: str) -> Iterator[None]:
    """A machine that starts when somebody is at its console."""
    words = [
        *argv,
        "-chardev",
        f"socket,id=line,path={desk.line},server=on,wait=on",
        "-serial",
        "chardev:line",
    ]
    log = desk.line.with_name("qemu.log")
    with running(words, output=log) as qemu:

        def listens() -> bool | None:
            assert qemu.poll() is None, log.read_text()
            return desk.line.exists() or None

        wait_until(listens, seconds=DEADLINE_SECONDS, what="QEMU offers the console")
        yield


def test_seabios_is_talked_into_the_network_card_although_the_disk_is_first(
    desk: Desk, tmp_path: Path
) -> None:
    desk.say('[machine.console]\npath = "../line"\nfirmware = "seabios"')
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 1 << 20)
    drive = [
        "-drive",
        f"if=none,id=disk0,format=raw,file={disk}",
        "-device",
        "virtio-blk-pci,drive=disk0,bootindex=1",
    ]
    log = tmp_path / "console.log"
    with powered(desk, *PC, *MENU, *drive, *CARD):
        assert desk.netboot("", log) == ["banner", "menu", "chosen"]
    said = plain(log.read_bytes())
    assert "1. Virtio disk" in said
    assert "Booting from ROM" in said
    assert "Booting from Hard Disk" not in said
    (_, event) = desk.services.show_machine(MAC).events[-1]
    assert (event.stage, event.status, event.message) == ("console", "done", "netboot by seabios")


def test_ovmf_is_talked_through_its_menus_to_pxe_by_ipv4(desk: Desk, tmp_path: Path) -> None:
    desk.say('[machine.console]\npath = "../line"')
    variables = tmp_path / "vars.fd"
    shutil.copyfile("/usr/share/OVMF/OVMF_VARS_4M.fd", variables)
    flash = ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF}"]
    flash += ["-drive", f"if=pflash,unit=1,format=raw,file={variables}"]
    # Its disk is the first in its list, so the dialogue has to look where the network card is.
    disk = tmp_path / "disk"
    disk.touch()
    os.truncate(disk, 1 << 20)
    card = ["-device", "virtio-rng-pci", "-netdev", "user,id=net0"]
    card += ["-device", "virtio-net-pci,netdev=net0,romfile=,bootindex=2"]
    card += ["-drive", f"if=none,id=disk0,format=raw,file={disk}"]
    card += ["-device", "virtio-blk-pci,drive=disk0,bootindex=1"]
    log = tmp_path / "console.log"
    with powered(
        desk,
        *PC,
        "-machine",
        "q35",
        "-boot",
        "menu=on,splash-time=20000",
        "-cpu",
        "qemu64,+rdrand",
        "-m",
        "256",
        *flash,
        *card,
    ):
        assert desk.netboot("ovmf", log)[-2:] == ["boot manager", "chosen"]
    said = plain(log.read_bytes())
    assert said.count("Device Path :") == 2
    assert "Start PXE over IPv4" in said


def test_open_firmware_is_asked_both_ways_and_says_that_it_cannot(desk: Desk, tmp_path: Path) -> None:
    """OpenBIOS is a real Open Firmware with a real prompt, but has no network boot."""
    desk.say('[machine.console]\npath = "../line"\nfirmware = "obp"')
    log = tmp_path / "console.log"
    states: list[str] = []
    services = desk.services
    with powered(desk, *SPARC), pytest.raises(Problem, match="cannot boot from the network") as problem:
        services.power.netboot(services.machine(MAC), "", log, states.append)
    assert [one for one in states if not one.startswith("no break")] == [
        "break",
        "by DHCP",
        "refused",
        "by RARP",
    ]
    said = plain(log.read_bytes())
    assert "0 > boot net:dhcp - install" in said
    assert "0 > boot net - install" in said
    assert "No valid state" in problem.value.hint
    (_, event) = services.show_machine(MAC).events[-1]
    assert event.status == "failed"


def test_a_person_types_at_the_console_and_leaves_with_tilde_dot(desk: Desk, tmp_path: Path) -> None:
    desk.say('[machine.console]\npath = "../line"')
    log = tmp_path / "console.log"
    with powered(desk, *PC, *MENU, *CARD):
        child = desk.at_a_terminal("--log", str(log))
        child.expect("Press ESC for boot menu")
        child.send("\x1b")
        child.expect("Select boot device")
        child.send("\r~?")
        child.expect("leave the console")
        child.send("~B")
        child.expect("knows no break")
        child.send("\r~.")
        child.expect(pexpect.EOF)
        child.close()
    assert child.exitstatus == 0
    assert "Select boot device" in plain(log.read_bytes())


def test_a_console_server_is_a_program_and_its_end_ends_the_console(desk: Desk) -> None:
    shell = "printf 'port 7\\r\\n'; read -r line; printf 'got %s\\r\\n' \"$line\"; exec cat -v"
    program = desk.site.parent / "server.sh"
    program.write_text(f"#!/bin/sh\n{shell}\n")
    program.chmod(0o755)
    desk.say(f'[machine.console]\ncommand = ["{program}"]\nbreak_keys = "<break>"')
    child = desk.at_a_terminal()
    child.expect("port 7")
    child.send("hello\r")
    child.expect("got hello")
    child.send("\r~B\r")
    child.expect("<break>")
    child.send("\x04")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_console_server_is_reached_by_ssh(desk: Desk, tmp_path: Path) -> None:
    """sshd speaks to ssh through a pipe, so that no port is needed."""
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name])
    Path("/run/sshd").mkdir(exist_ok=True)
    settings = {
        "HostKey": tmp_path / "host",
        "AuthorizedKeysFile": tmp_path / "user.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "ForceCommand": "printf 'port 7\\r\\n'; exec cat",
    }
    config, known = tmp_path / "sshd.conf", tmp_path / "known"
    config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    known.write_text(f"consoles.example {(tmp_path / 'host.pub').read_text()}")
    command = [
        "ssh",
        "-t",
        "-t",
        "-F",
        "none",
        "-i",
        str(tmp_path / "user"),
        "-o",
        f"UserKnownHostsFile={known}",
    ]
    command += ["-o", f"ProxyCommand=/usr/sbin/sshd -i -f {config}", "root@consoles.example"]
    desk.say(f"[machine.console]\ncommand = {json.dumps(command)}")
    child = desk.at_a_terminal()
    child.expect("port 7")
    child.send("hello\r")
    child.expect("hello\r\n.*hello\r\n")
    child.send("~.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_machine_without_a_console_and_a_console_that_is_not_there_are_problems(desk: Desk) -> None:
    child = desk.at_a_terminal()
    child.expect("names no console")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    desk.say('[machine.console]\npath = "../line"')
    with pytest.raises(Problem, match="is no console"):
        desk.netboot("seabios", Path(os.devnull))
    with pytest.raises(Problem, match="nobody said which firmware"):
        desk.netboot("", Path(os.devnull))


def test_serial_over_lan_reaches_the_firmware_through_the_controller(desk: Desk, tmp_path: Path) -> None:
    """The controller is OpenIPMI's, the machine behind it QEMU's SeaBIOS."""
    with yard() as net:
        room = net.room("bmc")
        port = 9003
        argv = [*PC, *MENU, *CARD, "-serial", f"tcp:127.0.0.1:{port},server=on,wait=on"]
        with (
            running(argv, prefix=net.on("bmc"), output=tmp_path / "qemu.log"),
            ipmi(tmp_path / "bmc", room, sol=f"tcp:127.0.0.1:{port}") as controller,
        ):
            bmc = controller.bmc
            desk.say(
                f'[machine.bmc]\nkind = "ipmi"\naddress = "{bmc.address}"\nuser = "{bmc.user}"\n'
                f'password_file = "{bmc.password_file}"\ncipher_suite = {bmc.cipher_suite}'
            )
            log = tmp_path / "console.log"
            with inside(room):
                assert desk.netboot("seabios", log)[-1] == "chosen"
    assert "Booting from ROM" in plain(log.read_bytes())


def test_a_line_somebody_else_is_on_is_a_problem(desk: Desk) -> None:
    desk.say('[machine.console]\npath = "../line"')
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(desk.line))
    with pytest.raises(Problem, match="cannot be connected to"):
        desk.netboot("seabios", Path(os.devnull))
