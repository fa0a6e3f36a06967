"""Installs a layout with the real installer in a virtual machine, and starts the machine from its disks."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.boards import usual_board
from appliance.client_keys import ClientKeys
from appliance.facts import parse_facts
from appliance.farm_model import Release
from appliance.install import Refused, describe, plan_install, render
from appliance.model import Facts
from appliance.profile_model import Profile, StageSource
from appliance.services import Services
from appliance.vm import DirectBoot, Vm, VmDisk, make_disk
from appliance.vm_power import power_on
from buildfarm.installer import build_installer
from buildfarm.storage import build_storage
from tests.client_yard import ADDRESS, DoorThread, add_machine, open_services
from tests.installer_box import RELEASE, Server, publish
from tests.layouts.catalogue import Layout
from tests.layouts.small_system import modules_archive, small_modules, small_stage
from tests.small_linux import kernel

MAC = "52:54:00:12:34:56"
"""Of QEMU's first card."""
HOST = "10.0.2.2"
"""What QEMU's network calls this host."""
INSTALL_SECONDS = 600.0
BOOT_SECONDS = 240.0
INSTALLED = "installed: restarting from the disk"
ENDED = re.compile(rf"{INSTALLED}|failed after|refused:|cannot be carried")
LEFT_OUT = ("unpack portage.tar", "unpack client.tar", "tree ", "packages ")
"""Lines of a plan that the small system has nothing for."""


class PlanServer(Server):
    """Answers as the boot server does: with the plan that the real planner makes of what the machine says."""

    def __init__(self) -> None:
        super().__init__()
        self.layout: Layout | None = None
        self.plan = ""
        self.described: list[str] = []
        self.facts: Facts | None = None
        self.answers |= {"/hello": "install t0ken\n", "/plan": self.answer_plan, "/enroll": self.answer_enrol}
        self.services: Services | None = None
        self.secret = "s3cret"

    def answer_plan(self, body: str) -> str:
        assert self.layout
        lines = body.split("\n", 1)
        self.facts = parse_facts(lines[1])
        profile = Profile(
            "layout", "", "amd64", "x86_64-pc-linux-gnu", "distserver:amd64", StageSource(""),
            StageSource(""), "", "console=ttyS0", "", {}, (), self.layout.layout,
        )  # fmt: skip
        release = Release(RELEASE, "layout", 1.0, "tiny:0a1b", 3, 100)
        try:
            plan = plan_install(self.facts, profile, release, hostname="layout")
        except Refused as refusal:
            return f"refused {refusal}\n"
        self.described = describe(plan)
        host = f"http://{HOST}:{self.server_port}"
        text = render(plan, report=self.secret, base=f"{host}/r/{RELEASE}", pool=host)
        self.plan = "".join(f"{line}\n" for line in text.splitlines() if not line.startswith(LEFT_OUT))
        return self.plan

    def answer_enrol(self, body: str) -> str:
        assert self.services
        # Each question is answered in a thread of its own.
        own = Services(self.services.live.path, self.services.tree)
        said = own.desk.enroll(body)
        while own.clients.sign_next():
            pass
        own.store.close()
        return said + "\n"

    def is_installing(self) -> None:
        """The machine is known and armed, as far as the store goes."""
        assert self.services
        if self.services.store.machines.get(MAC):
            self.services.store.machines.remove(MAC)
        self.secret = add_machine(self.services, MAC)


@dataclass(frozen=True)
class Yard:
    """What all layouts are installed with: the images, made once."""

    place: Path
    server: PlanServer
    initramfs: Path


@contextmanager
def yard(place: Path, keys: Path) -> Iterator[Yard]:
    """`keys`: the signing keys of the fixture of that name."""
    modules = small_modules(place / "modules")
    storage = place / "storage"
    build_storage(Path("/"), modules, storage)
    services = open_services(place)
    ClientKeys.below(services.tree).keep("lab", (HOST, ADDRESS), group=0)
    with DoorThread(services).open() as door, PlanServer() as server:
        server.services = services
        lay_trust(place / "stage", services.clients.keys.authority, door.port)
        yield from _yard(place, keys, modules, storage, server)


def lay_trust(stage: Path, authority: Path, port: int) -> None:
    """What a release's client.tar lays over the system, and what else enrolling looks for."""
    for name, content in {
        "etc/distserver/ca.crt": authority.read_bytes(),
        "etc/distserver/door-port": f"{port}\n".encode(),
        "usr/sbin/distserver-client": b"#!/bin/sh\n",
        "var/lib/distserver/Packages": b"",
        "usr/lib/ssl/openssl.cnf": Path("/etc/ssl/openssl.cnf").read_bytes(),
    }.items():
        (stage / name).parent.mkdir(parents=True, exist_ok=True)
        (stage / name).write_bytes(content)
    (stage / "usr/sbin/distserver-client").chmod(0o755)


