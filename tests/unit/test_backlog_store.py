"""The store's part of the backlog: jobs that wait, claims on packages, the history of efforts."""

import os
from pathlib import Path

import pytest

from appliance.backlog import Expected
from appliance.process import name_process, own_name, process_id
from appliance.run import running
from appliance.store import Store
from appliance.store.history import DEFAULT, KEPT, Effort, Subject
from appliance.store.jobs import Wanted

HERE = own_name()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def dead_process() -> str:
    with running(["sleep", "60"]) as child:
        name = name_process(child.pid)
        assert process_id(name) == child.pid
    return name


def test_a_process_that_ended_has_no_name_even_before_it_is_waited_for() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert name_process(child) == ""
    os.waitpid(child, 0)
    assert name_process(child) == ""
    assert process_id(f"{os.getpid()}@1") is None


def test_newer_inputs_replace_a_waiting_job_and_keep_its_age(store: Store) -> None:
    old = store.jobs.wait("build", Wanted("vm", "monday", since=10.0), now=10.0)
    assert store.jobs.wait("build", Wanted("vm", "monday", since=15.0), now=15.0) == old
    new = store.jobs.wait("build", Wanted("vm", "tuesday", since=20.0), now=20.0)
    (waiting,) = store.jobs.waiting("build")
    assert (waiting.id, waiting.inputs, waiting.wanted_at) == (new, "tuesday", 10.0)
    replaced = store.jobs.get(old)
    assert replaced
    assert replaced.state == "replaced"
    assert store.jobs.last("build", "vm") is None


def test_a_waiting_job_is_claimed_once(store: Store, tmp_path: Path) -> None:
    job = store.jobs.wait("build", Wanted("vm", "x", since=10.0), now=10.0)
    assert store.jobs.claim(job, now=11.0)
    assert not Store(tmp_path / "store.sqlite").jobs.claim(job, now=12.0)
    (found,) = store.jobs.running()
    assert (found.owner, found.started_at, found.wanted_at) == (HERE, 11.0, 10.0)


def test_a_replaced_job_is_not_claimed(store: Store) -> None:
    job = store.jobs.wait("build", Wanted("vm", "x", since=10.0), now=10.0)
    store.jobs.wait("build", Wanted("vm", "y", since=10.0), now=10.0)
    assert not store.jobs.claim(job, now=11.0)


def test_a_job_that_was_stopped_does_not_end_a_second_time(store: Store) -> None:
    job = store.jobs.start("build", "vm", now=1.0)
    store.jobs.note(job, "halfway")
    store.jobs.end(job, "replaced", now=2.0, message="stopped")
    store.jobs.end(job, "failed", now=3.0, message="killed")
    store.jobs.note(job, "too late")
    found = store.jobs.get(job)
    assert found
    assert (found.state, found.ended_at, found.message) == ("replaced", 2.0, "stopped")


def test_a_job_of_a_dead_process_is_interrupted_and_one_of_another_host_is_not(store: Store) -> None:
    dead = store.jobs.wait("build", Wanted("a", "", since=1.0), now=1.0)
    assert store.jobs.claim(dead, now=2.0, owner=dead_process())
    far = store.jobs.wait("warm", Wanted("b", "", since=1.0), now=1.0)
    assert store.jobs.claim(far, now=2.0, owner="builder2@77")
    assert [job.id for job in store.jobs.interrupt_dead(now=3.0)] == [dead]


def test_what_a_job_needs_is_remembered(store: Store) -> None:
    expected = Expected(12.5, 2048)
    wanted = Wanted("vm", "x", 1.0, expected, True, frozenset("ab"), 7.0, 2, successor=True)
    job = store.jobs.wait("build", wanted, now=3.0)
    store.jobs.supersede(job, now=5.0)
    store.jobs.supersede(job, now=6.0)
    store.jobs.measure(job, 77)
    found = store.jobs.get(job)
    assert found
    assert (found.expected_seconds, found.expected_bytes, found.work) == (12.5, 2048, ("a", "b"))
    assert (found.security, found.successor, found.superseded_at) == (True, True, 5.0)
    assert (found.wanted_at, found.not_before, found.max_jobs, found.peak_bytes) == (1.0, 7.0, 2, 77)
    newer = store.jobs.wait("build", Wanted("vm", "y", 9.0), now=9.0)
    found = store.jobs.get(newer)
    assert found
    assert found.successor
    assert found.wanted_at == 1.0


