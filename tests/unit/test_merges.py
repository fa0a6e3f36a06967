"""A configuration merge is asked once for all machines with the same triple, decided once, and taken back."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.client_settings import ConfigRule
from appliance.desks import merges as desk_of
from appliance.errors import Problem
from appliance.merge_model import (
    MOST_FILE_BYTES,
    SECRET_PATHS,
    Asking,
    Choice,
    Ending,
    Full,
    is_secret,
    serves,
)
from appliance.merge_secrets import is_withheld
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm.signing import Signer
from distserver_client.protection import SECRET
from tests.clock import Clock
from tests.mergeyard import BASE, MERGED, OURS, PATH, THEIRS, Client, add_machine, item, mac, post, sha256
from tests.press import Press


@pytest.fixture
def clock() -> Clock:
    return Clock(1795338000.0)


@pytest.fixture
def services(tmp_path: Path, clock: Clock) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"), clock)


def ask(services: Services, number: int = 1) -> Client:
    client = Client(services, add_machine(services, number))
    assert client.settle() == "asked"
    return client


def only(services: Services, state: str) -> int:
    (question,) = services.merges.find(state, limit=10)
    return question.id


def test_a_hundred_machines_with_the_same_triple_ask_one_question_and_get_the_same_bytes(
    services: Services,
) -> None:
    profiles = ("vm", "amd64")
    clients = [Client(services, add_machine(services, n, profiles[n % 2])) for n in range(100)]
    assert {client.settle() for client in clients} == {"asked"}
    (question,) = services.merges.find("open", limit=10)
    assert (question.waiting, question.profiles) == (100, ("amd64", "vm"))
    assert serves(question.waiting, question.profiles) == "100 machines of amd64, vm"
    services.merges.decide(question.id, Choice.TEXT, MERGED, who="web ann", why="ports stay")
    assert {client.settle() for client in clients} == {"decided"}
    assert {client.file for client in clients} == {MERGED}
    assert services.merges.view(question.id).tally == {Asking.APPLIED: 100}
    late = Client(services, add_machine(services, 100))
    assert (late.settle(), late.file) == ("decided", MERGED)


def test_each_content_is_wanted_once_and_never_one_that_a_release_of_this_server_has(
    services: Services, tmp_path: Path
) -> None:
    services.tree.room("etc-base")
    for content in (BASE, THEIRS):
        (services.tree.path / "etc-base" / sha256(content)).write_bytes(content)
    first, second = add_machine(services, 1), add_machine(services, 2)
    (answer,) = post(services, first, item())
    assert answer["wants"] == [sha256(OURS)]
    services.merges.give(first, sha256(OURS), OURS)
    (answer,) = post(services, second, item())
    assert (answer["state"], answer["wants"]) == ("asked", [])
    view = services.merges.view(only(services, "open"))
    assert [view.base.content, view.ours.content, view.theirs.content] == [BASE, OURS, THEIRS]


def test_another_hash_of_the_three_or_another_path_is_another_question(services: Services) -> None:
    add_machine(services, 1)
    for more in ({}, {"base": ""}, {"theirs": sha256(b"x")}, {"ours": sha256(b"y")}):
        post(services, mac(1), item(**more), whole=False)
    post(services, mac(1), item(path="/etc/other"), whole=False)
    assert len(services.merges.after("", 0, limit=10)) == 5
    # Of one path a machine waits with the newest only: its file is another one now.
    assert services.merges.count("open") == 2


@pytest.mark.parametrize(
    ("choice", "state", "file"), [(Choice.OURS, "keep", OURS), (Choice.THEIRS, "theirs", THEIRS)]
)
def test_ours_and_theirs_need_no_content_from_the_server(
    services: Services, choice: Choice, state: str, file: bytes
) -> None:
    client = ask(services)
    services.merges.decide(only(services, "open"), choice)
    assert (client.hear(), client.file) == ([state], file)
    assert services.merges.news(client.machine) == []


def test_a_text_that_is_one_of_the_two_is_that_choice(services: Services) -> None:
    ask(services)
    assert services.merges.decide(only(services, "open"), Choice.TEXT, THEIRS).choice is Choice.THEIRS


def test_a_decision_taken_back_puts_the_old_file_back_and_asks_again(services: Services) -> None:
    client, other = ask(services, 1), ask(services, 2)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    assert (client.hear(), client.file) == (["decided"], MERGED)
    assert services.merges.undo(number, who="web ann", why="wrong port") == 1
    assert (client.hear(), client.file) == (["undo"], OURS)
    assert services.merges.waits(client.machine) == services.merges.waits(other.machine) == 0
    assert (client.settle(), other.settle()) == ("asked", "asked")
    assert services.merges.question(number).waiting == 2
    assert [(one.ended, one.ended_by) for one in services.merges.view(number).history] == [
        (Ending.UNDONE, "web ann")
    ]


def test_a_machine_whose_file_changed_since_keeps_it_when_a_decision_is_taken_back(
    services: Services,
) -> None:
    client = ask(services)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    client.settle()
    client.file = b"edited by hand\n"
    services.merges.undo(number)
    assert (client.hear(), client.file) == (["undo"], b"edited by hand\n")
    assert services.merges.waits(client.machine) == 0


def test_a_machine_that_applied_it_only_after_it_was_taken_back_is_told_at_once(services: Services) -> None:
    client = ask(services)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    services.merges.undo(number)
    assert client.report("applied", result=sha256(MERGED)) == {"state": "undo", "result": sha256(MERGED)}
    client.file = MERGED
    assert (client.hear(), client.file) == (["undo"], OURS)


def test_what_a_machines_own_validators_refuse_is_asked_again_with_their_words(services: Services) -> None:
    client, happy = ask(services, 1), ask(services, 2)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    happy.settle()
    client.report("refused", result=sha256(MERGED), said="sshd -t: line 1: Bad number '2222x'")
    assert only(services, "open") == number
    view = services.merges.view(number)
    assert [(one.ended, one.ended_why) for one in view.history] == [
        (Ending.REFUSED, "sshd -t: line 1: Bad number '2222x'")
    ]
    # It goes on asking, and what it said stays to be read; who applied it is left alone.
    assert client.settle() == "asked"
    assert {one.machine: one.state for one in services.merges.view(number).askers} == {
        client.machine: Asking.REFUSED,
        happy.machine: Asking.APPLIED,
    }
    assert services.merges.waits(happy.machine) == 0
    services.merges.decide(number, Choice.THEIRS)
    assert (client.hear(), client.file) == (["theirs"], THEIRS)
    assert ("machine " + client.machine, "merge refused") in [
        (note.who, note.action) for note in services.audit.page()
    ]


def test_an_old_refusal_does_not_end_a_newer_decision(services: Services) -> None:
    client = ask(services)
    number = only(services, "open")
    services.merges.decide(number, Choice.THEIRS)
    client.report("refused", result=sha256(MERGED), said="late")
    decision = services.merges.question(number).decision
    assert decision and decision.choice is Choice.THEIRS


def test_two_people_decide_at_once_and_the_second_is_told(services: Services) -> None:
    ask(services)
    number = only(services, "open")
    services.merges.decide(number, Choice.OURS, who="web ann")
    with pytest.raises(Problem, match="is decided already"):
        services.merges.decide(number, Choice.THEIRS, who="web bob")
    assert [note.who for note in services.audit.page(action="merge decide")] == ["web ann"]


def test_secrets_leave_nothing_but_hashes_and_are_not_decided_here(services: Services) -> None:
    machine = add_machine(services, 1)
    answers = post(services, machine, item("/etc/shadow"), item("/etc/x", secret=True))
    assert [(one["state"], "wants" in one) for one in answers] == [("asked", False)] * 2
    assert services.merges.count("secret") == 2 and services.merges.count("open") == 0
    for content in (BASE, OURS, THEIRS):
        with pytest.raises(Problem, match="no open question of this machine wants"):
            services.merges.give(machine, sha256(content), content)
    with pytest.raises(Problem, match="decided on its machine"):
        services.merges.decide(services.merges.find("secret", limit=1)[0].id, Choice.OURS)
    assert services.store.contents.bytes_of() == 0


def call_secret(services: Services, profile: str, *globs: str) -> None:
    """The profile's file, as a person edits it while the server runs."""
    file = services.live.path / "profiles" / profile / "profile.toml"
    rules = [f'[[client.config]]\npath = "{glob}"\nsecret = true\n' for glob in globs]
    file.write_text("\n".join([file.read_text(), *rules]))


