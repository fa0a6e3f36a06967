"""A worker on another host: real Portage builds there, the farm only merges what it pushed."""

import http.client
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from appliance.deadline import wait_until
from appliance.desks.remote import LEASE_SECONDS, RemoteDesk
from appliance.desks.worker import Farm, Lost
from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.model import Tree
from appliance.queue import WARM, Queue, farm_secret, open_huey
from appliance.run import run, running
from appliance.signed import Request, headers
from appliance.store import Store
from appliance.store.jobs import Wanted
from buildfarm import index
from buildfarm.build import build_profile
from buildfarm.key import Recipe, build_key
from buildfarm.meter import Figures
from buildfarm.pool import sums
from buildfarm.stage import Stage
from tests.integration.backlogyard import door
from tests.integration.farmyard import Farmyard
from tests.integration.test_backlog import redis_server
from tests.integration.test_farm import ALL, DEADLINE_SECONDS, WITNESS

GPKG = Path(__file__).resolve().parents[1] / "data/portage/witness-1-1.gpkg.tar"
LISTING = GPKG.with_name("Packages")
PARTS = {"ebuild": "0" * 64}
NOTHING = Figures(1.0, 1.0, 1, "")


@contextmanager
def worker(state: Path, url: str, redis: str, secret: Path) -> Iterator[int]:
    """`distserver worker` while the block lasts; its PID."""
    argv: list[str | Path] = [sys.executable, "-m", "appliance.cli", "--state", state, "worker"]
    options: list[str | Path] = ["--server", url, "--redis", redis, "--secret", secret, "--name", "builder2"]
    state.mkdir(exist_ok=True)
    with running([*argv, *options], output=state / "worker.log") as child:
        yield child.pid


def test_what_a_worker_builds_is_only_merged_by_the_farm(
    tmp_path: Path, build_stage: Stage, install_stage: Stage
) -> None:
    yard = Farmyard.make(tmp_path / "server", build_stage, install_stage)
    (yard.path / "site/profiles/one").mkdir(parents=True)
    store = Store(yard.tree.store)
    desk = RemoteDesk(store, yard.tree, time.time)
    farm_secret(yard.tree)
    secret = Path(shutil.copy(yard.tree.path / "keys/farm.secret", tmp_path / "farm.secret"))
    state = tmp_path / "worker"
    (state / "distfiles").mkdir(parents=True)
    hold = state / "distfiles/hold"
    hold.touch()

    def give(queue: Queue, inputs: str) -> int:
        job = store.jobs.wait(WARM, Wanted("one", inputs, 0.0), now=time.time())
        desk.prepare(job, yard.site(), yard.profile(), lambda progress: None, yard.tools())
        queue.put(job, 0, priority=0)
        return job

    def ends(job: int, wanted: str) -> None:
        def ended() -> bool | None:
            found = store.jobs.get(job)
            return (found is not None and found.state == wanted) or None

        def said() -> str:
            logs = (state / "worker.log").read_text() + (yard.path / "door.log").read_text()
            return f"{store.jobs.get(job)}\n{logs}"

        wait_until(ended, seconds=DEADLINE_SECONDS, what=f"the job is {wanted}", last_seen=said)

    with redis_server(tmp_path) as redis, door(yard.path) as url:
        huey = open_huey(redis, yard.tree, farm_secret(yard.tree), WARM)
        queue = Queue(huey, WARM, lambda job, jobs: None)
        first = give(queue, "x")
        with worker(state, url, redis, secret) as pid:
            listing = state / "roots/one/attempt/pkgdir/Packages"

            def listed() -> bool | None:
                return (listing.exists() and WITNESS in listing.read_text()) or None

            def said() -> str:
                return (state / "worker.log").read_text()

            wait_until(listed, seconds=DEADLINE_SECONDS, what="the witness is built", last_seen=said)
            assert store.workers.alive(now=time.time()) == ["builder2"]
            os.kill(pid, signal.SIGKILL)
        hold.unlink()
        # Nobody else is told before the lease is over; then the farm does not wait for it any more.
        assert store.jobs.interrupt_dead(now=time.time()) == []
        later = time.time() + LEASE_SECONDS + 1
        assert [job.id for job in store.jobs.interrupt_dead(now=later)] == [first]
        built_before = time.time()
        second = give(queue, "y")
        with worker(state, url, redis, secret):
            ends(second, "done")
    known = {package.cpv: package for package in store.packages.find("witness") + store.packages.find("slow")}
    assert known[WITNESS].built_at <= built_before < known["app-misc/slow-1"].built_at
    assert store.history.database.rows("SELECT name FROM effort WHERE name = 'app-misc/slow' AND seconds > 0")
    site = yard.site()
    result = build_profile(
        site, site.profiles["one"], yard.tree, store.packages, lambda progress: None, tools=yard.tools()
    )
    assert result.reasons == ()
    assert result.release
    assert result.built == ()
    assert sorted(result.reused) == ALL


@dataclass(frozen=True)
class Opened:
    """A farm's door, a job that `farm` has taken, and a real package."""

    farm: Farm
    tree: Tree
    store: Store
    job: int
    package: Package


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    path = tmp_path_factory.mktemp("door")
    tree = Tree(path / "state")
    store = Store(tree.store)
    (tree.room("distfiles") / "a-1.tar.gz").write_bytes(b"source")
    (tree.room("keys") / "private").write_bytes(b"a key")
    job = store.jobs.wait(WARM, Wanted("one", "x", 0.0), now=0.0)
    (tree.room("orders") / f"{job}.bundle").write_text('{"some": "bundle"}')
    with door(path) as url:
        farm = Farm(url, farm_secret(tree), "builder2@1")
        assert farm.ask("take", job=job) == {"bundle": {"some": "bundle"}}
        (fields,) = (one for one in index.parse(LISTING.read_text()).paragraphs if one["CPV"] == WITNESS)
        entry = index.without_path(fields, sums(GPKG).fields())
        package = Package(
            sha256=sums(GPKG).sha256,
            cpv=fields["CPV"],
            build_id=1,
            size_bytes=GPKG.stat().st_size,
            build_key=build_key(Recipe(fields["CPV"], PARTS)),
            built_at=float(fields["BUILD_TIME"]),
            index_entry=entry,
        )
        yield Opened(farm, tree, store, job, package)


