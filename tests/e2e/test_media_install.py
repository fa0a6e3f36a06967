"""Machines without a network card are installed from a CD and a USB stick, by a person at the console."""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.demo import PROFILE, Scene, blank_machine, serving
from appliance.desks.drafts import Wish
from appliance.desks.media import MadeImage
from appliance.errors import Problem
from appliance.facts import parse_facts
from appliance.install import default_name, fingerprint, plan_install, render
from appliance.lab import APPLIANCE_ADDRESS, foreign_dhcp, lan
from appliance.model import PC_FIRMWARE, Firmware, MachineState
from appliance.qmp import control
from appliance.run import run
from appliance.vm import Accel, DirectBoot, Slot, Vm, VmDisk, VmMedium, make_disk
from appliance.vm_power import PoweredOn, power_on
from tests.e2e.scenes import Built, own_scene, wait_for_state

MAC, OTHER_MAC, ONE_MAC = "52:54:00:77:02:01", "52:54:00:77:02:02", "52:54:00:77:02:03"
SERVER = f"http://{APPLIANCE_ADDRESS}"
PROMPT = "type 'install' to begin"
PROMPT_SECONDS, INSTALL_SECONDS, UP_SECONDS, CHECK_SECONDS = 300.0, 1500.0, 300.0, 240.0
SLOTS = {Firmware.BIOS: Slot.CD, Firmware.UEFI: Slot.USB}
FIRMWARES = pytest.mark.parametrize("firmware", PC_FIRMWARE, ids=lambda one: one.value)
MIB = 2**20


@dataclass(frozen=True)
class Media:
    """An appliance and its offline image of the example profile."""

    scene: Scene
    image: MadeImage


@dataclass(frozen=True)
class Done:
    """A machine that was installed and booted from its disk with the medium still in; it is off now."""

    vm: Vm
    console: str
    written_at_prompt: int
    """Blocks of the disk before anybody typed `install`."""

    def read(self, path: str) -> str:
        """A file of the root file system. The machine is off, so nothing is mounted for it."""
        return run(["debugfs", "-R", f"cat {path}", self.root]).stdout.partition("\n")[2]

    def names(self, path: str) -> set[str]:
        lines = run(["debugfs", "-R", f"ls -p {path}", self.root]).stdout.splitlines()
        return {line.split("/")[5] for line in lines if line.startswith("/")} - {".", "..", ""}

    @property
    def root(self) -> str:
        disk = self.vm.disks[0].path
        table = json.loads(run(["sfdisk", "--json", disk]).stdout)["partitiontable"]
        (start,) = [part["start"] for part in table["partitions"] if part["name"] == "root"]
        return f"{disk}?offset={start * 512}"


@pytest.fixture(scope="module")
def media(built: Built) -> Media:
    scene = own_scene(built, "media")
    wish = Wish((PROFILE,), offline=True, server=SERVER, timeout_seconds=2)
    image = scene.services().media.make(wish, scene.place / "offline.iso", who="test")
    assert image.missing == ()
    return Media(scene, image)


def without_network(media: Media, firmware: Firmware) -> Vm:
    """A blank machine with the medium in, which is first in its boot order."""
    vm = blank_machine(media.scene.place / firmware.value, firmware, mac="", tap="")
    # The rule of the profile is for QEMU: nobody's rule is for the other one.
    vendor = "ACME" if firmware is Firmware.BIOS else ""
    return replace(vm, medium=VmMedium(media.image.path, SLOTS[firmware]), vendor=vendor)


def type_on_keyboard(on: PoweredOn, word: str) -> None:
    for key in (*word, "ret"):
        control(on.control, "human-monitor-command", {"command-line": f"sendkey {key}"})