def test_what_a_profile_calls_secret_is_answered_on_its_machines(services: Services) -> None:
    call_secret(services, "vm", "/etc/app/*")
    machine = add_machine(services, 1, "vm")
    # Its agent has not heard of it yet.
    (answer,) = post(services, machine, item("/etc/app/db.conf"))
    assert answer["state"] == "asked" and "wants" not in answer
    for content in (BASE, OURS, THEIRS):
        with pytest.raises(Problem, match="wants"):
            services.merges.give(machine, sha256(content), content)
    number = only(services, "secret")
    with pytest.raises(Problem, match="decided on its machine"):
        services.merges.decide(number, Choice.OURS)
    assert services.merges.news(machine) == [] and services.store.contents.bytes_of() == 0
    # Machines of another profile do not have that rule, and another file is open as ever.
    (plain,) = post(services, add_machine(services, 2, "amd64"), item("/etc/app/other.conf"))
    assert len(plain["wants"]) == 3
    # The same triple is the same question: one of them has said that it is secret.
    (shared,) = post(services, mac(2), item("/etc/app/db.conf"))
    assert "wants" not in shared


def test_what_is_called_secret_later_loses_its_contents_before_anybody_sees_it(services: Services) -> None:
    client = ask(services)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    assert services.merges.content(sha256(OURS)) == OURS
    call_secret(services, "vm", "/etc/ssh/*")
    view = services.merges.view(number)
    assert (view.question.state, view.ours.content, view.result) == ("secret", None, None)
    assert [one.ended for one in view.history] == [Ending.UNDONE]
    assert services.store.contents.bytes_of() == 0
    assert client.services.merges.content_for(client.machine, sha256(MERGED)) is None
    assert services.merges.count("secret") == 1