def test_a_finished_package_enters_the_pool_and_again_changes_nothing(opened: Opened) -> None:
    for _ in range(2):
        opened.farm.push(opened.job, opened.package, PARTS, NOTHING, GPKG)
    told = opened.farm.ask("known", job=opened.job, keys={opened.package.build_key: ""})
    assert [one["sha256"] for one in told["packages"]] == [opened.package.sha256]
    copy = opened.tree.path / "copy"
    assert opened.farm.fetch(f"/farm/blob/{opened.package.sha256}", copy, opened.package.sha256)
    assert copy.read_bytes() == GPKG.read_bytes()
    assert list((opened.tree.path / "pool/.incoming").iterdir()) == []


def test_a_package_that_is_not_what_it_is_said_to_be_is_refused(opened: Opened, tmp_path: Path) -> None:
    whole = GPKG.read_bytes()
    altered = tmp_path / "altered.gpkg.tar"
    place = whole.index(b"image.tar") + 612
    altered.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    cut = tmp_path / "cut.gpkg.tar"
    cut.write_bytes(whole[: len(whole) // 2])
    another = build_key(Recipe("app-misc/other-1", PARTS))
    other = replace(opened.package, cpv="app-misc/other-1", build_key=another)
    wrong = [
        (opened.package, PARTS, altered),
        (replace(opened.package, sha256=sums(altered).sha256), PARTS, altered),
        (replace(opened.package, sha256=sums(cut).sha256), PARTS, cut),
        (other, PARTS, GPKG),
        (opened.package, {"ebuild": "1" * 64}, GPKG),
        (replace(opened.package, built_at=5.0), PARTS, GPKG),
        (replace(opened.package, build_key="f" * 64), PARTS, GPKG),
    ]
    before = sorted(path for path in opened.tree.room("pool").rglob("*.tar"))
    for package, parts, file in wrong:
        with pytest.raises(Problem, match="refused"):
            opened.farm.push(opened.job, package, parts, NOTHING, file)
    assert sorted(path for path in opened.tree.room("pool").rglob("*.tar")) == before


def test_a_job_belongs_to_who_took_it(opened: Opened) -> None:
    other = replace(opened.farm, name="builder3@1")
    with pytest.raises(Lost, match="is running"):
        other.ask("take", job=opened.job)
    with pytest.raises(Lost, match="not with builder3@1"):
        other.ask("end", job=opened.job, state="done", message="")
    with pytest.raises(Lost):
        other.push(opened.job, opened.package, PARTS, NOTHING, GPKG)
    assert other.ask("beat", job=opened.job) == {"own": False}
    assert opened.farm.ask("beat", job=opened.job) == {"own": True}


def test_who_builds_a_package_is_told_to_the_next(opened: Opened) -> None:
    key = "a" * 64
    assert opened.farm.ask("known", job=opened.job, keys={key: ""})["waits_for"] == ""
    second = opened.store.jobs.wait(WARM, Wanted("two", "x", 0.0), now=0.0)
    (opened.tree.room("orders") / f"{second}.bundle").write_text("{}")
    other = replace(opened.farm, name="builder3@1")
    other.ask("take", job=second)
    assert other.ask("known", job=second, keys={key: ""})["waits_for"] == "builder2@1"


@pytest.mark.parametrize(
    "path",
    ["distfile/..%2Fkeys%2Fprivate", "distfile/%2e%2e", "distfile/none", "blob/x", f"blob/{'0' * 64}"],
)
def test_nothing_else_of_the_state_can_be_fetched(opened: Opened, tmp_path: Path, path: str) -> None:
    assert not opened.farm.fetch(f"/farm/{path}", tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


def test_a_distfile_can_be_fetched_and_other_bytes_are_noticed(opened: Opened, tmp_path: Path) -> None:
    assert opened.farm.fetch("/farm/distfile/a-1.tar.gz", tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"source"
    with pytest.raises(OSError, match="other bytes"):
        opened.farm.fetch("/farm/distfile/a-1.tar.gz", tmp_path / "again", "0" * 64)
    assert not (tmp_path / "again").exists()


def test_without_the_secret_nothing_is_answered(opened: Opened, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="does not accept this worker"):
        replace(opened.farm, secret=b"another secret").ask("beat", job=0)
    late = replace(opened.farm, clock=lambda: time.time() - 1000)
    with pytest.raises(Problem, match="does not accept this worker"):
        late.fetch("/farm/distfile/a-1.tar.gz", tmp_path / "x")
    page = f"{opened.farm.url}/farm/distfile/a-1.tar.gz"
    said = run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", page])
    assert said.stdout == "401"


def test_a_request_that_was_heard_is_not_good_again(opened: Opened) -> None:
    place = urlsplit(opened.farm.url)
    path = "/farm/distfile/a-1.tar.gz"
    heard = Request("GET", path, "builder2@1", time.time(), "11", "0" * 64)
    answers = []
    for _ in range(2):
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        connection.request("GET", path, headers=headers(heard, opened.farm.secret))
        answers.append(connection.getresponse().status)
        connection.close()
    assert answers == [200, 401]
