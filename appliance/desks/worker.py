"""A worker on another host: takes jobs from the farm's queue and builds what the farm lacks."""

import hashlib
import http.client
import json
import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.model import Tree
from appliance.queue import WARM, Queue, Workers, open_huey
from appliance.run import run
from appliance.signed import SUM, Request, answer_sum, headers, same
from appliance.wire import plain, restore
from buildfarm.meter import Figures, Meter
from buildfarm.order import Progress
from buildfarm.pool import Pool
from buildfarm.warming import Blob, Bundle, Hands, warm

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
WAIT_SECONDS = 2.0
TIMEOUT_SECONDS = 120.0
CHUNK_BYTES = 1 << 20
EMPTY = hashlib.sha256(b"").hexdigest()
ANY_STATUS = range(-255, 256)
DIE_TOGETHER = ["setpriv", "--pdeathsig", "KILL"]


class Lost(Exception):
    """The job is not this worker's any more."""


def worker_name(host: str = "") -> str:
    """NAME@NONCE: a worker that was started again is another one."""
    name = host or socket.gethostname().partition(".")[0]
    if not name[:1].isalpha():
        raise Problem(
            f"{name!r} is no name for a worker, expected one that begins with a letter", hint="--name"
        )
    return f"{name}@{secrets.token_hex(8)}"


@dataclass(frozen=True)
class Farm:
    """The farm's door as a worker sees it. Every question raises OSError when the door does not answer."""

    url: str
    secret: bytes
    name: str
    clock: Any = time.time

    def ask(self, verb: str, **said: Any) -> dict[str, Any]:
        """A small question; the answer is proven to be the farm's. Raises Lost."""
        body = json.dumps(said).encode()
        request = self._request("POST", f"/farm/{verb}", hashlib.sha256(body).hexdigest())
        return self._told(request, body)

    def push(
        self, job: int, package: Package, parts: Mapping[str, str], figures: Figures, file: Path
    ) -> None:
        """Give a finished package to the farm; giving it twice is harmless."""
        effort = {
            "seconds": figures.seconds,
            "cpu_seconds": figures.cpu_seconds,
            "peak_bytes": figures.peak_bytes,
        }
        said = {"package": plain(package), "parts": dict(parts), "effort": effort}
        raw = json.dumps(said).encode()
        head = b"%08x" % len(raw) + raw
        digest = hashlib.sha256(head)
        for chunk in _chunks(file):
            digest.update(chunk)
        request = self._request("PUT", f"/farm/package/{job}", digest.hexdigest())

        def body() -> Iterator[bytes]:
            yield head
            yield from _chunks(file)

        self._told(request, body(), size=len(head) + file.stat().st_size)

    def fetch(self, path: str, target: Path, sha256: str = "") -> bool:
        """Write a file of the farm; False when it has none. Without a hash somebody else checks it."""
        request = self._request("GET", path, EMPTY)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        connection = self._connect()
        try:
            connection.request(request.method, request.path, headers=headers(request, self.secret))
            answer = connection.getresponse()
            if answer.status == 404:
                return False
            if answer.status != 200:
                raise _refusal(answer.status, answer.read())
            digest = hashlib.sha256()
            with part.open("wb") as sink:
                while chunk := answer.read(CHUNK_BYTES):
                    digest.update(chunk)
                    sink.write(chunk)
            if answer.length or (sha256 and digest.hexdigest() != sha256):
                raise OSError(f"{self.url}{path} came with other bytes than expected")
            part.rename(target)
            return True
        finally:
            connection.close()
            part.unlink(missing_ok=True)

    def _told(self, request: Request, body: Any, *, size: int | None = None) -> dict[str, Any]:
        connection = self._connect()
        sent = headers(request, self.secret) | ({"Content-Length": str(size)} if size is not None else {})
        try:
            connection.request(request.method, request.path, body=body, headers=sent)
            answer = connection.getresponse()
            raw = answer.read()
        except http.client.HTTPException as broken:
            raise OSError(f"{self.url} broke off: {broken!r}") from broken
        finally:
            connection.close()
        proof = answer_sum(self.secret, request.once, answer.status, raw)
        if answer.status == 401:
            raise _refusal(answer.status, raw)
        if not same(answer.getheader(SUM, ""), proof):
            raise Problem(
                f"the answer of {self.url} is not signed by the farm", hint="is it the right server?"
            )
        told: dict[str, Any] = json.loads(raw)
        if answer.status == 409:
            raise Lost(told["error"])
        if answer.status != 200:
            raise Problem(f"the farm refused {request.path}: {told['error']}")
        return told

    def _request(self, method: str, path: str, body: str) -> Request:
        return Request(method, path, self.name, self.clock(), secrets.token_hex(16), body)

    def _connect(self) -> http.client.HTTPConnection:
        place = urlsplit(self.url)
        if place.scheme != "http" or not place.hostname:
            raise Problem(f"{self.url} is no address of a farm, expected http://HOST:PORT")
        return http.client.HTTPConnection(place.hostname, place.port, timeout=TIMEOUT_SECONDS)