@pytest.fixture(scope="module")
def done(media: Media, accel: Accel) -> dict[Firmware, Done]:
    vms = {firmware: without_network(media, firmware) for firmware in PC_FIRMWARE}
    blocks: dict[Firmware, int] = {}
    with ExitStack() as stack:
        on = {firmware: stack.enter_context(power_on(vm, accel=accel)) for firmware, vm in vms.items()}
        on[Firmware.BIOS].console.wait_for(f"1  {PROFILE}: ", seconds=PROMPT_SECONDS)
        on[Firmware.BIOS].console.send_line("1")
        on[Firmware.UEFI].console.wait_for(f"profile {PROFILE}: ", seconds=PROMPT_SECONDS)
        for firmware, machine in on.items():
            machine.console.wait_for(PROMPT, seconds=PROMPT_SECONDS)
            blocks[firmware] = vms[firmware].disks[0].path.stat().st_blocks
        # Both consoles are asked at once: the serial line, and the screen with its keyboard.
        on[Firmware.BIOS].console.send_line("install")
        type_on_keyboard(on[Firmware.UEFI], "install")
        for machine in on.values():
            machine.console.wait_for("installed: restarting from the disk", seconds=INSTALL_SECONDS)
        for machine in on.values():
            machine.console.wait_for("is up", seconds=UP_SECONDS)
    return {
        firmware: Done(vm, vm.transcript.read_text(errors="replace"), blocks[firmware])
        for firmware, vm in vms.items()
    }


@FIRMWARES
def test_nothing_is_written_before_a_person_says_so(done: dict[Firmware, Done], firmware: Firmware) -> None:
    assert done[firmware].written_at_prompt == 0


@FIRMWARES
def test_the_plan_was_shown_with_what_is_lost(done: dict[Firmware, Done], firmware: Firmware) -> None:
    assert "everything on it is lost" in done[firmware].console.partition(PROMPT)[0]


@FIRMWARES
def test_the_installed_packages_are_those_of_the_release(
    media: Media, done: dict[Firmware, Done], firmware: Firmware
) -> None:
    manifest = media.scene.services().release_desk.manifest(media.image.releases[0][0])
    lines = [line.split()[1] for line in manifest.splitlines() if line.startswith("PACKAGE ")]
    wanted = {name.rpartition("-")[0] for name in lines}
    place = "/var/db/pkg"
    found = {
        f"{group}/{name}"
        for group in done[firmware].names(place)
        for name in done[firmware].names(f"{place}/{group}")
    }
    assert found == wanted
    assert len(found) >= 12


@FIRMWARES
def test_the_plan_was_the_one_the_server_makes_of_the_same_facts(
    media: Media, done: dict[Firmware, Done], firmware: Firmware
) -> None:
    facts = parse_facts(done[firmware].read("/var/lib/distserver/report/facts"))
    services = media.scene.services()
    release = services.store.releases.get(media.image.releases[0][0])
    assert release is not None
    profile = services.live.now().profiles[PROFILE]
    plan = plan_install(facts, profile, release, hostname=default_name(facts.mac))
    text = render(plan, report="x" * 32, base=f"{SERVER}/r/{release.id}", pool=SERVER)
    head = done[firmware].read("/var/lib/distserver/report/head").splitlines()
    assert f"fingerprint {fingerprint(text)}" in head
    assert f"medium {media.image.medium_id}" in head


@FIRMWARES
def test_the_machine_knows_its_server_and_nothing_of_the_medium(
    done: dict[Firmware, Done], firmware: Firmware
) -> None:
    machine = done[firmware]
    assert machine.read("/etc/distserver/server").strip() == SERVER
    assert machine.read("/var/lib/distserver/index/Packages").startswith(f"URI: {SERVER}\n")
    assert "file:///run/medium" not in machine.read("/etc/portage/binrepos.conf")
    assert "/run/medium" not in machine.read("/etc/fstab")


@FIRMWARES
def test_a_machine_with_the_medium_still_in_boots_from_its_disk(
    done: dict[Firmware, Done], firmware: Firmware
) -> None:
    """The medium is first in the boot order; its menu saw what the installer left."""
    _, _, after = done[firmware].console.partition("installed: restarting from the disk")
    assert "Boot the system on the local disk" in after
    assert "distserver: medium" not in after


