"""Services of a real systemd and a real OpenRC take new configuration files, or have the old ones again."""

from collections.abc import Iterator

import pytest

from appliance.deadline import wait_until
from appliance.run import CommandFailed
from tests.init_machine import InitMachine, Kind, started

CONFIG = "/etc/ssh/sshd_config"
HELD = "/etc/ssh/._cfg0000_sshd_config"
BASE = b"Port 2201\n\nUsePAM no\n\n# Sessions of one connection.\nMaxSessions 10\n"
MINE = BASE.replace(b"2201", b"2202")
NEW = BASE.replace(b"MaxSessions 10", b"MaxSessions 20")
BOTH = MINE.replace(b"MaxSessions 10", b"MaxSessions 20")
# sshd -t accepts an address that the machine does not have; sshd itself ends at once.
BAD = NEW + b"\nListenAddress 203.0.113.7\n"
SSHD = """#!/sbin/openrc-run
command=/usr/sbin/sshd
command_args=-D
command_background=true
pidfile=/run/sshd.pid
start_pre() { mkdir -p /run/sshd; }
"""
THING = "/etc/conf.d/thing"
# Reads its file once; with a bad one it ends a little later, and is started again and again.
DAEMON = f"""#!/bin/sh
. {THING}
cp {THING} /run/thing.read
[ "$key8" != bad ] || exec sleep 0.2
exec sleep infinity
"""
UNIT = "[Service]\nExecStart=/usr/local/bin/thing\nRestart=always\nRestartSec=10ms\nStartLimitBurst=1000\n"
SUPERVISED = """#!/sbin/openrc-run
supervisor=supervise-daemon
command=/usr/local/bin/thing
respawn_delay=1
respawn_max=0
"""
KEYS = b"key1=0\nkey2=0\nkey8=0\n"