@dataclass
class FarmLedger:
    """The farm's ledger as one job of a worker sees it; packages come and go with it."""

    farm: Farm
    job: int
    pool: Pool
    meter: Meter
    pushed: list[str] = field(default_factory=list)

    def known(self, keys: Mapping[str, str]) -> Sequence[Package]:
        """What the farm has, fetched into the pool here; waits while somebody else builds a missing one."""
        idle = threading.Event()
        while True:
            told = self.farm.ask("known", job=self.job, keys=dict(keys))
            if not told["waits_for"]:
                break
            log.info("waiting, %s builds some of the same packages", told["waits_for"])
            idle.wait(WAIT_SECONDS)
        best: dict[str, tuple[tuple[object, ...], Package]] = {}
        for package in (restore(Package, one) for one in told["packages"]):
            rank = (package.build_key in keys, package.built_at, package.sha256)
            if package.cpv not in best or rank > best[package.cpv][0]:
                best[package.cpv] = (rank, package)
        for _, package in best.values():
            self._get(package)
        return [package for _, package in best.values()]

    def forget(self, sha256: str) -> None:
        """The copy here is damaged; the farm finds out for itself about its own."""
        self.pool.file(sha256).unlink(missing_ok=True)

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        # The meter looks once a second: of what was built between two looks only emerge knows the time.
        seen = self.meter.tally.figures().get(package.cpv, Figures(0.0, 0.0, 0, ""))
        figures = replace(seen, seconds=package.seconds or seen.seconds)
        self.farm.push(self.job, package, parts, figures, self.pool.file(package.sha256))
        self.pushed.append(package.cpv)
        log.info("pushed %s", package.cpv)

    def _get(self, package: Package) -> None:
        if self.pool.holds(package.sha256):
            return
        self.pool.path.mkdir(parents=True, exist_ok=True)
        part = self.pool.path / f".{package.sha256}.gpkg.tar"
        if self.farm.fetch(f"/farm/blob/{package.sha256}", part, package.sha256):
            self.pool.add(part)
            part.unlink()


def do_job(farm: Farm, job: int, tree: Tree) -> None:
    """Take one job, build what the farm lacks, say how it went. Raises Lost when it is somebody else's."""
    bundle: Bundle = restore(Bundle, farm.ask("take", job=job)["bundle"])
    with Meter() as meter:
        ledger = FarmLedger(farm, job, Pool(tree.room("pool").resolve()), meter)

        def get(blob: Blob, target: Path) -> None:
            if not farm.fetch(f"/farm/blob/{blob.sha256}", target, blob.sha256):
                raise Lost(f"the farm does not offer {blob.sha256} any more")

        def get_distfiles(names: Sequence[str]) -> None:
            room = tree.room("distfiles").resolve()
            for name in names:
                # Portage compares it with the Manifest before it unpacks it.
                if not (room / name).exists():
                    farm.fetch(f"/farm/distfile/{quote(name)}", room / name)

        def report(progress: Progress) -> None:
            log.info("%s", progress)
            try:
                farm.ask("note", job=job, message=str(progress))
            except OSError as silent:
                log.warning("the farm does not hear: %s", silent)

        try:
            compiled = warm(bundle, tree, Hands(ledger, get, get_distfiles), report)
        except Lost:
            raise
        except Exception as failure:
            farm.ask("end", job=job, state="failed", message=f"{type(failure).__name__}: {failure}")
            raise
    state = "done" if compiled.status == 0 else "failed"
    counts = f"{len(ledger.pushed)} packages built by {farm.name.partition('@')[0]}"
    farm.ask("end", job=job, state=state, message=counts)


class RemoteWorker:
    """Waits at the queue and keeps its leases alive; each job is a process of its own."""

    def __init__(self, farm: Farm, redis: str, tree: Tree, argv: Sequence[str]) -> None:
        """`argv` and a job's number is the program that does one."""
        self.farm = farm
        self.argv = list(argv)
        self._job = 0
        self.huey = open_huey(redis, tree, farm.secret, WARM)
        self.queue = Queue(self.huey, WARM, self._do)
        self.workers = Workers(self.huey, 1)

    def run(self) -> None:
        """Until the process is ended; a job under way ends with it."""
        self._beat()
        self.workers.start()
        idle = threading.Event()
        while True:
            idle.wait(BEAT_SECONDS)
            self._beat()
            self.workers.check_worker_health()

    def _beat(self) -> None:
        try:
            self.farm.ask("beat", job=self._job)
        except (OSError, Problem, Lost) as silent:
            log.warning("the farm at %s: %s", self.farm.url, silent)

    def _do(self, job: int, jobs: int) -> None:
        self._job = job
        try:
            finished = run([*DIE_TOGETHER, *self.argv, str(job)], on_line=_say, ok=ANY_STATUS)
            if finished.status:
                log.warning("job %d ended with status %d", job, finished.status)
        finally:
            self._job = 0


def job_argv(state: Path, farm: Farm, secret: Path) -> list[str]:
    words = [sys.executable, "-m", "appliance.cli", "--state", str(state), "worker", "--server", farm.url]
    return [*words, "--secret", str(secret), "--owner", farm.name, "--job"]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _refusal(status: int, raw: bytes) -> Problem:
    said = raw.decode(errors="replace")[:200]
    if status == 401:
        hint = "compare keys/farm.secret of both hosts and their clocks"
        return Problem(f"the farm does not accept this worker: {said}", hint=hint)
    return Problem(f"the farm answered with status {status}: {said}")


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