def test_what_happened_is_reported_as_soon_as_there_is_a_server(
    media: Media, done: dict[Firmware, Done], accel: Accel
) -> None:
    scene, machine = media.scene, done[Firmware.BIOS]
    with ExitStack() as stack:
        net = stack.enter_context(lan("media"))
        stack.enter_context(foreign_dhcp(net, scene.place / "dnsmasq.log"))
        stack.enter_context(serving(scene, net))
        vm = replace(machine.vm, medium=None, mac=MAC, tap=net.taps[0], network_first=False)
        on = stack.enter_context(power_on(vm, accel=accel, prefix=net.exec_prefix("lan")))
        found = wait_for_state(scene, MAC, MachineState.INSTALLED, on)
    assert (found.profile, found.release) == (PROFILE, media.image.releases[0][0])
    events = [event for _, event in scene.services().store.events.after(MAC)]
    steps = {event.stage: event for event in events if event.status == "done"}
    wanted = (
        "verify",
        "partition",
        "filesystems",
        "stage",
        "packages",
        "client",
        "kernel",
        "loader",
        "finish",
    )
    assert [step for step in wanted if step not in steps] == []
    assert (steps["stage"].size_bytes or 0) > MIB
    assert all(steps[step].seconds is not None for step in wanted)


def test_on_an_online_stick_a_profile_is_chosen_at_the_console_and_nothing_else_happens(
    media: Media, accel: Accel
) -> None:
    scene = media.scene
    wish = Wish((PROFILE,), server=SERVER, timeout_seconds=2)
    image = scene.services().media.make(wish, scene.place / "online.iso", who="test").path
    assert image.stat().st_size < 64 * MIB
    with ExitStack() as stack:
        net = stack.enter_context(lan("media"))
        stack.enter_context(foreign_dhcp(net, scene.place / "dnsmasq.log"))
        stack.enter_context(serving(scene, net))
        vm = blank_machine(scene.place / "online", Firmware.BIOS, mac=OTHER_MAC, tap=net.taps[0])
        vm = replace(vm, medium=VmMedium(image, Slot.USB), vendor="ACME")
        on = stack.enter_context(power_on(vm, accel=accel, prefix=net.exec_prefix("lan")))
        on.console.wait_for(f"1  {PROFILE}: ", seconds=PROMPT_SECONDS)
        assert scene.services().machine(OTHER_MAC).state is MachineState.DISCOVERED
        on.console.send_line(PROFILE)
        machine = wait_for_state(scene, OTHER_MAC, MachineState.ASSIGNED, on)
        on.console.wait_for("not armed", seconds=PROMPT_SECONDS)
    assert machine.profile == PROFILE
    assert machine.facts is not None
    # The stick is no disk to install on.
    assert [disk.path for disk in machine.facts.disks] == ["/dev/vda"]
    assert vm.disks[0].path.stat().st_blocks == 0


# What must not be installed from


