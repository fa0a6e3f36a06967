"""`distserver-client merge`: what waits on a machine is shown and answered there."""

import argparse
import os
import pty
from pathlib import Path

import pytest

from distserver_client import merge_cli, places
from distserver_client.answering import Counter
from distserver_client.errors import Problem
from distserver_client.services import Services
from distserver_client.snapshots import Store
from distserver_client.triples import Policy, digest
from tests.etc_machines import PROTECTED, Machine

SHADOW = "/etc/shadow"
BASE = b"root:*:1::::::\n"
OURS = b"root:secret:1::::::\n"
THEIRS = b"root:!:1::::::\n"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A secret that both changed, and a question for the server."""
    made = Machine(tmp_path)
    made.update(BASE, OURS, THEIRS, SHADOW)
    (tmp_path / "etc/shadow").chmod(0o640)
    made.update(b"a=1\n", b"a=2\n", b"a=3\n", "/etc/conf.d/thing")
    settled = made.settle()
    assert ([one.path for one in settled.secret], len(settled.asked)) == ([SHADOW], 1)
    return made


def call(machine: Machine, *argv: str) -> int:
    parser = argparse.ArgumentParser()
    merge_cli.add(parser.add_subparsers())
    services = Services(machine.root, probe_seconds=0)
    counter = Counter(machine.root, machine.state, Policy(), PROTECTED, services)
    return merge_cli.perform(counter, parser.parse_args(["merge", *argv]))


def test_all_that_wait_are_listed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(machine) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("/etc/conf.d/thing: both sides changed")
    assert second.startswith(SHADOW)
    assert second.endswith("(a secret)")


def test_three_ways_are_shown(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(machine, "show", SHADOW) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:4] == ["--- base", "+++ ours"]
    assert {"-root:*:1::::::", "+root:secret:1::::::", "+++ theirs", "+root:!:1::::::"} <= set(lines)


def test_what_is_shown_gives_no_orders_to_the_terminal(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.lay("/etc/conf.d/thing", b"\x1b[2Ja=2\n")
    call(machine, "show", "/etc/conf.d/thing")
    assert "\x1b" not in capsys.readouterr().out


def test_the_pager_of_the_person_is_used(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    master, slave = pty.openpty()
    monkeypatch.setenv("PAGER", f"sed -n w{tmp_path}/seen")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        call(machine, "show", SHADOW)
    os.close(master)
    assert "+++ theirs" in (tmp_path / "seen").read_text()


def test_ours_is_kept(machine: Machine) -> None:
    assert call(machine, "decide", SHADOW, "ours") == 0
    assert machine.read(SHADOW) == OURS
    assert machine.names("/etc") == ["conf.d", "shadow"]
    assert Store(machine.state).content(digest(THEIRS)) == THEIRS
    assert [one.path for one in machine.settle().secret] == []


@pytest.mark.parametrize("way", ["theirs", "file", "edit"])
def test_another_content_is_taken(
    machine: Machine, way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = b"root:other:1::::::\n"
    (tmp_path / "other").write_bytes(other)
    monkeypatch.setenv("EDITOR", f"cp {tmp_path}/other")
    words = {"theirs": ["theirs"], "file": ["--file", str(tmp_path / "other")], "edit": ["--edit"]}[way]
    before = places.describe(machine.root / "etc/shadow")
    assert call(machine, "decide", SHADOW, *words) == 0
    assert machine.read(SHADOW) == (THEIRS if way == "theirs" else other)
    assert places.describe(machine.root / "etc/shadow") == before
    assert machine.read("/etc/._cfg0000_shadow") is None
    assert machine.settle().secret == ()


def test_an_answer_that_the_file_cannot_be_is_refused(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"nonsense\n")
    with pytest.raises(Problem, match="shadow refuses the result"):
        call(machine, "decide", SHADOW, "--file", str(tmp_path / "other"))
    with pytest.raises(Problem, match="cannot be read"):
        call(machine, "decide", SHADOW, "--file", str(tmp_path / "missing"))
    assert machine.read(SHADOW) == OURS
    assert len(machine.settle().secret) == 1


def test_a_merge_is_taken_back(machine: Machine) -> None:
    with pytest.raises(Problem, match="was not replaced"):
        call(machine, "undo", SHADOW)
    call(machine, "decide", SHADOW, "theirs")
    assert call(machine, "undo", SHADOW) == 0
    assert machine.read(SHADOW) == OURS
    # That is an answer, too.
    assert machine.settle().secret == ()
    with pytest.raises(Problem, match="was not replaced"):
        call(machine, "undo", SHADOW)


def test_what_was_changed_since_is_not_taken_back(machine: Machine) -> None:
    call(machine, "decide", SHADOW, "theirs")
    machine.lay(SHADOW, OURS + b"b:*:1::::::\n")
    with pytest.raises(Problem, match="changed since"):
        call(machine, "undo", SHADOW)


def test_an_editor_that_fails_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDITOR", "false")
    with pytest.raises(Problem, match="ended with status 1"):
        call(machine, "decide", SHADOW, "--edit")
    assert machine.read(SHADOW) == OURS


def test_what_does_not_wait_cannot_be_answered(machine: Machine) -> None:
    with pytest.raises(Problem, match="does not wait"):
        call(machine, "decide", "/etc/hosts", "ours")


def test_what_is_protected_stands_in_the_header_of_the_index(tmp_path: Path) -> None:
    index = tmp_path / "Packages"
    index.write_text(
        "ARCH: amd64\nCONFIG_PROTECT: /etc\nCONFIG_PROTECT_MASK: /etc/env.d\n\nCONFIG_PROTECT: /no\n"
    )
    assert merge_cli.shielded(index).covers("/etc/x")
    assert not merge_cli.shielded(index).covers("/etc/env.d/x")
    assert not merge_cli.shielded(index).covers("/no/x")
