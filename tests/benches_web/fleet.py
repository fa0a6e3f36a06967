"""A generated state: a site of ten profiles, 10,000 machines, 1,000 releases with their packages."""

import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.channels import STABLE, Channels
from appliance.compile_host import CompileHost, HostReport, HostState
from appliance.desks.mover import Mover
from appliance.farm_model import FailureKind, FailureRecord, Origin, Release
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store import Store
from appliance.store.jobs import Wanted
from buildfarm.signing import Signer

MACHINES, RELEASES, PROFILES, PACKAGES = 10_000, 1_000, 10, 500
NOW = 1795338000.0
PROFILE = 'parent = ["vm"]\ndescription = "machines of kind {name}"\n'
STATES = (MachineState.INSTALLED,) * 90 + tuple(MachineState)


@dataclass(frozen=True)
class Fleet:
    site: Path
    tree: Tree

    def services(self) -> Services:
        return Services(self.site, self.tree)


def make_fleet(place: Path) -> Fleet:
    """Some seconds of work; the same each time."""
    site = Path(shutil.copytree(example_site(), place / "site"))
    names = [f"kind{number}" for number in range(PROFILES)]
    for name in names:
        (site / "profiles" / name).mkdir()
        (site / "profiles" / name / "profile.toml").write_text(PROFILE.format(name=name))
    fleet = Fleet(site, Tree(place / "state"))
    services = fleet.services()
    dice = random.Random(6)
    with services.store.database.change():
        newest = [add_release(services.store, fleet.tree, number, names) for number in range(RELEASES)]
        for number in range(MACHINES):
            add_machine(services.store, number, dice, names, newest[-PROFILES * 5 :])
        fill_farm(services.store, names)
    publish(fleet, services.store, newest[-PROFILES:])
    services.store.database.execute("ANALYZE")
    services.store.close()
    return fleet


def add_release(store: Store, tree: Tree, number: int, names: list[str]) -> Release:
    profile = names[number % PROFILES]
    release = Release(
        f"20260101-{number:012x}", profile, NOW - (RELEASES - number) * 3600, "gentoo:1", PACKAGES, 1 << 30
    )
    origins = [
        Origin(
            f"{number % 50:08x}{package:056x}",
            f"app-misc/p{package}-1",
            "built" if package % 9 else "reused",
            profile,
        )
        for package in range(PACKAGES)
    ]
    store.releases.add(release, origins)
    room = tree.room("releases") / release.id
    room.mkdir()
    (room / "manifest").write_text(f"FILE stage 1 SHA256 0\nFILE kernel {number // 30} SHA256 0\n")
    return release


def add_machine(
    store: Store, number: int, dice: random.Random, names: list[str], releases: list[Release]
) -> None:
    mac = (
        f"52:54:{number >> 24 & 255:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    )
    disks = tuple(
        Disk(
            f"/dev/nvme{one}n1", 1 << 40, "nvme", serial=f"S{number}-{one}", model="A disk of some vendor 1TB"
        )
        for one in range(2)
    )
    facts = Facts(
        mac,
        Firmware.UEFI,
        64 << 30,
        cpu="A processor of 16 cores",
        vendor="Vendor",
        product="Rack 1U",
        disks=disks,
    )
    state = dice.choice(STATES)
    release = dice.choice(releases)
    known = state is not MachineState.DISCOVERED
    problem = "step packages failed: no space left on the device" if state is MachineState.FAILED else ""
    profile = release.profile if known else None
    store.machines.add(
        Machine(mac, state, f"node{number}", profile, facts, release.id if known else None, problem)
    )


def fill_farm(store: Store, names: list[str]) -> None:
    store.jobs.start("build", names[0], now=NOW)
    for name in names[1:]:
        store.jobs.wait("build", Wanted(name, "inputs", NOW), now=NOW)
        question = [("use", f"dev-libs/q{one}", "Which one?", "this one") for one in range(20)]
        store.questions.update(name, question, now=NOW)
        for one in range(50):
            record = FailureRecord(
                name,
                f"app-misc/p{one}-1",
                "k",
                FailureKind.COMPILE,
                "error: x",
                "",
                "tail\n" * 400,
                1,
                NOW,
                NOW + one,
            )
            store.failures.add(record)
    for number in range(50):
        name = f"host{number}"
        report = HostReport(name, "x86_64", 16, load=4.0)
        store.compile_hosts.put(CompileHost(name, "192.0.2.1", HostState.READY, seen_at=NOW, report=report))


def publish(fleet: Fleet, store: Store, releases: list[Release]) -> None:
    signer = Signer(fleet.tree.room("keys"))
    channels = Channels(fleet.tree.path / "channels", signer.signed_text)
    mover = Mover(channels, store, signer, lambda: NOW)
    for release in releases:
        with channels.lock():
            mover.move(release.profile, STABLE, release.id, kind="publish", who="bench", why="made")
