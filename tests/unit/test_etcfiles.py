"""Every case that a configuration file can be in after an update, with its rule (docs/etc-update.md)."""

import os
from pathlib import Path

import pytest

from appliance.run import run
from distserver_client import origins, replacing
from distserver_client.errors import Away
from distserver_client.protection import Protection, is_secret, protection
from distserver_client.replacing import Change
from distserver_client.snapshots import Store
from distserver_client.triples import (
    Answer,
    Choice,
    Kind,
    Rule,
    Settled,
    State,
    Version,
    digest,
)
from tests.etc_machines import BOTH, CLASH, HELD, LIVE, MINE, NEW, OLD, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    (tmp_path / "etc").mkdir()
    return Machine(tmp_path)


def only(settled: Settled) -> tuple[str, str, str]:
    """In which list the one path is, the path, and how."""
    ((name, one),) = [(name, one) for name, found in vars(settled).items() for one in found]
    return name, one.path, one.how


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "where", "live"),
    [
        (OLD, OLD, NEW, "applied", NEW),
        (OLD, MINE, OLD, "kept", MINE),
        (OLD, NEW, NEW, "kept", NEW),
        (OLD, MINE, NEW, "applied", BOTH),
        (OLD, MINE, CLASH, "asked", MINE),
        # Deleted by the admin, and the package changed it or did not.
        (OLD, None, NEW, "asked", None),
        (OLD, None, OLD, "kept", None),
        # Never installed before: made by the admin, or nothing there.
        (None, MINE, NEW, "asked", MINE),
        (None, None, NEW, "applied", NEW),
    ],
)
def test_each_case_of_three_versions(
    machine: Machine, base: bytes | None, ours: bytes | None, theirs: bytes, where: str, live: bytes | None
) -> None:
    machine.update(base, ours, theirs)
    settled = machine.settle()
    assert only(settled)[:2] == (where, LIVE)
    assert machine.read() == live
    assert (machine.read(HELD) is not None) is (where == "asked")
    # Once more changes nothing.
    again = machine.settle()
    assert again.applied == ()
    assert [one.path for one in again.asked] == [one.path for one in settled.asked]
    assert machine.read() == live


