"""The Sun: what its firmware would load from the network is in its drive, and it is told what to boot."""

import json
import shutil
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from appliance import sun_label
from appliance.console import ConsoleFailure
from appliance.deadline import DeadlinePassed, wait_until
from appliance.decision import may_install
from appliance.demo import Scene
from appliance.disk_choice import size_text
from appliance.errors import Problem
from appliance.lab import APPLIANCE_ADDRESS, Lan
from appliance.model import Machine as Known
from appliance.run import Argument, run
from appliance.services import Services
from buildfarm.release import OPEN_FIRMWARE
from tests.five.facts import facts_of
from tests.five.machines import FIVE, Place, Sun
from tests.five.seen import Seen
from tests.integration.rarp_client import load
from tests.sun import machine as sun

FIRMWARE_ROOM = "firmware"
"""The room of the LAN in which the firmware's part is played on the wire."""
KIND = "SUN4U"
DISCOVERY_SECONDS = 1800.0


@dataclass(frozen=True)
class Stage:
    """Where a machine is played, and what it has seen so far."""

    one: Sun
    place: Path
    release: Path
    services: Services
    net: Lan
    run: sun.Run

    def loaded(self, name: str) -> Path:
        """What a Sun's firmware gets on the wire now, as a drive for this one."""
        got = self.place / f"{name}.img"
        load(self.net.namespace(FIRMWARE_ROOM), self.one.mac, kind=KIND, output=got)
        return sun.padded(got, self.place / f"{name}.iso")


def switch_on(name: str, one: Sun, place: Place, *, scene: Scene, net: Lan, release: str) -> Seen:
    """A blank machine, until it started from its own disk or did not."""
    place.directory.mkdir(parents=True)
    there = scene.tree.path / "releases" / release
    # What is unknown gets this one; what is to be installed gets that of its release.
    shutil.copyfile(there / OPEN_FIRMWARE, scene.tree.room("boot") / OPEN_FIRMWARE)
    stage = Stage(one, place.directory, there, scene.services(), net, sun.Run())
    seen = Seen(name, FIVE[name], f"{datetime.now(UTC):%Y-%m-%d}")
    try:
        seen = through(stage, place.tap, seen)
    except (Problem, DeadlinePassed, ConsoleFailure) as failed:
        seen = replace(seen, problem=str(failed).splitlines()[0])
    seen = facts_of(stage.services, one.mac, seen, run_by="tcg")
    print(f"five: {name} {seen.problem or 'started from its disk'}", flush=True)
    phases = tuple((name, round(seconds, 1)) for name, seconds in stage.run.phases)
    return replace(seen, release=release, phases=phases)


def through(stage: Stage, tap: str, seen: Seen) -> Seen:
    """Raises Problem, DeadlinePassed or ConsoleFailure where it does not go on."""
    medium, sums = sun.made_medium(stage.services.tree, stage.release, stage.place)
    started = time.monotonic()
    with stage.run.phase("load"):
        image = stage.loaded("discovery")
    disk = sun.blank_disk(stage.place / "disk.raw")
    prefix = stage.net.exec_prefix("lan")
    machine = sun.Machine(stage.place, disk, image, mac=stage.one.mac, tap=tap, prefix=prefix)
    with stage.run.phase("discovery"):
        discover(stage, machine)
    with stage.run.phase("load"):
        machine = replace(machine, image=stage.loaded("install"), medium=medium)
    if (stage.place / "install.img").read_bytes() != (stage.release / OPEN_FIRMWARE).read_bytes():
        raise Problem("what the server sends by TFTP is not the image of the machine's release")
    sun.install(machine, sums, stage.run)
    seen = replace(seen, layout=layout(disk), packages=sun.packages_of(stage.release))
    machine = replace(machine, medium=None)
    with stage.run.phase("start"):
        sun.start_from_disk(machine)
    seen = replace(seen, total_seconds=time.monotonic() - started, booted_from_disk=True)
    sun.use(machine, stage.release.name)
    return seen


def discover(stage: Stage, machine: sun.Machine) -> None:
    """It tells the server what it is, by its own card, until a rule has given it its profile and armed it."""

    def assigned() -> Known | None:
        known = stage.services.store.machines.get(stage.one.mac)
        return known if known and known.profile == stage.one.profile and may_install(known) else None

    url = f"http://{APPLIANCE_ADDRESS}:{stage.services.live.now().http_port}"
    with machine.switched_on("discovery", f"cdrom distserver={url}") as console:
        what = f"a rule gives {stage.one.mac} the profile {stage.one.profile}"
        wait_until(assigned, seconds=DISCOVERY_SECONDS, what=what, step=2.0, last_seen=console.tail)


def layout(disk: Path) -> tuple[str, ...]:
    """What is on the disk now, as its label and its file systems say it."""
    table = json.loads(run(["sfdisk", "--json", disk]).stdout)["partitiontable"]
    found = []
    for part in table["partitions"]:
        start, size = (part[key] * sun_label.SECTOR for key in ("start", "size"))
        where = ["--offset", str(start), "--size", str(size)]
        match int(part["type"], 16):
            case sun_label.BACKUP:
                continue
            case sun_label.BOOT:
                use = "boot image"
            case _:
                probe: list[Argument] = [
                    "blkid",
                    "--probe",
                    *where,
                    "--output",
                    "value",
                    "--match-tag",
                    "TYPE",
                    disk,
                ]
                kind = run(probe, ok=(0, 2)).stdout.strip()
                use = f"{kind} /" if kind else ""
        found.append(f"/dev/sda{part['node'][-1]} {size_text(size)} {use}".strip())
    return tuple(found)