def test_of_several_rules_the_last_one_counts_and_well_known_secrets_stay_so() -> None:
    rules = {"vm": (ConfigRule("/etc/*", secret=True), ConfigRule("/etc/a", secret=False))}
    assert is_withheld("/etc/b", ["vm"], rules)
    assert not is_withheld("/etc/a", ["vm"], rules)
    assert not is_withheld("/etc/b", ["amd64"], rules)
    assert is_withheld("/etc/shadow", ["amd64"], rules)


def test_server_and_machines_know_the_same_secrets() -> None:
    assert SECRET_PATHS == SECRET


def test_contents_of_a_question_that_turns_out_to_be_secret_are_removed_at_once(services: Services) -> None:
    ask(services, 1)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    assert services.store.contents.bytes_of() > 0
    post(services, add_machine(services, 2), item(secret=True))
    assert services.store.contents.bytes_of() == 0
    assert services.merges.question(number).state == "secret"
    assert services.merges.news(mac(1)) == []


@pytest.mark.parametrize(
    "path",
    ["/etc/shadow", "/etc/shadow-", "/etc/ssh/ssh_host_ed25519_key", "/etc/ssl/private/a.pem", "/a.key"],
)
def test_well_known_secrets_are_known(path: str) -> None:
    assert is_secret(path)


def test_what_a_machine_does_not_name_any_more_is_settled_there(services: Services) -> None:
    machine = ask(services).machine
    post(services, machine, item("/etc/a"), whole=False)
    assert services.merges.count("open", machine) == 2
    post(services, machine, item("/etc/a"))
    assert [one.triple.path for one in services.merges.find("open", limit=9)] == ["/etc/a"]
    post(services, machine)
    assert services.merges.count("open") == 0


def test_asking_again_writes_nothing(services: Services) -> None:
    client = ask(services)
    before = services.store.database.connection.total_changes
    assert client.settle() == "asked"
    assert services.store.database.connection.total_changes == before


def test_a_refused_text_decides_nothing_and_is_not_kept(services: Services) -> None:
    ask(services)
    size = services.store.contents.bytes_of()
    with pytest.raises(Problem, match="marker"):
        services.merges.decide(only(services, "open"), Choice.TEXT, b"<<<<<<< ours\n")
    assert services.store.contents.bytes_of() == size
    assert services.merges.count("decided") == 0