def test_an_unknown_base_is_never_guessed(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    machine.shelf.contents.clear()
    assert "not known any more" in only(machine.settle())[2]
    assert machine.read() == MINE
    assert machine.desk.asked[0].base == ""


def test_a_machine_without_any_list_of_bases_asks(machine: Machine) -> None:
    machine.lay(LIVE, MINE)
    machine.lay(HELD, NEW)
    assert "not known any more" in only(machine.settle())[2]


def test_the_newest_version_counts_and_leftovers_go(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW, held="/etc/conf.d/._cfg0003_thing")
    machine.lay("/etc/conf.d/._cfg0001_thing", b"older\n")
    machine.settle()
    assert machine.read() == BOTH
    assert machine.names("/etc/conf.d") == ["thing"]


def test_of_what_waits_only_the_newest_stays(machine: Machine) -> None:
    machine.update(OLD, MINE, CLASH, held="/etc/conf.d/._cfg0003_thing")
    machine.lay(HELD, b"older\n")
    machine.settle()
    assert machine.names("/etc/conf.d") == ["._cfg0003_thing", "thing"]


def test_a_masked_path_is_not_ours_to_merge(machine: Machine) -> None:
    machine.lay("/etc/env.d/x", MINE)
    machine.lay("/etc/env.d/._cfg0000_x", NEW)
    assert machine.settle() == Settled()
    assert machine.names("/etc/env.d") == ["x"]
    assert machine.read("/etc/env.d/x") == MINE


def test_what_a_killed_agent_left_beside_a_file_goes(machine: Machine) -> None:
    machine.lay(LIVE, MINE)
    for suffix in ("check", "new"):
        machine.lay(f"/etc/conf.d/.thing.distserver-{suffix}", MINE)
    assert machine.settle() == Settled()
    assert machine.names("/etc/conf.d") == ["thing"]


def test_what_portage_offered_before_and_is_silent_on_is_found(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    machine.shelf.contents[digest(NEW)] = NEW
    (machine.root / HELD.lstrip("/")).unlink()
    machine.settle()
    assert machine.read() == BOTH


def test_a_silent_question_is_laid_beside_the_file(machine: Machine) -> None:
    machine.update(OLD, MINE, CLASH)
    machine.shelf.contents[digest(CLASH)] = CLASH
    (machine.root / HELD.lstrip("/")).unlink()
    assert only(machine.settle())[0] == "asked"
    assert machine.read(HELD) == CLASH


def test_a_file_that_is_no_longer_shipped_stays(machine: Machine) -> None:
    machine.lay(LIVE, OLD)
    machine.shelf.before = {LIVE: digest(OLD)}
    where, path, how = only(machine.settle())
    assert (where, path) == ("kept", LIVE)
    assert "no package ships it" in how
    assert machine.read() == OLD


def test_a_link_is_followed_to_a_protected_file(machine: Machine) -> None:
    machine.update(OLD, None, NEW)
    machine.lay("/etc/real", MINE, 0o640)
    (machine.root / "etc/conf.d/thing").symlink_to("/etc/real")
    assert only(machine.settle())[:2] == ("applied", LIVE)
    assert (machine.root / "etc/conf.d/thing").readlink() == Path("/etc/real")
    assert machine.read("/etc/real") == BOTH
    assert (machine.root / "etc/real").stat().st_mode & 0o777 == 0o640


def test_a_link_that_leads_elsewhere_is_a_question_on_the_machine(machine: Machine) -> None:
    machine.update(OLD, None, NEW)
    outside = machine.lay("/srv/real", OLD)
    (machine.root / "etc/conf.d/thing").symlink_to("/srv/real")
    where, _, how = only(machine.settle())
    assert (where, "ours is a link" in how) == ("secret", True)
    assert outside.read_bytes() == OLD
    assert machine.desk.calls == 0


def test_a_directory_that_leads_elsewhere_is_not_written_to(machine: Machine) -> None:
    machine.update(OLD, None, NEW)
    machine.lay("/srv/thing", OLD)
    (machine.root / HELD.lstrip("/")).unlink()
    (machine.root / "etc/conf.d").rmdir()
    (machine.root / "etc/conf.d").symlink_to("/srv")
    machine.shelf.contents[digest(NEW)] = NEW
    where, _, how = only(machine.settle())
    assert (where, "not protected" in how) == ("asked", True)
    assert machine.names("/srv") == ["thing"]
    assert machine.read("/srv/thing") == OLD


@pytest.mark.parametrize("kind", ["directory", "link of theirs"])
def test_a_type_that_changed_is_a_question_on_the_machine(machine: Machine, kind: str) -> None:
    machine.update(OLD, MINE, NEW)
    if kind == "directory":
        (machine.root / "etc/conf.d/thing").unlink()
        (machine.root / "etc/conf.d/thing").mkdir()
    else:
        (machine.root / HELD.lstrip("/")).unlink()
        (machine.root / HELD.lstrip("/")).symlink_to("elsewhere")
    assert only(machine.settle())[0] == "secret"
    assert machine.desk.calls == 0


def test_a_link_in_place_of_an_untouched_file_is_taken(machine: Machine) -> None:
    machine.update(OLD, OLD, NEW)
    (machine.root / HELD.lstrip("/")).unlink()
    (machine.root / HELD.lstrip("/")).symlink_to("elsewhere")
    assert only(machine.settle())[0] == "applied"
    assert (machine.root / "etc/conf.d/thing").readlink() == Path("elsewhere")


def test_permissions_stay(machine: Machine) -> None:
    machine.update(OLD, OLD, NEW)
    (machine.root / "etc/conf.d/thing").chmod(0o755)
    how = only(machine.settle())[2]
    assert "its mode stays 0755, theirs is 0644" in how
    assert (machine.root / "etc/conf.d/thing").stat().st_mode & 0o777 == 0o755


def test_only_permissions_differ(machine: Machine) -> None:
    machine.update(OLD, NEW, NEW)
    (machine.root / "etc/conf.d/thing").chmod(0o755)
    assert only(machine.settle())[0] == "kept"
    assert (machine.root / "etc/conf.d/thing").stat().st_mode & 0o777 == 0o755


def test_a_file_with_several_names_is_asked(machine: Machine) -> None:
    machine.update(OLD, OLD, NEW)
    os.link(machine.root / "etc/conf.d/thing", machine.root / "etc/conf.d/other")
    assert "hard links" in only(machine.settle())[2]
    assert machine.read() == OLD
    machine.desk.answers[LIVE] = Answer(State.THEIRS)
    assert only(machine.settle())[0] == "applied"
    assert (machine.read(), machine.read("/etc/conf.d/other")) == (NEW, OLD)


def test_an_immutable_file_is_tried_again(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    live = machine.root / "etc/conf.d/thing"
    run(["chattr", "+i", live])
    try:
        where, _, how = only(machine.settle())
        assert (where, "lsattr" in how) == ("failed", True)
        assert machine.read() == MINE
    finally:
        run(["chattr", "-i", live])
    assert only(machine.settle())[0] == "applied"
    assert machine.read() == BOTH


def test_a_question_keeps_its_base_over_later_updates(machine: Machine) -> None:
    machine.update(OLD, MINE, CLASH)
    assert only(machine.settle())[0] == "asked"
    later = CLASH.replace(b"key8=0", b"key8=new")
    # The next update: what is installed now is what was never taken account of.
    machine.shelf.before = {LIVE: digest(CLASH), "/etc/other": digest(b"")}
    machine.shelf.contents = {digest(CLASH): CLASH}
    machine.shelf.after = {LIVE: digest(later)}
    machine.lay("/etc/conf.d/._cfg0001_thing", later)
    machine.settle()
    assert machine.desk.asked[-1].base == digest(OLD)
    assert machine.desk.asked[-1].theirs == digest(later)


def test_what_somebody_settled_by_hand_is_not_asked_again(machine: Machine) -> None:
    machine.update(OLD, MINE, CLASH)
    machine.settle()
    machine.lay(LIVE, b"by hand\n")
    (machine.root / HELD.lstrip("/")).unlink()
    machine.shelf.before = machine.shelf.after
    assert machine.settle() == Settled()
    assert machine.read() == b"by hand\n"


def test_an_answer_is_applied_and_the_server_is_asked_once(machine: Machine) -> None:
    for number in range(3):
        machine.update(OLD, MINE, CLASH, f"/etc/conf.d/x{number}")
    settled = machine.settle()
    assert (len(settled.asked), machine.desk.calls) == (3, 1)
    assert set(machine.desk.given.values()) == {OLD, MINE, CLASH}
    decided = MINE.replace(b"mine", b"agreed")
    machine.desk.contents[digest(decided)] = decided
    machine.desk.answers = {
        "/etc/conf.d/x0": Answer(State.DECIDED, digest(decided)),
        "/etc/conf.d/x1": Answer(State.KEEP),
        "/etc/conf.d/x2": Answer(State.THEIRS),
    }
    settled = machine.settle()
    said = [(one.path[-2:], one.item is not None, one.result) for one in (*settled.applied, *settled.kept)]
    assert said == [("x0", True, digest(decided)), ("x2", True, digest(CLASH)), ("x1", True, digest(MINE))]
    live = [machine.read(f"/etc/conf.d/x{number}") for number in range(3)]
    assert live == [decided, MINE, CLASH]
    assert machine.settle() == Settled()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"what is this\n", "sysctl refuses the result"),
        (b"a=1\n<<<<<<< ours\nb=1\n", "refuses"),
        (b"something else", "not the content"),
    ],
)
def test_an_answer_is_not_believed(machine: Machine, content: bytes, said: str) -> None:
    path = "/etc/sysctl.conf"
    machine.update(OLD, MINE, CLASH, path)
    sha256 = digest(b"what was decided") if said == "not the content" else digest(content)
    machine.desk.contents[sha256] = content
    machine.desk.answers[path] = Answer(State.DECIDED, sha256)
    settled = machine.settle()
    where, _, how = only(settled)
    assert where == "failed"
    assert said in how
    assert said.startswith("not") or settled.failed[0].result == sha256
    assert machine.read(path) == MINE


