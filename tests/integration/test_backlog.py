"""The backlog with a real huey on SQLite and on Redis, and builds that are real processes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.foreman import Foreman
from appliance.process import process_id
from appliance.run import run, running
from tests.integration.backlogyard import DEADLINE_SECONDS, Yard


@contextmanager
def redis_server(path: Path) -> Iterator[str]:
    """A Redis of our own on a socket in this directory, which keeps nothing; its URL."""
    socket = path / "redis.sock"
    argv: list[str | Path] = [
        "redis-server",
        "--port",
        "0",
        "--unixsocket",
        socket,
        "--save",
        "",
        "--dir",
        path,
    ]
    with running([*argv, "--appendonly", "no", "--dir", path], output=path / "redis.log"):

        def answers() -> bool | None:
            return run(["redis-cli", "-s", socket, "ping"], ok=range(256)).stdout.strip() == "PONG" or None

        wait_until(answers, seconds=DEADLINE_SECONDS, what="redis answers")
        yield f"unix://{socket}"


@pytest.fixture(params=["sqlite", "redis"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite"
        return
    with redis_server(tmp_path) as url:
        yield url


def ended(pid: int) -> None:
    def gone() -> bool | None:
        return (process_id(f"{pid}") is None and not Path(f"/proc/{pid}/cwd").exists()) or None

    wait_until(gone, seconds=DEADLINE_SECONDS, what=f"process {pid} ends")


def owners(yard: Yard) -> list[int]:
    return [int(job.owner.partition("@")[0]) for job in yard.services().store.jobs.running()]


def test_the_backlog_is_drained_with_no_more_builds_than_workers(tmp_path: Path, queue: str) -> None:
    yard = Yard.make(tmp_path, "a b c d e", queue=queue, workers=2)
    yard.hold.touch()
    with yard.farm():
        yard.wait_for("two are running", {"running": 2, "waiting": 3})
        why = {one.task.profile: one.why for one in yard.services().backlog.board().waiting}
        assert set(why.values()) == {"all 2 workers are busy"}
        yard.hold.unlink()
        yard.wait_for("all are done", {"done": 5, "running": 0, "waiting": 0})
        assert yard.published() == dict.fromkeys("abcde", 1)
        yard.change("c")
        yard.wait_for("the changed one is done", {"done": 6, "waiting": 0})
    assert yard.published() == {"a": 1, "b": 1, "c": 2, "d": 1, "e": 1}


def test_a_killed_build_is_due_again_at_once(tmp_path: Path, queue: str) -> None:
    yard = Yard.make(tmp_path, "a b", queue=queue, workers=2)
    yard.hold.touch()
    with yard.farm():
        yard.wait_for("both run", {"running": 2})
        victim = owners(yard)[0]
        os.kill(victim, signal.SIGKILL)
        yard.wait_for("it runs again", {"interrupted": 1, "running": 2})
        assert victim not in owners(yard)
        yard.hold.unlink()
        yard.wait_for("both are done", {"done": 2, "running": 0, "waiting": 0})
    assert yard.published() == {"a": 1, "b": 1}


def test_a_killed_farm_takes_its_builds_along_and_the_next_one_goes_on(tmp_path: Path, queue: str) -> None:
    yard = Yard.make(tmp_path, "a b c", queue=queue, workers=2)
    yard.hold.touch()
    with yard.farm() as farm:
        yard.wait_for("two run", {"running": 2, "waiting": 1})
        children = owners(yard)
        os.kill(farm, signal.SIGKILL)
        for pid in children:
            ended(pid)
    if queue == "sqlite":
        for file in yard.tree.room("queue").iterdir():
            file.unlink()
    yard.hold.unlink()
    with yard.farm():
        yard.wait_for("all are done", {"done": 3, "interrupted": 2, "running": 0, "waiting": 0})
    assert yard.published() == {"a": 1, "b": 1, "c": 1}


def test_a_redis_that_is_gone_for_a_while_and_comes_back_empty_loses_nothing(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        yard = Yard.make(tmp_path, "a b", queue=url, workers=1)
        yard.hold.touch()
        farm = yard.farm()
        farm.__enter__()
        yard.wait_for("one runs", {"running": 1, "waiting": 1})
    try:
        yard.hold.unlink()
        yard.wait_for("what ran is finished without Redis", {"done": 1, "running": 0, "waiting": 1})
        with redis_server(tmp_path):
            yard.wait_for("the other one is done, too", {"done": 2, "waiting": 0})
    finally:
        farm.__exit__(None, None, None)
    assert yard.published() == {"a": 1, "b": 1}


def test_a_message_that_was_lost_is_sent_again_and_a_double_one_does_nothing(
    tmp_path: Path, queue: str
) -> None:
    yard = Yard.make(tmp_path, "a", queue=queue)
    done: list[int] = []

    def argv(job: int, jobs: int) -> list[str]:
        done.append(job)
        return ["true"]

    foreman = Foreman(yard.services(), argv, look_seconds=1000, lost_seconds=0.0)
    foreman.step()
    (job,) = foreman.queue.pending()
    foreman.step()
    assert foreman.queue.huey.storage.queue_size() == 1
    foreman.queue.huey.storage.flush_queue()
    foreman.step()
    assert foreman.queue.pending() == {job}
    # A worker that takes the second of two messages finds that nobody waits for it.
    foreman.queue.huey.execute(foreman.queue.huey.dequeue())
    assert done == [job]
    services = yard.services()
    assert services.store.jobs.claim(job, now=1.0)
    assert not services.store.jobs.claim(job, now=2.0)


def test_a_build_that_waits_for_a_worker_is_planned_once(tmp_path: Path) -> None:
    yard = Yard.make(tmp_path, "a b", workers=1)
    services = yard.services()
    planned = tmp_path / "planned"

    def plan(job: int) -> list[str]:
        return ["sh", "-c", f"echo {job} >>{planned}"]

    foreman = Foreman(services, lambda job, jobs: ["true"], look_seconds=1000, plan=plan)

    def asked() -> str | None:
        foreman.step()
        return planned.read_text().strip() or None if planned.exists() else None

    number = wait_until(asked, seconds=DEADLINE_SECONDS, what="the second build is planned")
    wait_until(lambda: not foreman.foreseeing or None, seconds=DEADLINE_SECONDS, what="the planner has ended")
    foreman.step()
    assert not foreman.foreseeing, "a plan that came to nothing is asked for again and again"
    job = services.store.jobs.get(int(number))
    assert job
    assert job.profile == "b"
    services.store.plans.put(job.profile, job.inputs, 60.0, 1 << 20)
    assert services.foresight.unforeseen() is None


def test_newer_inputs_stop_a_build_only_after_the_bound_and_its_successor_is_finished(tmp_path: Path) -> None:
    yard = Yard.make(tmp_path, "a")
    with (yard.site / "appliance.toml").open("a") as file:
        file.write('staleness = "2 s"\n')
    yard.hold.touch()
    with yard.farm():
        yard.wait_for("it runs", {"running": 1})
        yard.change("a")
        yard.wait_for("the newer inputs wait", {"running": 1, "waiting": 1})
        jobs = yard.wait_for("the old one made way", {"replaced": 1, "running": 1, "waiting": 0})
        assert next(job for job in jobs if job.state == "running").successor
        assert "staleness bound" in next(job for job in jobs if job.state == "replaced").message
        yard.change("a")
        services = yard.services()

        def overdue() -> bool | None:
            (job,) = services.store.jobs.running()
            at = job.superseded_at
            return (at is not None and services.clock() - at > 4) or None

        wait_until(overdue, seconds=DEADLINE_SECONDS, what="newer inputs wait for twice the bound")
        yard.hold.unlink()
        yard.wait_for("both are done", {"done": 2, "running": 0, "waiting": 0, "replaced": 1})
    assert yard.published() == {"a": 2}


def test_what_nobody_here_is_free_for_is_offered_to_another_host_once(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        yard = Yard.make(tmp_path, "a b c", queue=url, workers=1)
        with (yard.site / "appliance.toml").open("a") as file:
            file.write("port = 8090\n")
        services = yard.services()
        foreman = Foreman(services, lambda job, jobs: ["true"], look_seconds=1000, lost_seconds=0.0)
        foreman.step()
        assert services.remote.active() == []
        services.store.workers.seen("builder2", now=services.clock())
        foreman.step()
        (offered,) = services.remote.active()
        assert offered.profile == "b"
        (services.tree.room("orders") / f"{offered.id}.bundle").write_text("{}")

        def queued() -> bool | None:
            foreman.step()
            return (foreman.warm is not None and foreman.warm.pending() == {offered.id}) or None

        wait_until(queued, seconds=DEADLINE_SECONDS, what="the worker is called")
        why = {one.task.profile: one.why for one in services.backlog.board().waiting}
        assert why["b"] == "its packages are offered to a worker on another host"
        assert services.remote.take("builder2@1", offered.id) == b"{}"
        services.remote.note("builder2@1", offered.id, "compiling")
        why = {one.task.profile: one.why for one in services.backlog.board().waiting}
        assert why["b"] == "builder2 builds its packages: compiling"
        services.remote.end("builder2@1", offered.id, "failed", "no compiler")
        foreman.step()
        # c is next; b was offered once and is built here now.
        assert [job.profile for job in services.remote.active()] == ["c"]
        assert not (services.tree.room("orders") / f"{offered.id}.bundle").exists()
