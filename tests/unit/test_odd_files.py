"""Configuration files of odd kinds, names, sizes and letters: each has a rule (docs/etc-update.md)."""

import os
from pathlib import Path

import pytest

from appliance.run import run
from distserver_client import etcfiles, places
from distserver_client.answering import Counter
from distserver_client.services import Services
from distserver_client.triples import Answer, Policy, Settled, State
from tests.etc_machines import BOTH, CLASH, HELD, LIVE, MINE, NEW, OLD, PROTECTED, Machine

OTHER = "/etc/conf.d/wide"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "etc").mkdir()
    return Machine(tmp_path)


def only(settled: Settled) -> tuple[str, str, str]:
    """In which list the one path is, the path, and how."""
    ((name, one),) = [(name, one) for name, found in vars(settled).items() for one in found]
    return name, one.path, one.how


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file_is_never_replaced_whatever_is_answered(machine: Machine, kind: str) -> None:
    machine.update(OLD, None, NEW)
    place = machine.root / LIVE.lstrip("/")
    place.mkdir() if kind == "directory" else os.mkfifo(place)
    assert only(machine.settle())[0] == "secret"
    ((proposal, _),) = counter(machine).waiting()
    assert "not replaced" in counter(machine).replace(proposal, proposal.theirs)
    assert place.is_dir() if kind == "directory" else place.is_fifo()
    assert machine.read(HELD) == NEW


def counter(machine: Machine) -> Counter:
    services = Services(machine.root, probe_seconds=0)
    return Counter(machine.root, machine.state, Policy(), PROTECTED, services)


def test_links_that_go_round_are_said_and_left_alone(machine: Machine) -> None:
    machine.update(OLD, None, NEW)
    (machine.root / "etc/conf.d/thing").symlink_to("thing")
    machine.update(OLD, MINE, NEW, "/etc/conf.d/other")
    settled = machine.settle()
    assert [one.path for one in settled.applied] == ["/etc/conf.d/other"]
    assert [one.path for one in settled.failed] == [LIVE]
    assert (machine.root / "etc/conf.d/thing").is_symlink()


def test_a_file_that_is_too_large_to_be_one_is_said_and_left_alone(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    os.truncate(machine.root / LIVE.lstrip("/"), places.MOST_BYTES + 1)
    where, _, how = only(machine.settle())
    assert (where, "larger than" in how) == ("failed", True)
    assert (machine.root / LIVE.lstrip("/")).stat().st_size == places.MOST_BYTES + 1
    assert machine.read(HELD) == NEW


def test_a_large_text_is_a_question_and_ours_or_theirs_is_taken(machine: Machine) -> None:
    large = OLD * 20_000
    machine.update(large, large + b"mine=1\n", b"new=1\n" + large)
    assert "larger than" in only(machine.settle())[2]
    machine.desk.answers[LIVE] = Answer(State.THEIRS)
    assert only(machine.settle())[0] == "applied"
    assert machine.read() == b"new=1\n" + large


def test_bytes_that_are_no_text_of_this_time_stay_as_they_are(machine: Machine) -> None:
    latin, wide = "# gr\xfc\xdfe\n".encode("latin-1"), OLD.replace(b"\n", b"\r\n")
    machine.update(latin + OLD, latin + MINE, latin + NEW)
    machine.update(wide, wide.replace(b"key1=0", b"key1=mine"), wide.replace(b"key8=0", b"key8=new"), OTHER)
    machine.update(OLD[:-1], MINE[:-1], NEW[:-1], "/etc/conf.d/open")
    machine.update(b"\0a", b"\0b", b"\0c", "/etc/conf.d/binary")
    settled = machine.settle()
    assert machine.read() == latin + BOTH
    assert machine.read(OTHER) == BOTH.replace(b"\n", b"\r\n")
    assert machine.read("/etc/conf.d/open") == BOTH[:-1]
    assert [one.path for one in settled.asked] == ["/etc/conf.d/binary"]


def test_capabilities_labels_and_lists_stay(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    live = machine.root / LIVE.lstrip("/")
    run(["setfacl", "-m", "u:12:r", live])
    os.chown(live, 12, 34)
    # cap_net_bind_service, permitted and effective (linux/capability.h: vfs_cap_data, revision 2)
    os.setxattr(live, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
    os.setxattr(live, "security.selinux", b"system_u:object_r:etc_t:s0\0")
    live.chmod(0o4750)
    before = places.describe(live)
    assert len(before.attributes) == 3
    machine.settle()
    assert machine.read() == BOTH
    assert places.describe(live) == before


def test_a_name_that_is_no_text_holds_no_other_question_up(machine: Machine) -> None:
    odd = "/etc/conf.d/odd\udcff"
    machine.update(OLD, MINE, CLASH, odd)
    machine.update(OLD, MINE, CLASH)
    settled = machine.settle()
    assert ([one.path for one in settled.asked], [one.path for one in settled.secret]) == ([LIVE], [odd])
    assert [one.path for one in machine.desk.asked] == [LIVE]
    assert [proposal.path for proposal, _ in counter(machine).waiting()] == sorted([LIVE, odd])


def test_more_questions_than_the_server_takes_wait_for_the_first_ones(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcfiles, "MOST_ASKED", 2)
    for number in range(3):
        machine.update(OLD, MINE, CLASH, f"/etc/conf.d/x{number}")
    assert len(machine.settle().asked) == 3
    assert [one.path for one in machine.desk.asked] == ["/etc/conf.d/x0", "/etc/conf.d/x1"]
    machine.desk.answers["/etc/conf.d/x0"] = Answer(State.KEEP)
    machine.settle()
    machine.settle()
    assert machine.desk.asked[-1].path == "/etc/conf.d/x2"
