"""A virtual machine that updates itself, and what becomes of it when the power fails on the way."""

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from appliance.channels import STABLE
from appliance.lab import NAMESPACES, Lan, foreign_dhcp, lan, wait_for_port
from appliance.model import Firmware, Tree
from appliance.run import Argument, run, running
from appliance.sandbox import Sandbox
from appliance.vm import Accel, DirectBoot, Vm, VmDisk
from appliance.vm_power import PoweredOn, power_on
from buildfarm import gpkg, index
from buildfarm.pool import Pool
from buildfarm.stage import Stage
from distserver_client.updating import Step
from tests import write_log
from tests.integration.clientyard import AGENT, BOOT, CONF, Machine, Yard, make_yard

PROFILE = "one"
"""Of the yard's farm."""
SERVER = "http://10.77.0.2"
HAND = "10.77.0.9"
"""Of the room in which a disk is looked at without its machine."""
MAC = "52:54:00:77:0c:01"
DISK_BYTES = 1 << 30
UP_SECONDS, STEP_SECONDS = 300.0, 1800.0
"""A host that emulates and does other things as well takes its time."""
BOOT_PACKAGES = ("sys-apps/busybox-", "sys-apps/baselayout-")
ARGUMENTS = "console=ttyS0 root=/dev/vda rootwait ro mitigations=off quiet"
CONSOLE = """#!/bin/sh
# What the agent says is read from outside.
: >>/var/log/distserver-agent.log
/usr/bin/tail -n 0 -F /var/log/distserver-agent.log >/dev/console 2>/dev/null &
"""
MOST_DISKS = 3
"""So many wait to be finished."""
MAKE_IMAGE = """
mount -t tmpfs none "$1"; mkdir "$1/root" "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=$2:$3,upperdir=$1/upper,workdir=$1/work" none "$1/root"
mkfs.ext4 -q -F -d "$1/root" "$4"
"""
LOOK = """
disk=$1 root=$2 out=$3; shift 3
mount -o loop "$disk" "$root"
status=0; "$@" || status=$?
cd "$root"; cp -a --parents etc var/db/pkg var/lib/portage var/lib/distserver "$out"; cd /
umount "$root"
e2fsck -f -n "$disk" || status=9
exit $status
"""
PRIVATE = ("unshare", "--mount", "--propagation=private")
FINISH = f"{AGENT} update && {AGENT} status"
OURS = (CONF % 1).replace("first = 1", "first = mine")
MERGED = (CONF % 2).replace("first = 1", "first = mine")
PASSING = ("resolv.conf", "resolv.conf.eth0", "ld.so.cache", "mtab")
"""Files of /etc that no package and no update makes."""
LEFTOVER = re.compile(r"\._cfg\d|\.part$|\.part-|-MERGING-|\.distserver")
MARKERS = re.compile(rb"^(<{7}|>{7}|\|{7})", re.MULTILINE)


@dataclass(frozen=True)
class Uncut:
    """The update that nothing disturbed: all that was written, and where its steps began."""

    log: Path
    first: int
    """Number of the first entry of the update, and of the first one after it."""
    last: int
    steps: tuple[tuple[str, int], ...]
    """Step -> number of its first entry."""
    etc: dict[str, bytes]

    def step(self, entry: int) -> str:
        return [name for name, first in self.steps if first <= entry][-1]


@dataclass(frozen=True)
class Cut:
    """A disk that lost its power after `entry` entries of the log."""

    entry: int
    step: str
    disk: Path
    in_cache: int
    lost: int
    boot_seconds: float = 0.0
    agent_seconds: float = 0.0
    in_machine: bool = False
    """The machine was left to finish by itself."""