def test_contents_are_taken_only_whole_wanted_and_while_there_is_room(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, other = add_machine(services, 1), add_machine(services, 2)
    large = b"x" * (MOST_FILE_BYTES + 1)
    post(services, machine, item(ours=sha256(large)))
    with pytest.raises(Full, match="at most"):
        services.merges.give(machine, sha256(large), large)
    with pytest.raises(Problem, match="is not the content"):
        services.merges.give(machine, sha256(OURS), BASE)
    with pytest.raises(Problem, match="no open question of this machine"):
        services.merges.give(other, sha256(BASE), BASE)
    monkeypatch.setattr(desk_of, "MOST_BYTES_OF_ONE", len(BASE))
    services.merges.give(machine, sha256(BASE), BASE)
    with pytest.raises(Full, match="sent"):
        services.merges.give(machine, sha256(THEIRS), THEIRS)
    monkeypatch.setattr(desk_of, "MOST_BYTES", len(BASE))
    post(services, other, item())
    with pytest.raises(Full, match="already"):
        services.merges.give(other, sha256(THEIRS), THEIRS)


def test_a_machine_gets_results_of_its_own_questions_and_what_packages_ship_alone(services: Services) -> None:
    ask(services, 1)
    other = add_machine(services, 2)
    services.merges.decide(only(services, "open"), Choice.TEXT, MERGED)
    assert services.merges.content_for(other, sha256(MERGED)) is None
    assert services.merges.content_for(mac(1), sha256(MERGED)) == MERGED
    assert services.merges.content_for(mac(1), sha256(THEIRS)) is None
    assert services.merges.content_for(mac(1), "../../keys") is None
    (services.tree.room("etc-base") / sha256(THEIRS)).write_bytes(THEIRS)
    assert services.merges.content_for(other, sha256(THEIRS)) == THEIRS


def test_a_machine_that_asks_without_end_is_refused_and_leaves_nothing(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_of, "MOST_OPEN", 3)
    with pytest.raises(Full, match="more than 3"):
        post(services, add_machine(services, 1), *(item(f"/etc/{n}") for n in range(4)))
    assert services.merges.after("", 0, limit=9) == []
    with pytest.raises(Problem, match="no machine"):
        post(services, mac(7), item())


def test_a_retired_machine_waits_no_more(services: Services) -> None:
    ask(services, 1)
    ask(services, 2)
    services.machine_desk.retire(mac(1))
    assert services.merges.find("open", limit=9)[0].waiting == 1
    services.machine_desk.retire(mac(2))
    assert services.merges.count("open") == 0


def test_what_nobody_asks_is_forgotten_after_a_while_with_its_contents(
    services: Services, clock: Clock
) -> None:
    client = ask(services)
    services.merges.tidy()
    assert services.store.contents.bytes_of() > 0
    post(services, client.machine)
    clock.now += desk_of.KEPT_SECONDS + 1
    services.merges.tidy()
    assert services.merges.after("", 0, limit=9) == []
    assert services.store.contents.bytes_of() == 0
    # A decision is for machines that come later, too.
    client.settle()
    services.merges.decide(only(services, "open"), Choice.TEXT, MERGED)
    clock.now += 10 * desk_of.KEPT_SECONDS
    services.merges.tidy()
    assert services.merges.content(sha256(MERGED)) == MERGED


def test_gc_keeps_the_pristine_files_that_a_question_names(services: Services) -> None:
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    press.published(b"one")
    base = services.tree.path / "etc-base" / sha256(BASE)
    for place in (base, base.with_name(sha256(b"nothing"))):
        place.write_bytes(BASE)
        os.utime(place, (0, 0))
    services.store.contents.put(sha256(b"loose"), b"loose", machine="", now=0.0)
    ask(services)
    fates = {fate.name: fate for fate in press.desk().collect(dry_run=True)}
    assert fates[sha256(b"loose")].goes and services.store.contents.has(sha256(b"loose"))
    fates = {fate.name: fate for fate in press.desk().collect(dry_run=False)}
    assert fates[base.name].reasons == ("a merge names it",)
    assert base.exists() and not base.with_name(sha256(b"nothing")).exists()
    assert not services.store.contents.has(sha256(b"loose"))
    assert services.tree.store.exists()


def test_half_a_surrogate_pair_in_what_a_client_says_is_taken(services: Services) -> None:
    client = ask(services)
    client.report("refused", result=sha256(MERGED), said="\ud800")
    assert services.merges.question(only(services, "open")).triple.path == PATH


def test_webhooks_are_told_once_that_a_file_waits_and_again_when_a_machine_refuses(
    services: Services,
) -> None:
    services.webhooks.add("http://127.0.0.1:9/", ["question.waits"])
    client = ask(services, 1)
    ask(services, 2)
    number = only(services, "open")
    services.merges.decide(number, Choice.TEXT, MERGED)
    ask_late = Client(services, add_machine(services, 3))
    assert ask_late.settle() == "decided"
    client.report("refused", result=sha256(MERGED), said="sshd -t: no")
    told = services.store.database.rows("SELECT event, subject, detail FROM delivery ORDER BY id")
    assert [tuple(one) for one in told] == [
        ("question.waits", PATH, "both changed line 1"),
        ("question.waits", PATH, "sshd -t: no"),
    ]