@pytest.mark.parametrize("failure", [OSError("no route to host"), Away("the server does not answer")])
def test_without_the_server_questions_wait(machine: Machine, failure: Exception) -> None:
    machine.desk.failure = failure
    machine.update(OLD, MINE, CLASH)
    machine.update(OLD, MINE, NEW, "/etc/conf.d/clean")
    settled = machine.settle()
    assert [one.path for one in settled.applied] == ["/etc/conf.d/clean"]
    assert [one.path for one in settled.asked] == [LIVE]


@pytest.mark.parametrize(
    ("path", "mode", "rule"),
    [
        ("/etc/shadow", 0o644, None),
        ("/etc/ssl/private/x.pem", 0o644, False),
        ("/etc/thing/server.key", 0o644, None),
        ("/etc/conf.d/password", 0o600, None),
        ("/etc/conf.d/open", 0o644, True),
    ],
)
def test_a_secret_never_leaves_the_machine(machine: Machine, path: str, mode: int, rule: bool | None) -> None:
    ours, theirs = b"a:*:1::::::\nb:1:1::::::\n", b"a:*:2::::::\nb:1:1::::::\n"
    machine.rules = (Rule("*", Choice.ASK, rule),)
    machine.update(b"a:*:1::::::\n", ours, theirs, path)
    (machine.root / path.lstrip("/")).chmod(mode)
    machine.desk.answers[path] = Answer(State.THEIRS, "", (digest(ours),))
    where, _, _ = only(machine.settle())
    assert where == "secret"
    assert machine.desk.asked[0].secret
    assert machine.desk.given == {}
    assert machine.read(path) == ours


