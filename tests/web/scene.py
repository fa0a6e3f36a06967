"""A served web page over a store with what a real one holds, hostile texts included."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from appliance.client_order import Rollout, RolloutState
from appliance.compile_host import CompileHost, HostReport, HostState, punish
from appliance.desks.examinations import Progress
from appliance.edit_model import Change
from appliance.farm_model import FailureKind, FailureRecord, Mask, MaskKind, Package
from appliance.findings import Examined, Finding, Level
from appliance.merge_model import Choice
from appliance.model import Disk, DiskPartition, Event, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.store.consoles import WatchState
from appliance.store.history import Effort, Subject
from appliance.store.jobs import Wanted
from appliance.store.plan_views import PlanRecord
from appliance.webhook_model import Answer, Happening
from buildfarm.complaints import Question, QuestionKind
from buildfarm.decisions import Deed, PlanView, Row
from buildfarm.signing import Signer
from tests.mergeyard import THEIRS, Client, item, post, sha256
from tests.press import Press
from webui.app import make_app
from webui.live import PULSE, Pulse
from webui.server import make_server

MARKUP = '<img src=x onerror="document.title=1">'
"""What a machine may say of itself."""
LONG = "a-name-without-any-place-to-break-it-" * 4
NOW = 1795338000.0
ALIVE_SECONDS = 0.5
GROWING = "build/sys-apps/sed-4.9:20261122-110001.log"
"""The log of a package that is being built by job 2, below ROOM."""
ROOM = f"build-vm-{datetime.fromtimestamp(NOW, UTC):%Y%m%dT%H%M%SZ}"


@dataclass(frozen=True)
class Scene:
    site: Path
    tree: Tree
    url: str = ""
    release: str = ""
    pulse: Pulse | None = None

    def services(self) -> Services:
        return Services(self.site, self.tree)

    def mac(self, number: int) -> str:
        return f"52:54:00:00:00:{number:02x}"

    def add_machine(self, number: int, state: MachineState, name: str = "", problem: str = "") -> None:
        """With facts and a timeline; unknown machines have no profile."""
        old = DiskPartition("/dev/vda1", 1 << 20, 4 << 30, "ntfs", MARKUP)
        disk = Disk("/dev/vda", 8 << 30, "virtio", False, MARKUP, LONG, "dos", (old,))
        facts = Facts(self.mac(number), Firmware.UEFI, 4 << 30, cpu=LONG, vendor=MARKUP, disks=(disk,))
        known = state is not MachineState.DISCOVERED
        release = self.release if state in (MachineState.INSTALLED, MachineState.INSTALLING) else None
        profile = "vm" if known else None
        store = self.services().store
        store.machines.add(Machine(facts.mac, state, name, profile, facts, release, problem))
        for at, stage in enumerate(("discover", "program", "kernel", "plan", "stage")):
            store.events.add(Event(facts.mac, NOW + at, stage, "done", 0.8, 1_000_000, MARKUP))
        store.close()


def set_scene(place: Path) -> Scene:
    site = Path(shutil.copytree(example_site(), place / "site"))
    tree = Tree(place / "state")
    press = Press(tree, site, Signer(tree.room("keys")))
    press.published(b"one")
    scene = Scene(site, tree, release=press.published(b"two").id)
    for number, state in enumerate(MachineState):
        problem = f"no disk is large enough {MARKUP}" if state is MachineState.FAILED else ""
        scene.add_machine(number, state, name=f"host{number}" if number else "", problem=problem)
    watch_console(scene, 5)
    fill_farm(scene.services())
    ask_merges(scene.services(), scene.mac(5))
    report_as_client(scene.services(), scene.mac(4), scene.release)
    return scene


def ask_merges(services: Services, machine: str) -> None:
    """A question that waits, with hostile contents, one that is decided, one that is secret."""
    hostile = f"Port 2222\n# {MARKUP} {LONG}\n\x1b[31m\u202e\n".encode()
    for ours in (b"Port 3333\n", hostile):
        client = Client(services, machine, file=ours)
        client.kept[sha256(ours)] = ours
        client.settle()
        if ours != hostile:
            decided = services.merges.find("open", limit=1)[0].id
            services.merges.decide(decided, Choice.TEXT, THEIRS + hostile, who="web ann", why=MARKUP)
    post(services, machine, item(f"/etc/{MARKUP.replace('/', '')}.conf"), item("/etc/shadow"), whole=False)


def watch_console(scene: Scene, number: int) -> None:
    """A console of the site that is watched and said much."""
    with (scene.site / "appliance.toml").open("a") as file:
        file.write(f'[[machine]]\nmac = "{scene.mac(number)}"\n[machine.console]\npath = "/dev/null"\n')
    services = scene.services()
    services.consoles.watch(scene.mac(number), who="web ann")
    services.store.consoles.add(scene.mac(number), f"\x1b[31m{MARKUP} {LONG}\r\n".encode() * 90)
    services.store.consoles.note(scene.mac(number), WatchState.READING)
    services.store.close()


def report_as_client(services: Services, mac: str, release: str) -> None:
    """An installed machine that has a client, whose update failed and stopped the others."""
    services.store.clients.enrol(mac, "0" * 64, "a request", now=NOW)
    drift = [{"kind": "file", "name": f"/etc/{LONG}", "said": MARKUP}] * 3
    said = {"release": release, "phase": "failed", "said": MARKUP, "kernel": LONG, "facts": {LONG: LONG}}
    for _ in range(2):
        services.desk.clients.report(mac, json.dumps(said | {"drift": drift, "reboot": True}).encode())
    stopped = Rollout("vm", "stable", release, 1, RolloutState.STOPPED, NOW, canaries=(mac,), why=MARKUP)
    services.store.rollouts.put(stopped)


def examine(interface: str, progress: Progress) -> Examined:
    """Findings of every level, one of which holds what a server on the network said."""
    said = f"{LONG} {MARKUP}"
    return Examined(interface, 1, tuple(Finding(level, "a check", said, LONG) for level in Level))


def fill_farm(services: Services) -> None:
    """A build that failed, one that runs, one that waits; questions, a failure, hosts."""
    store = services.store
    failed = store.jobs.start("build", "vm", now=NOW - 900)
    logs = services.tree.room("logs") / "build-vm-20261122T104500Z"
    logs.mkdir()
    (logs / "emerge.out").write_text(f"\x1b[31m{MARKUP}\x1b[0m {LONG}\n" * 2000)
    store.jobs.end(
        failed,
        "failed",
        now=NOW - 600,
        message=f"sys-apps/sed failed {MARKUP}",
        failure="compile",
        log=logs.name,
    )
    runs = store.jobs.start("build", "vm", now=NOW)
    store.jobs.note(runs, "3 of 40 packages")
    log = services.tree.room("logs") / f"{ROOM}/{GROWING}"
    log.parent.mkdir(parents=True)
    log.write_text(f"{MARKUP} {LONG}\n" * 200)
    for cpv, seconds in (("sys-apps/sed-4.8", 40.0), ("sys-apps/sed-4.9", None), (f"app-misc/{LONG}-1", 1.0)):
        store.job_packages.begin(runs, cpv, reused=seconds == 1.0, now=NOW)
        if seconds:
            store.job_packages.end(runs, cpv, "done", seconds=seconds, said="", now=NOW)
    store.job_packages.end(failed, "sys-apps/sed-4.9", "failed", seconds=None, said=MARKUP, now=NOW)
    for seconds in (10.0, 20.0, 12.0):
        store.history.record(Subject("sys-apps/sed"), Effort(seconds, seconds, 1), at=NOW - 5000)
    store.plan_views.put(PlanRecord("vm", "inputs", NOW, "web ann", 60.0, plan_document()))
    made = Package("ab" * 32, "sys-apps/sed-4.8", 1, 5, "k", NOW, "", profile="vm", seconds=40.0)
    store.packages.remember(made, {"ebuild": "1", "USE": f"a {LONG}"})
    store.jobs.wait("build", Wanted("amd64", "inputs", NOW), now=NOW)
    store.questions.update("vm", [("use", "dev-lang/python", f"Which one? {MARKUP}", "python")], now=NOW)
    record = ("vm", "sys-apps/sed-4.9", "k", FailureKind.COMPILE, f"sed.c:1: error {MARKUP}", "", "tail")
    store.failures.add(FailureRecord(*record, 2, NOW - 900, NOW - 600))
    mask = Mask(
        "vm", f"sys-apps/{LONG}", MaskKind.HOLD, (">sys-apps/sed-4.9",), "4.9", NOW, "web ann", MARKUP
    )
    store.masks.put(mask)
    report = HostReport("builder", "x86_64", 8, load=3.0)
    for name, state in (("builder", HostState.READY), ("stranger", HostState.UNKNOWN)):
        seen = services.clock()
        store.compile_hosts.put(CompileHost(name, "192.0.2.7", state, seen_at=seen, report=report))
    odd = replace(report, problem=f"no place is left {MARKUP}", runs={"ab" * 32: 3640})
    liar = CompileHost("liar", "192.0.2.8", HostState.READY, seen_at=services.clock(), report=odd)
    store.compile_hosts.put(punish(liar, f"{LONG} {MARKUP}", now=services.clock()))
    services.examinations.want(who="web ann")
    services.examinations.make_next(["eth0"], examine, seconds=5)
    services.examinations.want(who="web ann")
    hook, _ = services.webhooks.add(f"https://hooks.example/{'long-' * 40}", [one.value for one in Happening])
    services.webhooks.test(hook.id)
    services.webhooks.send_due(lambda url, message, headers: Answer(503, f"{LONG} {MARKUP}"))
    store.compile_hosts.set_ports("liar", {"ab" * 32: 3640})
    clash = Change("vm", "world", b"app-misc/old\n", f"app-misc/new # {MARKUP} {LONG}\n".encode())
    store.edits.want(clash, who="web ann", why=MARKUP, now=NOW)
    services.edits.do_next()


def plan_document() -> object:
    """Of a plan with every deed, one of them with hostile reasons, and a question."""
    rows = tuple(Row(deed, f"app-misc/{LONG}-{deed.value}-1", "0", (MARKUP, LONG), 60.0) for deed in Deed)
    return PlanView(rows, (Question(QuestionKind.USE, "a/b", MARKUP, LONG),), portage="3.0").document()


@contextmanager
def served(scene: Scene) -> Iterator[Scene]:
    """On a free port of this host while the block lasts."""
    app = make_app(scene.services)
    # Who went away is found out when something is written to him, and the end waits for that.
    app.extensions[PULSE].alive_seconds = ALIVE_SECONDS
    server = make_server(app, "127.0.0.1", 0)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.bind_addr[1]}"
        yield replace(scene, url=url, pulse=app.extensions[PULSE])
    finally:
        server.stop()
        thread.join()
