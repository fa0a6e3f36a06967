"""The agent's units under the inits they are for, each running as the first process of a machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.overlays import overlay
from appliance.run import run
from appliance.sandbox import Overlay, Sandbox
from tests import init_roots
from tests.init_roots import Init, Started, started

SOON_SECONDS = 60.0
EARLY = "/var/early"
"""What is written by the first service that may read /etc/portage and the trees."""
# Once: OpenRC starts again in runlevel default what failed in boot.
READ = f"test -e {EARLY} || cat /etc/portage/make.conf /var/db/repos/tiny/profiles/repo_name >{EARLY}"
SYSTEMD = {
    "etc/systemd/system/early.service": f"""[Unit]
DefaultDependencies=no
After=sysinit.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c "{READ}"
""",
    # As where no cable is plugged in.
    "etc/systemd/system/online.service": "[Unit]\nBefore=network-online.target\n[Service]\nType=oneshot\n"
    "ExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity\n",
    # No minute for tests.
    "etc/systemd/system/distserver-client.service.d/soon.conf": "[Service]\nRestartSec=1\n",
}
# Stand-ins for scripts of Gentoo's OpenRC that Debian's package has under other names.
SERVICE = "#!/sbin/openrc-run\ndepend() {\n\t%s\n}\nstart() {\n\t%s\n}\n"
OPENRC = {
    "etc/init.d/localmount": SERVICE % (":", "true"),
    "etc/init.d/modules": SERVICE % (":", "true"),
    "etc/init.d/bootmisc": SERVICE % ("need localmount", READ),
    "etc/conf.d/distserver-client": "respawn_delay=1\n",
}
RUNLEVELS = {
    "boot": ("localmount", "modules", "bootmisc", "distserver-central"),
    "default": ("distserver-client",),
}


def lay(disk: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_text(text)
        (disk / name).chmod(0o755 if "/init.d/" in name else 0o644)


@pytest.fixture(scope="module", params=list(Init), ids=lambda one: one.name.lower())
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """On, with its services started; nobody answers it: it has no network."""
    place = tmp_path_factory.mktemp("machine")
    disk = place / "upper"
    init_roots.furnish(disk, place)
    if request.param is Init.SYSTEMD:
        lay(disk, SYSTEMD)
        wants = disk / "etc/systemd/system/multi-user.target.wants"
        (wants / "early.service").symlink_to("../early.service")
        (disk / "etc/systemd/system/network-online.target.wants").mkdir()
        (disk / "etc/systemd/system/network-online.target.wants/online.service").symlink_to(
            "../online.service"
        )
    else:
        lay(disk, OPENRC)
        for level in ("sysinit", "boot", "default"):
            below = disk / "etc/runlevels" / level
            below.mkdir(parents=True)
            os.setxattr(below, "trusted.overlay.opaque", b"y")  # nothing of Debian's own
            for name in RUNLEVELS.get(level, ()):
                (below / name).symlink_to(f"/etc/init.d/{name}")
    with started(request.param, place) as on:
        wait_until(lambda: on.agents() or None, seconds=SOON_SECONDS, what="the agent runs")
        yield on


def test_central_files_are_there_before_the_first_service_that_may_need_them(machine: Started) -> None:
    wait_until(
        lambda: not machine.ask("test", "-s", EARLY).status or None,
        seconds=SOON_SECONDS,
        what="the early service ran",
    )
    assert machine.call("cat", EARLY) == "tiny\n" * 2
    mounts = [line.split() for line in machine.call("cat", "/proc/mounts").splitlines()]
    central = {fields[1]: fields[3].split(",") for fields in mounts if fields[2] == "squashfs"}
    assert set(central) == {"/etc/portage", "/var/db/repos/tiny"}
    assert all("ro" in options for options in central.values())


def test_a_machine_without_a_network_comes_up_with_its_services(machine: Started) -> None:
    if machine.init is Init.SYSTEMD:
        wait_until(
            lambda: not machine.ask("systemctl", "is-active", "multi-user.target").status or None,
            seconds=SOON_SECONDS,
            what="multi-user.target is reached",
        )
        for name in ("distserver-central", "distserver-client"):
            assert machine.call("systemctl", "is-active", name).strip() == "active"
        assert machine.call("systemctl", "list-jobs").strip().endswith("No jobs running.")
        return
    wait_until(
        lambda: machine.call("rc-status", "--runlevel").strip() == "default" or None,
        seconds=SOON_SECONDS,
        what="runlevel default is reached",
    )
    for name in ("distserver-central", "distserver-client"):
        assert "started" in machine.call("rc-service", name, "status")


def test_an_agent_that_dies_is_started_again_and_one_that_was_stopped_is_not(machine: Started) -> None:
    (before,) = machine.agents()
    machine.call("kill", "-KILL", str(before))

    def another() -> int | None:
        return next((pid for pid in machine.agents() if pid != before), None)

    after = wait_until(another, seconds=SOON_SECONDS, what="the agent runs again")
    assert machine.agents() == [after]
    service = {Init.SYSTEMD: ("systemctl", "stop", "distserver-client")}.get(
        machine.init, ("rc-service", "distserver-client", "stop")
    )
    machine.call(*service)
    assert machine.agents() == []
    assert "/etc/portage" in machine.call("cat", "/proc/mounts")
    machine.call(
        *service[:1], *(("start", service[2]) if machine.init is Init.SYSTEMD else (service[1], "start"))
    )
    wait_until(lambda: machine.agents() or None, seconds=SOON_SECONDS, what="the agent runs once more")


def test_systemd_finds_nothing_to_complain_of_in_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify`, in a root that has the programs they name."""
    init_roots.furnish(tmp_path / "upper", tmp_path)
    (tmp_path / "work").mkdir()
    inside = Sandbox(
        tmp_path / "root", [Overlay((init_roots.root(),), tmp_path / "upper", tmp_path / "work")]
    )
    units = sorted({one.name for one in overlay("client").rglob("*.service")})
    assert units == ["distserver-central.service", "distserver-client.service", "distserver-report.service"]
    done = run(["systemd-analyze", "verify", "--man=no", *units], prefix=inside.prefix())
    assert done.stdout == ""