def test_labels_of_work_that_was_done_are_known(store: Store) -> None:
    for label in ("ab", "cd"):
        store.jobs.wait("build", Wanted(label, "x", 1.0, work=frozenset({label, "z"})), now=1.0)
    job = store.jobs.waiting("build", "ab")[0].id
    assert store.jobs.claim(job, now=2.0)
    store.jobs.end(job, "done", now=3.0)
    assert store.jobs.has_done("build", "ab")
    assert not store.jobs.has_done("build", "a")
    assert not store.jobs.has_done("build", "cd")


def test_packages_are_claimed_all_or_none(store: Store) -> None:
    assert store.claims.take({"a", "b"}, HERE, now=0.0) == {}
    assert store.claims.take({"a", "b"}, HERE, now=0.0) == {}
    assert store.claims.take({"b", "c"}, "far@1", now=0.0, until=60.0) == {"b": HERE}
    assert store.claims.take({"c"}, HERE, now=0.0) == {}


def test_the_claims_of_a_dead_process_are_free(store: Store) -> None:
    gone = dead_process()
    assert store.claims.take({"a"}, gone, now=0.0) == {}
    assert store.claims.take({"a"}, HERE, now=0.0) == {}


def test_a_lease_that_is_not_renewed_ends(store: Store) -> None:
    assert store.claims.take({"a"}, "far@1", now=0.0, until=60.0) == {}
    store.claims.renew("far@1", until=120.0)
    assert store.claims.take({"a"}, HERE, now=119.0) == {"a": "far@1"}
    assert store.claims.take({"a"}, HERE, now=121.0) == {}
    store.claims.release(HERE)
    assert store.claims.take({"a"}, "far@2", now=121.0, until=130.0) == {}


SED = Subject("sys-apps/sed", build_key="k1", flags="-O2", source_bytes=1000)


def test_an_estimate_comes_from_the_nearest_thing_that_was_built(store: Store) -> None:
    history = store.history
    assert history.estimate(SED) == DEFAULT
    history.record(Subject("app/other", source_bytes=1500), Effort(1, 1, 1), at=0.0)
    assert history.estimate(SED).known_by == "size"
    assert history.estimate(Subject("sys-apps/sed")).known_by == "nothing"
    history.record(Subject("sys-apps/sed", build_key="k0", flags="-O3"), Effort(2, 2, 2), at=0.0)
    assert history.estimate(SED) == Effort(2, 2, 2, "name")
    history.record(Subject("sys-apps/sed", build_key="k2", flags="-O2"), Effort(3, 3, 3), at=0.0)
    assert history.estimate(SED) == Effort(3, 3, 3, "name and flags")
    history.record(SED, Effort(4, 4, 4), at=0.0)
    assert history.estimate(SED) == Effort(4, 4, 4, "key")


def test_one_odd_build_does_not_change_what_is_expected_but_its_memory_counts(store: Store) -> None:
    for seconds, peak in [(10, 5), (11, 90), (5000, 6)]:
        store.history.record(SED, Effort(seconds, seconds, peak), at=0.0)
    assert store.history.estimate(SED) == Effort(11, 11, 90, "key")


def test_old_figures_are_forgotten(store: Store) -> None:
    for number in range(KEPT + 10):
        store.history.record(SED, Effort(number, 0, 0), at=float(number))
    rows = store.database.rows("SELECT count(*) AS count, min(seconds) AS least FROM effort")
    assert [(row["count"], row["least"]) for row in rows] == [(KEPT, 10.0)]
