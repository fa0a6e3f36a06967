"""Simulated agents against one door: their talk and decisions are the agent's own, the work is not."""

import contextlib
import heapq
import os
import random
import re
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.channels import STABLE
from appliance.client_keys import ClientKeys
from appliance.client_order import Rollout
from appliance.client_tending import lead, sign_all
from appliance.deadline import wait_until
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import running
from appliance.services import Services
from buildfarm.signing import Signer
from distserver_client import updating
from distserver_client.errors import Problem
from distserver_client.journal import State
from distserver_client.report import Phase, Report
from distserver_client.server import Door
from distserver_client.talking import Identity, Talk, pause
from distserver_client.updating import Go
from tests.client_yard import ADDRESS, settle
from tests.clock import Clock
from tests.press import Press

WORKERS = 8
LONGEST_WAIT_SECONDS = 2.0
"""Agents ask again sooner than they are told, so that a day passes in seconds."""
PORT = re.compile(r"port ([0-9]+)\n")
SETTINGS = '\n[client]\nspread = "3 s"\n\n[release]\ncanary = "5 %"\n'


@dataclass
class SimulatedAgent:
    """An installed machine that has no packages."""

    identity: Identity
    source: str
    state: State
    failures: int = 0
    orders: int = 0
    away: int = 0

    def look(self, draw: float) -> float:
        """One turn of the agent's loop; seconds until the next."""
        talk = Talk(self.identity, source=self.source)
        try:
            talk.tend()
            door = Door(talk)
            order = door.order()
            self.orders += 1
            decided = updating.decide(self.state, None, order)
            why = "" if isinstance(decided, Go) else decided.why
            if isinstance(decided, Go):
                self.pretend_to_install(decided.journal.target)
            door.report(Report(self.state.release, Phase.WAITING if why else Phase.CURRENT, packages=3))
            self.failures = 0
            return door.again_seconds() or LONGEST_WAIT_SECONDS
        except Problem:
            self.failures += 1
            self.away += 1
            return pause(self.failures, draw)

    def pretend_to_install(self, release: str) -> None:
        """Nothing is fetched and nothing is installed: the machine says that it has the release."""
        self.state = State(release)


@dataclass(frozen=True)
class Memory:
    """Of the server's process, in octets."""

    now: int
    most: int


@dataclass
class Fleet:
    services: Services
    press: Press
    process: int
    port: int
    agents: list[SimulatedAgent] = field(default_factory=list)

    def memory(self) -> Memory:
        text = Path(f"/proc/{self.process}/status").read_text()
        found = {name: int(size) * 1024 for name, size in re.findall(r"(Vm\w+):\s+([0-9]+) kB", text)}
        return Memory(found["VmRSS"], found["VmHWM"])

    def cpu_seconds(self) -> float:
        """Of the server's process, proc_pid_stat(5): utime and stime."""
        words = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def publish(self, content: bytes) -> str:
        """A release that every machine is to get."""
        self.press.clock.now = time.time()
        sealed = self.press.release(content)
        self.press.desk().publish(sealed)
        return sealed.id

    def install(self, count: int, release: str, place: Path) -> None:
        """So many machines that have a release and a key, each at an address of its own."""
        for number in range(count):
            mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
            identity = settle(self.services, mac, place, self.port)
            source = f"127.0.{1 + number // 250}.{1 + number % 250}"
            self.agents.append(SimulatedAgent(identity, source, State(release)))

    def converge(self, release: str, *, seconds: float) -> float:
        """Let all agents run until each has a release and the server knows it; how long that took."""
        began, stop = time.monotonic(), threading.Event()
        due = [(began, number) for number in range(len(self.agents))]
        lock = threading.Lock()
        threads = [threading.Thread(target=self._work, args=(due, lock, stop)) for _ in range(WORKERS)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: self._have(release), seconds=seconds, what=f"all have {release}")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        return time.monotonic() - began

    def rollout(self) -> Rollout | None:
        return self.services.store.rollouts.get("vm", STABLE)

    def _have(self, release: str) -> bool | None:
        """What the farm does meanwhile happens here."""
        sign_all(self.services)
        lead(self.services)
        known = self.services.store.clients.standings("vm")
        done = [one for one in known if one.release == release and one.current]
        return len(done) == len(self.agents) or None

    def _work(self, due: list[tuple[float, int]], lock: threading.Lock, stop: threading.Event) -> None:
        """Take the agent whose turn comes first, again and again."""
        chance = random.Random(threading.get_ident())
        while not stop.is_set():
            with lock:
                at, number = heapq.heappop(due) if due else (time.monotonic() + 0.05, -1)
            if stop.wait(max(0.0, at - time.monotonic())) or number < 0:
                continue
            wait = min(self.agents[number].look(chance.random()), LONGEST_WAIT_SECONDS)
            with lock:
                heapq.heappush(due, (time.monotonic() + wait * (0.5 + chance.random() / 2), number))


@contextlib.contextmanager
def fleet(place: Path) -> Iterator[Fleet]:
    """A served door, and nobody who comes to it yet."""
    site, tree = Path(shutil.copytree(example_site(), place / "site")), Tree(place / "state")
    with (site / "profiles/vm/profile.toml").open("a") as profile:
        profile.write(SETTINGS)
    press = Press(tree, site, Signer(tree.room("keys")), Clock(time.time()))
    services = Services(site, tree)
    ClientKeys.below(tree).keep("lab", (ADDRESS,), group=0)
    with serving(site, tree, place / "door.log") as (process, port):
        yield Fleet(services, press, process, port)


@contextlib.contextmanager
def serving(site: Path, tree: Tree, said: Path) -> Iterator[tuple[int, int]]:
    """(process, port) of a door; what it says goes into a file."""
    with running([sys.executable, "-m", "tests.client_server", site, tree.path], output=said) as child:
        port = wait_until(
            lambda: PORT.search(said.read_text()),
            seconds=60.0,
            what="the door is open",
            last_seen=said.read_text,
        )
        yield child.pid, int(port[1])