def _yard(place: Path, keys: Path, modules: Path, storage: Path, server: PlanServer) -> Iterator[Yard]:
    stage = small_stage(place / "stage", storage, place / "stage.zst")
    shelf = place / "shelf"
    shelf.mkdir()
    public = (keys / "good.gpg").read_bytes()
    build_installer(Path("/"), None, public, place / "installer", shelf)
    archive = modules_archive(modules, place / "modules.cpio")
    initramfs = place / "initramfs"
    initramfs.write_bytes(archive.read_bytes() + (place / "installer").read_bytes())
    publish(
        server,
        keys,
        place,
        stage=stage.read_bytes(),
        kernel=kernel().read_bytes(),
        storage=storage.read_bytes(),
        bases=b"x",
        more={"portage.sqfs": b"x"},
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield Yard(place, server, initramfs)
    finally:
        server.shutdown()
        thread.join()


def machine(layout: Layout, place: Path) -> Vm:
    """Switched off, with blank disks."""
    disks = tuple(
        VmDisk(place / f"disk{number}.raw", size, serial=f"LAYOUT{number}")
        for number, size in enumerate(layout.disks_bytes)
    )
    for disk in disks:
        make_disk(disk)
    board = usual_board(layout.firmware)
    network = ("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=")
    board = replace(board, extra=(*board.extra, *network, "-no-reboot"))
    return Vm(layout.name, place, layout.firmware, memory_mb=768, board=board, disks=disks)


def install(yard: Yard, layout: Layout, vm: Vm) -> None:
    """Let the installer run until it restarts the machine, which is then off."""
    yard.server.layout = layout
    yard.server.posted.clear()
    yard.server.is_installing()
    arguments = f"console=ttyS0 distserver=http://{HOST}:{yard.server.server_port}"
    with power_on(replace(vm, direct=DirectBoot(kernel(), yard.initramfs, arguments))) as on:
        seen = on.console.wait_for(ENDED, seconds=INSTALL_SECONDS)
        assert seen.text == INSTALLED, vm.transcript.read_text(errors="replace")[-6000:]
        on.wait_for_exit(seconds=60)


def boot(vm: Vm) -> str:
    """What the console of the machine says that started from its disks."""
    before = said(vm)
    with power_on(vm) as on:
        on.console.wait_for(re.compile("layout ends"), seconds=BOOT_SECONDS)
        on.wait_for_exit(seconds=60)
        return said(vm).removeprefix(before)


def said(vm: Vm) -> str:
    """All of its console, of each time that it was switched on."""
    return vm.transcript.read_text(errors="replace") if vm.transcript.exists() else ""


def unseen(layout: Layout, console: str) -> list[str]:
    """What should have been on the console and is not."""
    return [pattern for pattern in layout.seen if not re.search(pattern, console)]


def go_through(yard: Yard, layout: Layout, place: Path) -> Iterator[str]:
    """Install it, start it, and what else the layout is for; says what was done. Raises AssertionError."""
    vm = machine(layout, place)
    install(yard, layout, vm)
    console = boot(vm)
    assert not unseen(layout, console), f"{unseen(layout, console)}\n{console[-4000:]}"
    yield "installed, started from its disks"
    if layout.again:
        assert "home:" not in console
        install(yard, layout, vm)
        assert " keep " in f" {yard.server.plan.replace(chr(10), ' ')}", yard.server.plan
        console = boot(vm)
        assert not unseen(layout, console), console[-4000:]
        assert "home: written by the installed system" in console, console[-4000:]
        yield "installed again, /home is what it was"
    if layout.sealed:
        yield from unlock_in_other_ways(yard, layout, vm)
    for missing in layout.without:
        left = tuple(disk for number, disk in enumerate(vm.disks) if number != missing)
        console = boot(replace(vm, disks=left))
        assert "layout begins" in console
        yield f"started without disk {missing + 1}"


def unlock_in_other_ways(yard: Yard, layout: Layout, vm: Vm) -> Iterator[str]:
    """While its keys are revoked it waits; a person opens it, and the server does once it may again."""
    services = yard.server.services
    assert services
    known = services.machine(MAC)
    phrase = services.disk_keys.recovery(known)["crypt"]
    services.disk_keys.revoke(known, True)
    before = said(vm)
    with power_on(vm) as on:
        on.console.wait_for(re.compile("type the recovery passphrase of crypt"), seconds=BOOT_SECONDS)
        assert "layout begins" not in said(vm).removeprefix(before)
        yield "waits while its keys are revoked"
        services.disk_keys.revoke(known, False)
        on.console.wait_for(re.compile("layout ends"), seconds=BOOT_SECONDS)
        on.wait_for_exit(seconds=60)
        yield "starts once they are allowed again"
    services.disk_keys.revoke(known, True)
    with power_on(vm) as on:
        on.console.wait_for(re.compile("type the recovery passphrase of crypt"), seconds=BOOT_SECONDS)
        on.console.send_line(phrase)
        on.console.wait_for(re.compile("layout ends"), seconds=BOOT_SECONDS)
        on.wait_for_exit(seconds=60)
        yield "starts with the recovery passphrase"