@pytest.fixture(scope="module", params=[Kind.SYSTEMD, Kind.OPENRC], ids=["systemd", "openrc"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InitMachine]:
    with started(request.param, tmp_path_factory.mktemp("machine")) as machine:
        machine.call("ssh-keygen", "-A")
        machine.lay("/usr/local/bin/thing", DAEMON.encode(), 0o755)
        if request.param is Kind.OPENRC:
            machine.lay("/etc/init.d/sshd", SSHD.encode(), 0o755)
            machine.lay("/etc/init.d/thing", SUPERVISED.encode(), 0o755)
        else:
            machine.lay("/etc/systemd/system/thing.service", UNIT.encode())
            machine.call("systemctl", "daemon-reload")
        yield machine


@pytest.fixture
def machine(running: InitMachine) -> Iterator[InitMachine]:
    """With an sshd that runs with what the admin made of its file."""
    running.lay(CONFIG, MINE)
    order(running, "start", "sshd")
    yield running
    order(running, "stop", "sshd")
    running.call("rm", "-rf", "/var/lib/distserver", "/var/cache/distserver", HELD)
    running.bases.clear()


def order(machine: InitMachine, what: str, name: str) -> None:
    if machine.kind is Kind.SYSTEMD:
        machine.call("systemctl", what, "ssh" if name == "sshd" else name)
    else:
        machine.call("rc-service", name, what)


def listens(machine: InitMachine) -> set[str]:
    """Ports of sshd; empty while it does not run."""
    lines = machine.call("ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header").stdout
    return {line.split()[3].rpartition(":")[2] for line in lines.splitlines() if '"sshd"' in line}


def comes_to_listen(machine: InitMachine, *ports: str) -> None:
    """OpenRC calls a daemon started before it listens."""
    wait_until(lambda: listens(machine) == {*ports} or None, seconds=30, what=f"sshd listens on {ports}")


def process(machine: InitMachine) -> str:
    """The sshd that listens, the same one as long as nobody restarts it."""
    lines = machine.call("ss", "--listening", "--tcp", "--processes", "--no-header").stdout
    return lines.partition('"sshd",pid=')[2].partition(",")[0]


def test_a_service_runs_with_what_was_merged(machine: InitMachine) -> None:
    comes_to_listen(machine, "2202")
    before = process(machine)
    machine.update(CONFIG, BASE, MINE, NEW)
    assert machine.settle() == {"applied": {CONFIG: "merged line by line"}}
    assert machine.read(CONFIG) == BOTH
    comes_to_listen(machine, "2202")
    assert process(machine) != before


def test_a_service_that_ends_with_it_runs_with_the_old_file_again(machine: InitMachine) -> None:
    machine.update(CONFIG, BASE, MINE, BAD)
    (how,) = machine.settle()["failed"].values()
    assert "did not restart" in how or "does not run" in how
    assert how.endswith("the old files are back")
    assert machine.read(CONFIG) == MINE
    assert machine.read(HELD) == BAD
    comes_to_listen(machine, "2202")


def test_the_health_command_takes_it_back(machine: InitMachine) -> None:
    machine.update(CONFIG, BASE, MINE, NEW)
    (how,) = machine.settle(health="! grep -q 'MaxSessions 20' /etc/ssh/sshd_config")["failed"].values()
    assert "failed" in how and how.endswith("the old files are back")
    assert machine.read(CONFIG) == MINE
    comes_to_listen(machine, "2202")


def test_a_service_that_does_not_run_is_not_started(machine: InitMachine) -> None:
    order(machine, "stop", "sshd")
    machine.update(CONFIG, BASE, MINE, NEW)
    assert machine.settle() == {"applied": {CONFIG: "merged line by line"}}
    assert listens(machine) == set()


def test_an_agent_that_was_killed_in_between_leaves_no_service_with_a_file_that_is_not_there(
    machine: InitMachine,
) -> None:
    theirs = NEW.replace(b"UsePAM no", b"UsePAM no\nPort 2203")
    machine.update(CONFIG, BASE, BASE, theirs)
    order(machine, "restart", "sshd")
    # The agent is the parent of the command that says how the service does.
    with pytest.raises(CommandFailed, match="status -9"):
        machine.settle(health="kill -9 $PPID")
    comes_to_listen(machine, "2201", "2203")
    machine.settle(config=[{"path": CONFIG, "policy": "never"}])
    assert machine.read(CONFIG) == BASE
    comes_to_listen(machine, "2201")
    assert list(machine.settle()["applied"]) == [CONFIG]
    comes_to_listen(machine, "2201", "2203")


def test_a_service_that_is_started_again_and_again_does_not_run(machine: InitMachine) -> None:
    rule = [{"path": THING, "restart": "thing"}]
    machine.lay(THING, KEYS)
    order(machine, "start", "thing")
    machine.update(THING, KEYS, KEYS, KEYS.replace(b"key8=0", b"key8=bad"))
    (how,) = machine.settle(config=rule)["failed"].values()
    assert "again and again" in how
    wait_until(lambda: machine.read("/run/thing.read") == KEYS or None, seconds=10, what="the old one")
    order(machine, "stop", "thing")


def test_what_is_started_early_is_restarted_by_name_only(running: InitMachine) -> None:
    if running.kind is Kind.SYSTEMD:
        # There a drop-in is read before its service is restarted.
        path = "/etc/systemd/system/thing.service.d/more.conf"
        running.lay(THING, KEYS)
        running.lay(path, b"[Unit]\nDescription=old\n")
        running.call("systemctl", "daemon-reload")
        order(running, "start", "thing")
        new = b"[Service]\nEnvironment=MORE=yes\n"
        running.update(path, b"[Unit]\nDescription=old\n", b"[Unit]\nDescription=old\n", new)
        assert list(running.settle()["applied"]) == [path]
        shown = running.call("systemctl", "show", "--property=MainPID", "--value", "thing").stdout.strip()
        assert "MORE=yes" in running.call("cat", f"/proc/{shown}/environ").stdout
    else:
        running.lay(THING, KEYS)
        running.call("rc-update", "add", "thing", "boot")
        order(running, "start", "thing")
        new = KEYS.replace(b"key2=0", b"key2=new")
        running.update(THING, KEYS, KEYS, new)
        assert list(running.settle()["applied"]) == [THING]
        assert running.read("/run/thing.read") == KEYS