@pytest.fixture
def place(media: Media, tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    shutil.rmtree(tmp_path)


def started(media: Media, place: Path, image: Path, *, disk_bytes: int = 4 * 2**30) -> Vm:
    """A blank machine that a loader started the installer of this medium on."""
    sealed = media.scene.tree.path / "releases" / media.image.releases[0][0]
    arguments = f"console=ttyS0 mitigations=off distserver.medium={media.image.medium_id} distserver={SERVER}"
    disk = VmDisk(place / "disk.raw", disk_bytes, serial="DISK0")
    make_disk(disk)
    direct = DirectBoot(sealed / "kernel", sealed / "installer", f"{arguments} distserver.offline=1")
    cd = VmMedium(image, Slot.CD)
    return Vm("bad", place, Firmware.BIOS, disks=(disk,), medium=cd, medium_first=False, direct=direct)


def refused(on: PoweredOn, said: str) -> None:
    """The installer ends with these words and a shell, and nothing is on the disk."""
    on.console.wait_for(PROMPT, seconds=PROMPT_SECONDS)
    on.console.send_line("install")
    on.console.wait_for(said, seconds=CHECK_SECONDS)
    on.console.wait_for("this machine is not installed", seconds=CHECK_SECONDS)
    assert on.vm.disks[0].path.stat().st_blocks == 0


def test_an_image_for_one_machine_asks_nobody_but_a_flipped_byte_in_a_package_stops_it(
    media: Media, place: Path, accel: Accel
) -> None:
    services = media.scene.services()
    services.add_machine(ONE_MAC, profile=PROFILE, name="web9")
    made = services.media.make(
        Wish((PROFILE,), offline=True, machine="web9", server=SERVER), place / "web9.iso", who="test"
    )
    manifest = services.release_desk.manifest(made.releases[0][0])
    (line,) = [line for line in manifest.splitlines() if line.startswith("PACKAGE sys-apps/less-")]
    name, digest = line.split()[1], line.split()[4]
    package = (media.scene.tree.path / "pool" / digest[:2] / f"{digest}.gpkg.tar").read_bytes()
    data = bytearray(made.path.read_bytes())
    data[data.index(package) + len(package) // 2] ^= 1
    made.path.write_bytes(data)
    with lan("flip") as net:
        vm = replace(started(replace(media, image=made), place, made.path), mac=ONE_MAC, tap=net.taps[0])
        with power_on(vm, accel=accel, prefix=net.exec_prefix("lan")) as on:
            on.console.wait_for("nobody is asked", seconds=PROMPT_SECONDS)
            on.console.wait_for(
                f"{name} is not what the release says: nothing was written", seconds=CHECK_SECONDS
            )
            on.console.wait_for("this machine is not installed", seconds=CHECK_SECONDS)
    assert vm.disks[0].path.stat().st_blocks == 0


def test_an_image_that_was_cut_short_is_named_and_nothing_is_written(
    media: Media, place: Path, accel: Accel
) -> None:
    stage = media.scene.tree.path / "releases" / media.image.releases[0][0] / "stage"
    data = media.image.path.read_bytes()
    image = place / "short.iso"
    image.write_bytes(data[: data.index(stage.read_bytes()) + stage.stat().st_size // 2 // 2048 * 2048])
    with power_on(started(media, place, image), accel=accel) as on:
        refused(on, "cannot be read from the medium: it is damaged or cut short; write it again")


def test_a_stick_that_was_pulled_is_said_to_be_and_nothing_is_written(
    media: Media, place: Path, accel: Accel
) -> None:
    vm = started(media, place, media.image.path)
    with power_on(replace(vm, medium=VmMedium(media.image.path, Slot.USB)), accel=accel) as on:
        on.console.wait_for(PROMPT, seconds=PROMPT_SECONDS)
        on.take_medium_out()
        on.console.send_line("install")
        on.console.wait_for(f"the medium {media.image.medium_id} was taken out", seconds=CHECK_SECONDS)
        on.console.wait_for("this machine is not installed", seconds=CHECK_SECONDS)
    assert vm.disks[0].path.stat().st_blocks == 0


def test_a_disk_that_the_release_does_not_fit_on_is_not_written_to(
    media: Media, place: Path, accel: Accel
) -> None:
    scene = media.scene
    site = place / "site"
    shutil.copytree(scene.site, site)
    file = site / "profiles" / "amd64" / "profile.toml"
    text = file.read_text()
    assert 'min_size = "2 GiB"' in text
    file.write_text(text.replace('min_size = "2 GiB"', 'min_size = "64 MiB"'))
    wish = Wish((PROFILE,), offline=True, server=SERVER)
    made = replace(scene, site=site).services().media.make(wish, place / "small.iso", who="test")
    small = replace(media, image=made)
    with power_on(started(small, place, made.path, disk_bytes=120 * MIB), accel=accel) as on:
        refused(on, "the disk is too small: the release needs at least")


def test_the_rescue_shell_writes_nothing(media: Media, place: Path, accel: Accel) -> None:
    vm = started(media, place, media.image.path)
    assert vm.direct is not None
    direct = replace(vm.direct, arguments=f"{vm.direct.arguments} distserver.mode=rescue")
    with power_on(replace(vm, direct=direct), accel=accel) as on:
        on.console.wait_for("rescue: a shell on every console", seconds=PROMPT_SECONDS)
        on.console.wait_for_shell(seconds=PROMPT_SECONDS)
        assert "/dev/vda" in on.console.succeed("fdisk -l /dev/vda")
        mounts = on.console.succeed("cat /proc/mounts").splitlines()
        assert [line for line in mounts if line.startswith("/dev/")] == []
    assert vm.disks[0].path.stat().st_blocks == 0


def test_a_profile_without_a_release_gets_no_image(media: Media, place: Path) -> None:
    site = place / "site"
    shutil.copytree(media.scene.site, site)
    (site / "profiles" / "other").mkdir()
    (site / "profiles" / "other" / "profile.toml").write_text(
        'description = "not built"\nparent = ["amd64"]\n'
    )
    desk = replace(media.scene, site=site).services().media
    with pytest.raises(Problem, match="other"):
        desk.make(Wish(("other",), offline=True, server=SERVER), place / "x.iso", who="test")
    assert not (place / "x.iso").exists()
