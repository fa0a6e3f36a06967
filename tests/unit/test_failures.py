"""Why a package failed, by Portage's own logs, and what is done next.

The logs in tests/data/failures were written by Portage 3.0.83 for the ebuilds of tests/data/broken.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.desks.failures import FailureDesk
from appliance.errors import Problem
from appliance.farm_model import FailureKind, FailureRecord, Held
from appliance.store import Store
from buildfarm import failures
from buildfarm.failures import Effort, Failure, GiveUp, Retry, classify, next_step

LOGS = Path(__file__).resolve().parent.parent / "data" / "failures"
EXPECTED = {
    "collide": (FailureKind.MERGE, "", "Package 'app-misc/collide-1' NOT merged due to file collisions"),
    "compile": (FailureKind.COMPILE, "compile", "wrong.c:3:16: error: ‘nothing’ undeclared"),
    "configure": (FailureKind.CONFIGURE, "configure", "configure: error: library nothing is required"),
    "crash": (FailureKind.COMPILE, "compile", "internal compiler error: Segmentation fault"),
    "disk": (FailureKind.DISK, "compile", "dd: error writing '/dev/full': No space left on device"),
    "distcc": (FailureKind.DISTCC, "compile", "failed to distribute and fallbacks are disabled"),
    "fetch-altered": (FailureKind.FETCH, "", "Couldn't download 'fetch-altered-1.txt'"),
    "fetch-by-hand": (FailureKind.FETCH, "", "app-misc/fetch-by-hand-1 has fetch restriction turned on"),
    "fetch-gone": (FailureKind.FETCH, "", "Couldn't download 'fetch-gone-1.txt'"),
    "install": (FailureKind.INSTALL, "install", "FileNotFoundError: [Errno 2] No such file or directory"),
    "memory-killed": (FailureKind.MEMORY, "compile", "Killed signal terminated program cc1plus"),
    "memory-limit": (FailureKind.MEMORY, "compile", "virtual memory exhausted: Cannot allocate memory"),
    "patch": (FailureKind.PREPARE, "prepare", "1 out of 1 hunk FAILED"),
    "setup": (FailureKind.SETUP, "setup", "a kernel with CONFIG_NOTHING is required"),
    "test": (FailureKind.TEST, "test", "FAIL: one of one"),
    "unpack": (FailureKind.UNPACK, "unpack", "unpack-1.tar.gz"),
}
ERROR = " * ERROR: a/b-1::r failed (compile phase):\n *   emake failed\n"
MEMORY, DISTCC, COMPILE = (
    Failure(f"a/{kind.value}-2", None, "", kind)
    for kind in (FailureKind.MEMORY, FailureKind.DISTCC, FailureKind.COMPILE)
)
FIRST = Effort(jobs=4, make_jobs=8)
RECORD = FailureRecord("one", "a/b-1", "key", FailureKind.COMPILE, "why", "log", "tail", 1, 1000.0, 1000.0)


def test_every_log_is_expected() -> None:
    assert {path.stem for path in LOGS.glob("*.log")} == EXPECTED.keys()


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_log_of_portage_tells_the_kind_the_phase_and_the_line(name: str) -> None:
    kind, phase, line = EXPECTED[name]
    found = classify((LOGS / f"{name}.log").read_text())
    assert (found.kind, found.phase) == (kind, phase)
    assert line in found.evidence


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (
            "x86_64-pc-linux-gnu-g++: fatal error: Killed signal terminated program cc1plus",
            FailureKind.MEMORY,
        ),
        ("g++: internal compiler error: Killed (program cc1plus)", FailureKind.MEMORY),
        ("collect2: fatal error: ld terminated with signal 9 [Killed]", FailureKind.MEMORY),
        ("make: *** [Makefile:3: all] Killed", FailureKind.MEMORY),
        ("make[2]: *** [Makefile:3: all] Error 137", FailureKind.MEMORY),
        ("/t/environment: line 12: 4711 Killed                  ninja -v", FailureKind.MEMORY),
        ("  process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)", FailureKind.MEMORY),
        ("cc1: out of memory allocating 65536 bytes after a total of 12345 bytes", FailureKind.MEMORY),
        ("OSError: [Errno 28] No space left on device: 'x'", FailureKind.DISK),
        ("make: *** [Makefile:3: all] Error 2", FailureKind.COMPILE),
        ("distcc[7] ERROR: compile a.c on 10.0.0.7/4 failed with exit code 110", FailureKind.DISTCC),
        ("distcc[7] ERROR: compile a.c on localhost failed with exit code 1", FailureKind.COMPILE),
    ],
)
def test_one_line_of_a_compile_phase_may_tell(line: str, kind: FailureKind) -> None:
    found = classify(f"cc -c a.c\n{line}\n{ERROR}")
    assert found.kind is kind
    if kind is not FailureKind.COMPILE:
        assert found.evidence == line.strip()


def test_what_failed_again_on_this_host_is_no_fault_of_a_compile_host() -> None:
    remote = "distcc[7] (dcc_build_somewhere) Warning: remote compilation of 'a.c' failed"
    assert classify(f"{remote}\n{ERROR}").kind is FailureKind.DISTCC
    assert classify(f"{remote}\n{remote}, retrying locally\n{ERROR}").kind is FailureKind.COMPILE


def test_objects_of_another_compiler_are_the_fault_of_a_compile_host() -> None:
    line = "lto1: fatal error: bytecode stream in file a.o generated with LTO version 12.0 instead of 11.3"
    assert classify(f"{line}\n{ERROR}", distributed=True).kind is FailureKind.DISTCC
    assert classify(f"{line}\n{ERROR}").kind is FailureKind.COMPILE


def test_a_test_suite_may_speak_of_a_full_disk() -> None:
    log = "write: No space left on device\nok 1\nFAIL: two\n" + ERROR.replace("compile", "test")
    assert classify(log).kind is FailureKind.TEST


@pytest.mark.parametrize("log", ["", "\n\n", "nothing of use", "\x00\xff \x1b[31m"])
def test_a_log_without_sense_is_unknown(log: str) -> None:
    assert classify(log).kind is FailureKind.UNKNOWN


def test_the_resolver_is_quoted_with_what_explains_most() -> None:
    text = 'emerge: there are no ebuilds to satisfy "a/b".\n(dependency required by "c/d-1::r" [ebuild])'
    found = failures.classify_resolver(f"Calculating dependencies ... done!\n\n{text}")
    assert (found.kind, found.evidence) == (
        FailureKind.RESOLVER,
        'emerge: there are no ebuilds to satisfy "a/b".',
    )
    assert failures.classify_resolver("Traceback\nKeyError: 1").kind is FailureKind.UNKNOWN


def test_want_of_memory_is_tried_once_alone() -> None:
    step = next_step([MEMORY, COMPILE], [FIRST])
    assert step == Retry(local=False, jobs=1, make_jobs=1, reason="memory was short")
    assert next_step([MEMORY], [FIRST, Effort(1, 1)]) == GiveUp(("a/memory-2",))


def test_a_compile_hosts_failure_is_tried_once_here_with_half_the_jobs() -> None:
    step = next_step([DISTCC], [FIRST])
    assert step == Retry(local=True, jobs=2, make_jobs=4, reason="a compile host failed")
    again = next_step([DISTCC], [FIRST, Effort(2, 4, local=True)])
    assert again == GiveUp(("a/distcc-2",))


def test_no_more_is_tried_than_there_is() -> None:
    """Whatever fails, and however often, an attempt comes to an end."""
    efforts = [Effort(16, 16)]
    for _ in range(10):
        match next_step([MEMORY, DISTCC, COMPILE], efforts):
            case Retry(local, jobs, make_jobs):
                efforts.append(Effort(jobs, make_jobs, local))
            case GiveUp(cpvs):
                assert cpvs == ("a/compile-2", "a/distcc-2", "a/memory-2")
                break
    assert len(efforts) == 3


def test_a_key_that_failed_is_not_tried_every_quarter_of_an_hour() -> None:
    assert not failures.due(RECORD, 1000.0 + 23 * 3600)
    assert failures.due(RECORD, 1000.0 + 24 * 3600)
    # What the world outside may have put right is tried sooner, and then ever later.
    fetch = replace(RECORD, kind=FailureKind.FETCH)
    waits = [failures.wait_seconds(replace(fetch, count=count)) / 60 for count in (1, 2, 3, 40)]
    assert waits == [15, 30, 60, 24 * 60]


def test_a_clock_that_was_set_back_lets_it_be_tried() -> None:
    assert failures.due(RECORD, 500.0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store.sqlite")


def test_failures_are_counted_under_their_key_until_the_package_is_built(store: Store) -> None:
    now = 1000.0
    desk = FailureDesk(store, lambda: now)
    failed = replace(COMPILE, build_key="k1", evidence="error: x", log=Path("/log"))
    keys = {failed.package: "k1"}
    desk.note("one", [failed], keys=keys, built=[])
    now = 2000.0
    desk.note("one", [failed], keys=keys, built=[])
    (record,) = desk.show(failed.package)
    assert (record.count, record.first_at, record.last_at) == (2, 1000.0, 2000.0)
    assert desk.not_due("one", keys) == [record]
    assert desk.not_due("one", {failed.package: "k2"}) == []
    assert desk.not_due("two", keys) == []
    # What was not even tried does not count.
    desk.note("one", [replace(failed, remembered=True)], keys=keys, built=[])
    assert desk.show(failed.package) == [record]
    now = desk.due_at(record)
    assert desk.not_due("one", keys) == []
    desk.note("one", [], keys=keys, built=[failed.package])
    with pytest.raises(Problem, match="did not fail"):
        desk.show(failed.package)


def test_a_failure_under_a_key_that_nobody_wants_any_more_is_forgotten(store: Store) -> None:
    desk = FailureDesk(store, lambda: 1.0)
    desk.note("one", [replace(COMPILE, build_key="k1")], keys={COMPILE.package: "k1"}, built=[])
    desk.note("one", [], keys={COMPILE.package: "k2"}, built=[])
    assert desk.all("one") == []


def test_a_person_may_let_it_be_tried_again(store: Store) -> None:
    desk = FailureDesk(store, lambda: 1.0)
    keys = {COMPILE.package: "k1"}
    desk.note("one", [replace(COMPILE, build_key="k1")], keys=keys, built=[])
    desk.forget(COMPILE.package)
    assert desk.not_due("one", keys) == []


def test_a_hold_keeps_the_time_it_began(store: Store) -> None:
    now = 1.0
    desk = FailureDesk(store, lambda: now)
    held = Held("a/b-2", "a/b-1")
    desk.hold("one", [held])
    now = 2.0
    desk.hold("one", [held, Held("c/d-2", "c/d-1")])
    assert desk.held("one") == [(held, 1.0), (Held("c/d-2", "c/d-1"), 2.0)]
    desk.hold("one", [])
    assert desk.held("one") == []