def test_a_policy_may_open_a_file_that_others_cannot_read() -> None:
    closed = Version(Kind.FILE, b"", 0o440)
    assert is_secret("/etc/sudoers", Rule("*"), closed)
    assert not is_secret("/etc/sudoers", Rule("*", secret=False), closed)


@pytest.mark.parametrize(
    ("choice", "where", "live", "waits"),
    [
        (Choice.OURS, "kept", MINE, False),
        (Choice.THEIRS, "applied", NEW, False),
        (Choice.ASK, "asked", MINE, True),
        (Choice.NEVER, "kept", MINE, True),
    ],
)
def test_policies(machine: Machine, choice: Choice, where: str, live: bytes, waits: bool) -> None:
    machine.rules = (Rule("/etc/*", choice),)
    machine.update(OLD, MINE, NEW)
    assert only(machine.settle())[0] == where
    assert machine.read() == live
    assert (machine.read(HELD) is not None) is waits


def test_the_same_triple_gives_the_same_bytes_on_100_machines(tmp_path: Path) -> None:
    results = set()
    for number in range(100):
        machine = Machine(tmp_path / str(number))
        machine.update(OLD, MINE, NEW)
        machine.settle()
        results.add(machine.read())
    assert results == {BOTH}


def test_a_crash_before_the_commit_is_put_right_by_the_next_run(machine: Machine) -> None:
    machine.update(OLD, MINE, NEW)
    store = Store(machine.state)

    change = Change(
        LIVE, Version(Kind.FILE, MINE), Version(Kind.FILE, BOTH), None, LIVE, digest(NEW), (HELD,)
    )
    replacing.replace(machine.root, store, [change])
    assert machine.read() == BOTH
    assert only(machine.settle())[0] == "applied"
    assert machine.read() == BOTH
    assert machine.read(HELD) is None
    assert origins.load(machine.state).done == {LIVE: digest(NEW)}


def test_protection_is_read_as_portage_does() -> None:
    read = protection({"CONFIG_PROTECT": "/etc/ '/opt/a b'", "CONFIG_PROTECT_MASK": "/etc/env.d /etc/a"})
    covered = [read.covers(path) for path in ("/etc/x", "/etc/env.d/x", "/etc/ab", "/opt/a b/x", "/usr/x")]
    assert covered == [True, False, True, True, False]
    assert Protection(("/etc", "/etc/env.d/mine"), ("/etc/env.d",)).covers("/etc/env.d/mine")
    assert not Protection(("/etc",), ("/etc",)).covers("/etc/x")
