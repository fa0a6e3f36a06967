"""Real firmware, blank disks: machines are installed and asked themselves, or refused and not written to."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from appliance.client_view import ClientView, Verdict, lines
from appliance.deadline import wait_until
from appliance.demo import PROFILE, Scene, blank_machine, serving
from appliance.install import default_name
from appliance.lab import foreign_dhcp, lan
from appliance.model import PC_FIRMWARE, Firmware, MachineState
from appliance.run import run
from appliance.services import Services
from appliance.vm import Accel, VmDisk, make_disk
from appliance.vm_power import PoweredOn, power_on
from tests.e2e.scenes import Built, Installed, own_scene, wait_for_event
from tests.web.conftest import CHROMIUM
from tests.webdoor import COOKIE, begin_session

FIRMWARES = pytest.mark.parametrize("firmware", PC_FIRMWARE, ids=lambda one: one.value)
MIB = 2**20
TWO, SMALL, STRANGER = "52:54:00:77:01:01", "52:54:00:77:01:02", "52:54:00:77:01:03"
SHELL_SECONDS = 60.0
AGENT_SECONDS = 600.0
"""Half a minute after the start it asks, and emulated it takes its time."""


def manifest_packages(built: Built) -> set[str]:
    text = Services(built.site, built.tree).release_desk.manifest(built.release)
    names = [line.split()[1] for line in text.splitlines() if line.startswith("PACKAGE ")]
    return {name.rpartition("-")[0] for name in names}  # without the build id


@FIRMWARES
def test_the_installed_packages_are_those_of_the_release(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    said = installed[firmware].sh("cd /var/db/pkg && echo */*").split()
    assert set(said) == manifest_packages(built)
    assert len(said) >= 12


@FIRMWARES
def test_the_packages_were_compiled_with_the_flags_of_the_profile(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    conf = Services(built.site, built.tree).live.now().profiles["vm"].portage["make.conf"].decode()
    wanted = [line.split('"')[1] for line in conf.splitlines() if line.startswith("CFLAGS=")][-1]
    said = installed[firmware].sh("cat /var/db/pkg/app-misc/hello-*/CFLAGS").strip()
    assert said == wanted


@FIRMWARES
def test_the_programs_run(installed: dict[Firmware, Installed], firmware: Firmware) -> None:
    assert installed[firmware].sh("hello").strip() == "Hello, world!"
    assert "Lua 5.4" in installed[firmware].sh("lua -v 2>&1")


@FIRMWARES
def test_the_running_kernel_is_the_one_of_the_release_and_its_root_is_the_disk(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    machine = installed[firmware]
    ours = run(["sha256sum", built.tree.path / "releases" / built.release / "kernel"]).stdout.split()[0]
    assert machine.sh("sha256sum /boot/vmlinuz").split()[0] == ours
    assert machine.sh("uname -r").strip() in machine.sh("readlink -f /boot/vmlinuz")
    mounts = [line.split() for line in machine.sh("cat /proc/mounts").splitlines()]
    root = next(fields for fields in mounts if fields[1] == "/")
    assert root[2] == "ext4"
    assert "distserver.token" not in machine.sh("cat /proc/cmdline")


@FIRMWARES
def test_the_disk_has_the_layout_of_the_profile(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    layout = Services(built.site, built.tree).live.now().profiles["vm"].disk
    wanted = [part for part in layout.partitions if part.firmware in (None, firmware)]
    table = json.loads(run(["sfdisk", "--json", installed[firmware].vm.disks[0].path]).stdout)[
        "partitiontable"
    ]
    assert table["label"] == "gpt"
    assert [part["name"] for part in table["partitions"]] == [part.name for part in wanted]
    sizes = [part["size"] * table["sectorsize"] for part in table["partitions"]]
    for part, size in zip(wanted[:-1], sizes[:-1], strict=True):
        assert size == part.size_bytes
    disk_bytes = installed[firmware].vm.disks[0].path.stat().st_size
    assert sum(sizes) > disk_bytes - 4 * MIB


@FIRMWARES
def test_the_timeline_tells_every_step_with_seconds(
    installed: dict[Firmware, Installed], firmware: Firmware
) -> None:
    done = {event.stage: event for event in installed[firmware].events if event.status == "done"}
    steps = [
        "partition",
        "filesystems",
        "stage",
        "portage",
        "packages",
        "client",
        "kernel",
        "loader",
        "finish",
    ]
    assert [step for step in steps if step not in done] == []
    # QEMU's BIOS network cards carry iPXE: they come straight to the script.
    way = ("proxy", "program") if firmware is Firmware.UEFI else ()
    first = ("discover", "offer", *way, "script")
    assert [stage for stage in (*first, "kernel", "installer", "plan", "verify") if stage not in done] == []
    assert all(done[step].seconds is not None for step in steps[:-1])
    assert (done["stage"].size_bytes or 0) > MIB


def test_the_unknown_machine_was_discovered_and_matched_before_it_was_armed(
    installed: dict[Firmware, Installed],
) -> None:
    stages = [event.stage for event in installed[Firmware.BIOS].events]
    order = [stages.index(stage) for stage in ("discovered", "assigned", "armed", "partition")]
    assert order == sorted(order)


@FIRMWARES
def test_after_the_installation_the_firmware_asked_again_and_was_sent_to_the_disk(
    installed: dict[Firmware, Installed], firmware: Firmware
) -> None:
    """One power-on: the restart went through the same firmware with the network first."""
    events = installed[firmware].events
    finish = max(n for n, event in enumerate(events) if event.stage == "finish")
    assert any(event.stage == "discover" for event in events[finish:])
    assert [event.stage for event in events].count("partition") == 2  # begin and done, once


@FIRMWARES
def test_the_host_name_is_the_machines(installed: dict[Firmware, Installed], firmware: Firmware) -> None:
    wanted = {Firmware.UEFI: "web1", Firmware.BIOS: "m770002"}
    assert installed[firmware].sh("cat /proc/sys/kernel/hostname").strip() == wanted[firmware]


# What the agent does of itself


@FIRMWARES
def test_an_installed_machine_enrols_by_itself_and_is_known_to_be_current(
    installed: dict[Firmware, Installed], built: Built, firmware: Firmware
) -> None:
    """Nobody did anything on it: the first start from its disk, its own key, the door, a report."""
    machine = installed[firmware]
    services = machine.scene.services()

    def reported() -> ClientView | None:
        view = services.clients.view(services.machine(machine.vm.mac))
        return view if view.reported_at else None

    log = "tail /var/log/distserver-agent.log"
    view = wait_until(reported, seconds=AGENT_SECONDS, what="it reports", last_seen=lambda: machine.sh(log))
    assert view.verdict is Verdict.CURRENT, lines(view, now=services.clock())
    assert (view.release, view.published) == (built.release, built.release)
    assert view.packages == view.release_packages == len(manifest_packages(built))
    show = [sys.executable, "-m", "appliance.cli", "--state", str(machine.scene.tree.path)]
    shown = run([*show, "machine", "show", "--site", machine.scene.site, machine.vm.mac]).stdout
    assert "it is current" in shown
    assert f"has release {built.release}, its channel names {built.release}" in shown
    said = machine.sh("distserver-client status").splitlines()
    assert said == [
        f"release {built.release}: current",
        f"packages of the release: {view.packages}",
    ]
    kept = machine.sh("cd /etc/distserver && stat -c '%a %n' machine.key machine.crt && cat machine.crt")
    assert kept.startswith("600 machine.key\n")
    assert "BEGIN CERTIFICATE" in kept


@FIRMWARES
def test_central_files_are_mounted_before_any_service_runs_and_nobody_changes_them(
    installed: dict[Firmware, Installed], firmware: Firmware
) -> None:
    machine = installed[firmware]
    places = ["/etc/portage", "/var/db/repos/distserver", "/var/db/repos/distserver-client"]
    mounts = [line.split() for line in machine.sh("cat /proc/mounts").splitlines()]
    there = {fields[1]: fields[3].split(",")[0] for fields in mounts if fields[2] == "squashfs"}
    assert there == dict.fromkeys(places, "ro")
    host = machine.machine.name or default_name(machine.vm.mac)
    started = machine.console.rpartition(f"distserver: {host} is up")[0]
    assert [place for place in places if f"mounted {place}" not in started] == []
    # What else /etc/rc starts comes after it, by its name.
    assert machine.sh("ls /etc/rc.d").split()[0] == "00-distserver-central"
    touched = machine.sh(f"touch {' '.join(f'{place}/x' for place in places)} 2>&1; true")
    assert touched.count("Read-only file system") == len(places)
    refused = machine.sh("emerge --sync 2>&1; echo status $?")
    assert "synchronise on the server, with 'distserver sync'" in refused
    assert refused.endswith("status 1\n")


# Machines that must not be written to


@contextmanager
def browser_there(machine: Installed, place: Path) -> Iterator[Page]:
    """Debian's Chromium on the appliance's host, signed in at the web page of the running `up`."""
    words = " ".join(str(word) for word in machine.net.exec_prefix("appliance"))
    program = place / "chromium"
    program.write_text(f'#!/bin/sh\nexec {words} {CHROMIUM} "$@"\n')
    program.chmod(0o755)
    services = machine.scene.services()
    url = f"http://127.0.0.1:{services.live.now().web.port}"
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(base_url=url)
        context.add_cookies([{"name": COOKIE, "value": begin_session(services), "url": url}])
        yield context.new_page()
        browser.close()


def test_what_became_of_the_machines_is_seen_in_a_browser(
    installed: dict[Firmware, Installed], built: Built, tmp_path: Path
) -> None:
    one = installed[Firmware.UEFI]
    with browser_there(one, tmp_path) as page:
        page.goto("/machines?state=installed")
        for machine in installed.values():
            expect(page.locator(f"[id='{machine.vm.mac}']")).to_contain_text(built.release)
        page.get_by_role("link", name="web1", exact=True).click()
        expect(page.locator("h1 .state")).to_have_text("installed")
        expect(page.get_by_role("link", name=built.release).first).to_be_visible()
        steps = page.locator("table.timeline tr")
        for stage in ("plan", "partition", "packages", "finish"):
            step = steps.filter(has=page.get_by_role("rowheader", name=stage, exact=True))
            expect(step.locator("rect.done").first).to_be_visible()
        page.get_by_role("link", name="See the plan and reinstall").click()
        expect(page.get_by_text("/dev/vda1 ESP (64.0 MiB)").first).to_be_visible()  # what is there now
        page.get_by_label("Type web1").fill("another")
        page.get_by_role("button", name="Arm web1").click()
        expect(page.get_by_role("alert")).to_contain_text("was not typed")
        page.goto(f"/release/{built.release}/packages?text=hello")
        expect(page.get_by_text("app-misc/hello").first).to_be_visible()
    assert one.scene.services().machine(one.vm.mac).state is MachineState.INSTALLED


@dataclass(frozen=True)
class Refused:
    scene: Scene
    on: PoweredOn

    def problem(self, mac: str) -> str:
        return self.scene.services().machine(mac).problem

    def untouched(self) -> bool:
        """A raw disk that was never written to has no blocks."""
        return all(disk.path.stat().st_blocks == 0 for disk in self.on.vm.disks)


@pytest.fixture(scope="module")
def refused(built: Built, accel: Accel) -> Iterator[dict[str, Refused]]:
    scene = own_scene(built, "refuse")
    _match_only(scene.site / "profiles" / PROFILE / "profile.toml", "Sun*")
    services = scene.services()
    for mac in (TWO, SMALL):
        services.add_machine(mac, profile=PROFILE)
        services.arm(mac)
    with ExitStack() as stack:
        net = stack.enter_context(lan("no", taps=3))
        stack.enter_context(foreign_dhcp(net, scene.place / "dnsmasq.log"))
        stack.enter_context(serving(scene, net))
        found = {}
        for mac, tap in zip((TWO, SMALL, STRANGER), net.taps, strict=True):
            place = scene.place / mac.replace(":", "")
            vm = blank_machine(place, Firmware.BIOS, mac=mac, tap=tap, disks=2 if mac == TWO else 1)
            if mac == SMALL:
                disk = VmDisk(place / "small.raw", 2**30, serial="SMALL")
                make_disk(disk)
                vm = replace(vm, disks=(disk,))
            on = stack.enter_context(power_on(vm, accel=accel, prefix=net.exec_prefix("lan")))
            found[mac] = Refused(scene, on)
        yield found


def _match_only(file: Path, vendor: str) -> None:
    text = file.read_text()
    assert 'vendor = "QEMU*"' in text
    file.write_text(text.replace('vendor = "QEMU*"', f'vendor = "{vendor}"'))


@pytest.mark.parametrize(
    ("mac", "said"), [(TWO, "2 disks match profile vm"), (SMALL, "/dev/vda")], ids=["two disks", "too small"]
)
def test_a_machine_without_exactly_one_matching_disk_is_refused_and_not_written_to(
    refused: dict[str, Refused], mac: str, said: str
) -> None:
    machine = refused[mac]
    wait_for_event(machine.scene, mac, "plan", "failed", machine.on)
    assert said in machine.problem(mac)
    assert machine.scene.services().machine(mac).state is MachineState.FAILED
    machine.on.console.wait_for("refused", seconds=SHELL_SECONDS)
    machine.on.console.wait_for("#", seconds=SHELL_SECONDS)  # a shell for whoever stands in front of it
    assert machine.untouched()


def test_an_unknown_machine_is_discovered_and_not_written_to(refused: dict[str, Refused]) -> None:
    machine = refused[STRANGER]
    wait_for_event(machine.scene, STRANGER, "discovered", "done", machine.on)
    machine.on.console.wait_for("waiting", seconds=SHELL_SECONDS)
    shown = machine.scene.services().machine(STRANGER)
    assert shown.state is MachineState.DISCOVERED
    assert shown.profile is None
    assert shown.facts is not None
    assert [disk.path for disk in shown.facts.disks] == ["/dev/vda"]
    assert machine.untouched()
