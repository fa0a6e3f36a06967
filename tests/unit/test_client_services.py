"""Services that read a changed file: restarted, watched, given the old file back when it is wrong."""

import shutil
from pathlib import Path

import pytest

from distserver_client import places
from distserver_client.services import Init, Services
from distserver_client.triples import Rule
from tests.etc_machines import BOTH, MINE, NEW, OLD, Machine

RC = """#!/bin/sh
# What OpenRC's rc-service does, for a service whose state is a file.
name=$1 order=$2
echo "$order" >> /log
case $order in
status) [ -e /run/up ] && echo started || { echo crashed; exit 3; } ;;
restart)
    grep -q bad /etc/conf.d/$name || { touch /run/up; exit 0; }
    rm -f /run/up
    [ -e /lazy ] || { echo bad configuration; exit 1; } ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A root with a shell and something that answers as OpenRC; the service runs."""
    made = Machine(tmp_path)
    for directory in ("bin", "sbin", "run/openrc", "etc/init.d"):
        (tmp_path / directory).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox
    shutil.copy(busybox, tmp_path / "bin/busybox")
    for name in ("sh", "grep", "rm", "touch", "test"):
        (tmp_path / "bin" / name).symlink_to("busybox")
    made.lay("/run/openrc/softlevel", b"default\n")
    made.lay("/run/up", b"")
    made.lay("/sbin/rc-service", RC.encode(), 0o755)
    made.lay("/etc/init.d/thing", b"", 0o755)
    return made


def log(machine: Machine) -> list[str]:
    place = machine.root / "log"
    return place.read_text().split() if place.exists() else []


def test_a_service_is_restarted_with_its_new_file(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    assert [one.path for one in machine.settle().applied] == ["/etc/conf.d/thing"]
    assert log(machine) == ["status", "restart", "status"]
    assert machine.read() == BOTH


@pytest.mark.parametrize("lazy", [False, True])
def test_a_service_that_does_not_take_it_has_the_old_one_again(machine: Machine, lazy: bool) -> None:
    if lazy:
        # It says that it was restarted, and then it is not there.
        machine.lay("/lazy", b"")
    machine.update(OLD, MINE, NEW.replace(b"new", b"bad"))
    (failed,) = machine.settle().failed
    assert "thing did" in failed.how or "thing does not run" in failed.how
    assert "the old files are back" in failed.how
    assert machine.read() == MINE
    assert (machine.root / "run/up").exists()
    assert machine.read("/etc/conf.d/._cfg0000_thing") is not None
    assert log(machine)[-2:] == ["restart", "status"]


def test_a_service_that_does_not_run_is_left_alone(machine: Machine) -> None:
    (machine.root / "run/up").unlink()
    machine.update(OLD, MINE, NEW.replace(b"new", b"bad"))
    assert len(machine.settle().applied) == 1
    assert log(machine) == ["status"]


def test_files_of_one_service_stand_and_fall_together(machine: Machine) -> None:
    machine.rules = (Rule("/etc/second", restart="thing"),)
    machine.update(OLD, MINE, NEW, "/etc/second")
    machine.update(OLD, MINE, NEW, "/etc/third")
    machine.update(OLD, MINE, NEW.replace(b"new", b"bad"))
    settled = machine.settle()
    assert sorted(one.path for one in settled.failed) == ["/etc/conf.d/thing", "/etc/second"]
    assert [one.path for one in settled.applied] == ["/etc/third"]
    assert (machine.read("/etc/second"), machine.read("/etc/third")) == (MINE, BOTH)
    assert log(machine).count("restart") == 2


def test_the_health_command_has_the_last_word(machine: Machine) -> None:
    services = Services(machine.root, probe_seconds=0)
    assert services.restart("thing", "test -e /run/up") == ""
    assert "`test -e /nothing` failed" in services.restart("thing", "test -e /nothing")


def test_the_policy_may_say_that_no_service_is_meant(machine: Machine) -> None:
    machine.rules = (Rule("*", restart="-"),)
    machine.update(OLD, MINE, NEW)
    machine.settle()
    assert log(machine) == []


def test_the_service_of_a_file_is_that_of_its_package(machine: Machine) -> None:
    contents = machine.root / "var/db/pkg/app-misc/a-1/CONTENTS"
    contents.parent.mkdir(parents=True)
    contents.write_text("dir /etc\nobj /etc/a.conf 0 1\nobj /etc/init.d/thing 0 1\n")
    services = Services(machine.root)
    assert services.init is Init.OPENRC
    assert services.owners({"/etc/a.conf": "", "/etc/b.conf": ""}) == {
        "/etc/a.conf": "thing",
        "/etc/b.conf": "",
    }
    machine.lay("/etc/init.d/second", b"")
    contents.write_text(contents.read_text() + "obj /etc/init.d/second 0 1\n")
    assert services.owners({"/etc/a.conf": ""}) == {"/etc/a.conf": ""}


def test_services_by_table(machine: Machine) -> None:
    services = Services(machine.root)
    machine.lay("/etc/init.d/ssh", b"")
    asked = dict.fromkeys(("/etc/ssh/sshd_config", "/etc/ssh/ssh_config", "/etc/nginx/nginx.conf"), "")
    assert list(services.owners(asked).values()) == ["ssh", "", ""]
    (machine.root / "run/openrc/softlevel").unlink()
    assert Services(machine.root).init is Init.OTHER
    places.inside(machine.root, "/run/systemd/system").mkdir(parents=True)
    machine.lay("/usr/lib/systemd/system/sshd.service", b"")
    assert Services(machine.root).init is Init.SYSTEMD
    assert services.owners({"/etc/ssh/sshd_config": ""}) == {"/etc/ssh/sshd_config": "sshd"}