@dataclass(frozen=True)
class Outcome:
    """Of one power cut."""

    entry: int
    """After so many writes and flushes of the whole log."""
    step: str
    in_cache: int
    """So many writes no flush had followed yet; `lost` of them did not come to the disk, one was torn."""
    lost: int
    boot_seconds: float
    finish_seconds: float
    finished_in: str
    """Where the update was finished: the machine, or the disk without it."""
    problems: tuple[str, ...]

    def line(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Lab:
    """A machine at the first release, whose server has the second one."""

    place: Path
    yard: Yard
    net: Lan
    kernel: Path
    accel: Accel = Accel.TCG

    @property
    def image(self) -> Path:
        return self.place / "first.raw"

    def vm(self, disk: Path, log: Path | None = None) -> Vm:
        drive = VmDisk(disk, DISK_BYTES, write_log=log)
        boot = DirectBoot(self.kernel, None, ARGUMENTS)
        vm = Vm("cut", self.place / "vm", Firmware.BIOS, mac=MAC, tap=self.net.taps[0], memory_mb=512)
        return replace(vm, rom=False, disks=(drive,), direct=boot)

    @contextmanager
    def started(self, disk: Path, log: Path | None = None) -> Iterator[PoweredOn]:
        prefix = self.net.exec_prefix("lan")
        with power_on(self.vm(disk, log), accel=self.accel, prefix=prefix) as on:
            on.console.wait_for("distserver: localhost is up", seconds=UP_SECONDS)
            yield on

    def at_release(self, release: str = "") -> re.Pattern[str]:
        return re.compile(f"this machine has release {release or self.yard.second}( now|, which)")

    def order(self, release: str) -> None:
        """Let the channel name this release: forward, or back."""
        desk = self.yard.press.desk()
        said = self.yard.press.channels().get(PROFILE, STABLE)
        if said and said.release == release:
            return
        if release == self.yard.second:
            desk.promote(PROFILE, release, who="test")
        else:
            desk.rollback(PROFILE, release, who="test")

    def round_trip(self) -> Iterator[tuple[str, float, tuple[str, ...]]]:
        """Forward, back and forward again, by the server's word alone: release, seconds, what is wrong."""
        disk = self.place / "round.raw"
        _copy(self.image, disk)
        for release in (self.yard.second, self.yard.first, self.yard.second):
            self.order(release)
            begun = time.monotonic()
            with self.started(disk) as on:
                on.console.wait_for(self.at_release(release), seconds=STEP_SECONDS)
            seconds = round(time.monotonic() - begun, 1)
            yield release, seconds, self.look(disk, f"{AGENT} status", release=release)[1]

    def update(self) -> Uncut:
        """Let the machine start and update itself, by nobody's order; then pull the plug."""
        disk, log = self.place / "uncut.raw", self.place / "uncut.log"
        _copy(self.image, disk)
        log.write_bytes(b"")
        marks: list[tuple[str, int]] = []
        with self.started(disk, log) as on:
            for step in Step:
                on.console.wait_for(f"{self.yard.second}: {step.value}", seconds=STEP_SECONDS)
                marks.append((step.value, log.stat().st_size))
            on.console.wait_for(self.at_release(), seconds=STEP_SECONDS)
            end = log.stat().st_size
        entries = write_log.read(log)
        numbers = [(name, sum(one.end <= size for one in entries)) for name, size in marks]
        last = sum(one.end <= end for one in entries)
        seen, problems = self.look(disk, f"{AGENT} status")
        assert not problems, problems
        return Uncut(log, numbers[0][1], last, tuple(numbers), seen)

    def cuts(self, uncut: Uncut, count: int, seed: int, *, whole: int) -> Iterator[Outcome]:
        """Cut the update `count` times, once in each of so many parts of its writes; see what becomes of it.

        The one of number `whole` is finished by the machine itself; from the others the power is taken once
        more, as soon as the agent goes on, and the disk is finished outside, while the next machine starts.
        """
        chance = random.Random(seed)
        span = uncut.last - uncut.first
        base = self.place / "base.raw"
        _copy(self.image, base)
        replay = write_log.Replay(uncut.log, base)
        with ThreadPoolExecutor(1) as beside:
            left: list[Future[Outcome]] = []
            for number in range(count):
                part = range(uncut.first + number * span // count, uncut.first + (number + 1) * span // count)
                cut = self._cut(uncut, replay, chance.choice(part), chance)
                booted = self._boot(cut, in_machine=number == whole)
                left.append(beside.submit(self._judge, booted, uncut))
                while left and (left[0].done() or len(left) > MOST_DISKS):
                    yield left.pop(0).result()
            yield from (one.result() for one in left)

    def _cut(self, uncut: Uncut, replay: write_log.Replay, cut: int, chance: random.Random) -> Cut:
        """A disk as the power cut left it."""
        disk = self.place / f"cut-{cut}.raw"
        replay.forward(cut)
        _copy(replay.disk, disk)
        loss = write_log.lose(replay.entries, cut, chance)
        replay.finish(disk, loss)
        open_ones = replay.entries[write_log.durable(replay.entries, cut) : cut]
        cached = sum(one.size_bytes > 0 for one in open_ones)
        return Cut(cut, uncut.step(cut), disk, cached, cached - len(loss.kept))

    def _boot(self, cut: Cut, *, in_machine: bool) -> Cut:
        """Start from it until the agent goes on, or is done; then the power fails again."""
        begun = time.monotonic()
        goes_on = re.compile(rf"{self.yard.second}: \w+|{self.at_release().pattern}")
        with self.started(cut.disk) as on:
            booted = time.monotonic()
            on.console.wait_for(self.at_release() if in_machine else goes_on, seconds=STEP_SECONDS)
            os.kill(on.process.pid, signal.SIGKILL)
        seconds = (booted - begun, time.monotonic() - booted)
        return replace(cut, boot_seconds=seconds[0], agent_seconds=seconds[1], in_machine=in_machine)

    def _judge(self, cut: Cut, uncut: Uncut) -> Outcome:
        begun = time.monotonic()
        _, problems = self.look(cut.disk, f"{AGENT} status" if cut.in_machine else FINISH, whole=uncut.etc)
        if not problems:
            cut.disk.unlink()
        return Outcome(
            entry=cut.entry,
            step=cut.step,
            in_cache=cut.in_cache,
            lost=cut.lost,
            boot_seconds=round(cut.boot_seconds, 1),
            finish_seconds=round(cut.agent_seconds + time.monotonic() - begun, 1),
            finished_in="machine" if cut.in_machine else "disk",
            problems=problems,
        )

    def look(
        self, disk: Path, command: str, *, whole: dict[str, bytes] | None = None, release: str = ""
    ) -> tuple[dict[str, bytes], tuple[str, ...]]:
        """Run a command on a disk without its machine; its /etc, and what is not as it is to be."""
        root, out = self.place / "mounted", self.place / f"seen-{disk.stem}"
        shutil.rmtree(out, ignore_errors=True)
        for path in (root, out / "upper"):
            path.mkdir(parents=True, exist_ok=True)
        inside = Sandbox(root, namespace=NAMESPACES / self.net.namespace("hand"))
        argv = [*inside.prefix(), "sh", "-c", BOOT, "boot", "sh", "-c", command]
        look: list[Argument] = ["sh", "-ec", LOOK, "look", disk, root, out / "upper", *argv]
        done = run(look, prefix=PRIVATE, ok=range(256))
        wanted = release or self.yard.second
        problems = [] if not done.status else [f"status {done.status}: {done.stdout[-2000:]}"]
        if f"release {wanted}: current" not in done.stdout:
            problems.append(f"status says: {done.stdout[-500:]}")
        if not replace(self.yard, machine=replace(self.yard.machine, place=out)).has(wanted):
            problems.append("the installed packages are not the release's")
        etc = _files(out / "upper/etc")
        conf = MERGED if wanted == self.yard.second else OURS
        return etc, (*problems, *_torn(etc, whole, conf.encode()))


def _torn(etc: dict[str, bytes], whole: dict[str, bytes] | None, conf: bytes) -> Iterator[str]:
    for name, content in etc.items():
        if LEFTOVER.search(name):
            yield f"/etc/{name} is left over"
        if MARKERS.search(content):
            yield f"/etc/{name} has markers of a merge"
    if etc.get("large.conf") != conf:
        yield f"/etc/large.conf is {etc.get('large.conf')!r}"
    if whole is not None:
        yield from (
            f"/etc/{name} differs" for name in sorted(etc | whole) if etc.get(name) != whole.get(name)
        )


def _files(place: Path) -> dict[str, bytes]:
    """Name -> content, or where a link leads."""
    found = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.name in PASSING:
            continue
        if path.is_symlink():
            found[name] = os.fsencode(path.readlink())
        elif path.is_file():
            found[name] = path.read_bytes()
    return found


def _copy(source: Path, target: Path) -> None:
    run(["cp", "--sparse=always", source, target])


@contextmanager
def make_lab(place: Path, stages: tuple[Stage, Stage], tree: Tree, release: str) -> Iterator[Lab]:
    """`release` of `tree` is one of the example, whose kernel and first process the machine has."""
    build_stage, install_stage = stages
    with ExitStack() as stack:
        made = stack.enter_context(make_yard(place / "yard", build_stage, install_stage))
        net = stack.enter_context(lan("power", clients={"hand": HAND}))
        stack.enter_context(foreign_dhcp(net, place / "dnsmasq.log"))
        press = made.press
        argv: list[Argument] = [sys.executable, "-m", "tests.press_server", press.tree.path, press.site, "80"]
        prefix = ["env", f"PYTHONPATH={':'.join(sys.path)}", *net.exec_prefix("appliance")]
        stack.enter_context(running(argv, prefix=prefix, output=place / "server.log"))
        wait_for_port(net, "appliance", 80, seconds=UP_SECONDS)
        yard = made.another(place / "machine")
        example = tree.room("releases") / release
        _furnish(yard, example, Pool(tree.room("pool")))
        lab = Lab(place, yard, net, example / "kernel")
        lab.image.touch()
        os.truncate(lab.image, DISK_BYTES)
        scratch = place / "scratch"
        scratch.mkdir()
        make: list[Argument] = ["sh", "-ec", MAKE_IMAGE, "image", scratch]
        run([*make, yard.machine.disk, install_stage.root, lab.image], prefix=PRIVATE)
        yield lab


def _furnish(yard: Yard, example: Path, pool: Pool) -> None:
    """What a machine needs to start by itself, and a person's change."""
    machine = yard.machine
    machine.write("etc/distserver/server", f"{SERVER}\n".encode())
    machine.write("etc/large.conf", OURS.encode())
    machine.write("etc/rc.d/00-a-console", CONSOLE.encode(), 0o755)
    machine.write("etc/fstab", b"")
    for fields in index.parse((example / "Packages").read_text()).paragraphs:
        if fields["CPV"].startswith(BOOT_PACKAGES):
            package = pool.file(Path(fields["PATH"]).name.partition(".")[0])
            _unpack(machine, package)


def _unpack(machine: Machine, package: Path) -> None:
    def place_of(name: str) -> Path:
        # A directory in the upper layer would lie over a link like /bin of the stage.
        top, _, rest = name.lstrip("/").partition("/")
        link = machine.stage / top
        return machine.disk / (link.readlink() if link.is_symlink() else top) / rest

    for name, content in gpkg.read_image(package, wanted=lambda name: True):
        place = place_of(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content.read())
        place.chmod(0o755)
    for name, target in gpkg.read_links(package).items():
        place = place_of(name)
        if target and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)


def summary(outcomes: Sequence[Outcome]) -> str:
    bad = [one for one in outcomes if one.problems]
    lost = sum(one.lost for one in outcomes)
    steps = ", ".join(
        f"{name} {sum(one.step == name for one in outcomes)}" for name in (s.value for s in Step)
    )
    return f"{len(outcomes)} cuts, {len(bad)} bad, {lost} writes lost; at {steps}"
