"""Accounts: who gets in, for how long, and what stops who tries again and again."""

import sqlite3
from pathlib import Path

import pytest

from appliance.account_model import (
    FREE_FOR_ACCOUNT,
    FREE_FOR_ADDRESS,
    IDLE_SECONDS,
    LONGEST_WAIT,
    SESSION_SECONDS,
    Account,
    Refused,
    Role,
    address_key,
    password_fault,
    wait_seconds,
)
from appliance.desks.accounts import AccountDesk
from appliance.desks.api_tokens import ApiTokenDesk
from appliance.desks.audit import AuditDesk
from appliance.errors import Problem
from appliance.passwords import HASHER as DEAR_HASHER
from appliance.passwords import NOBODY as DEAR_NOBODY
from appliance.passwords import verify_password
from appliance.store import Store
from appliance.store.attempts import MOST_ROWS
from tests.clock import Clock
from tests.webdoor import PASSWORD

pytestmark = pytest.mark.usefixtures("cheap_passwords")
HERE = "192.0.2.7"


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


class Office:
    """The desks over one store; another Office over the same path is another process."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.store = Store(path)
        self.audit = AuditDesk(self.store, clock)
        self.accounts = AccountDesk(self.store, self.audit, clock)
        self.tokens = ApiTokenDesk(self.store, self.audit, clock)

    def admin(self, name: str = "ann") -> Account:
        if self.accounts.nobody_yet:
            return self.accounts.follow(self.accounts.first_link(), name=name, password=PASSWORD)
        secret = self.accounts.invite(name, Role.ADMIN)
        return self.accounts.follow(secret, password=PASSWORD)

    def fail(self, name: str, times: int, address: str = HERE) -> None:
        for _ in range(times):
            with pytest.raises(Refused, match="Name or password is not right"):
                self.accounts.log_in(name, "wrong password", address=address)


@pytest.fixture
def office(tmp_path: Path, clock: Clock) -> Office:
    return Office(tmp_path / "store", clock)


def test_a_role_may_what_lower_ones_may() -> None:
    assert Role.ADMIN.covers(Role.VIEWER) and Role.OPERATOR.covers(Role.OPERATOR)
    assert not Role.VIEWER.covers(Role.OPERATOR) and not Role.OPERATOR.covers(Role.ADMIN)


def test_waits_grow_and_end_somewhere() -> None:
    assert [wait_seconds(failures, 3) for failures in (1, 2, 3, 4, 5)] == [0.0, 0.0, 1.0, 2.0, 4.0]
    assert wait_seconds(10**9, 3) == LONGEST_WAIT


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("nonsense", "", True),
    ],
)
def test_failures_count_for_an_address_or_a_network_of_ipv6(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaa", "annannannann", "x" * 2000, "ann1234567"])
def test_a_weak_password_is_refused(password: str) -> None:
    assert password_fault(password, "ann")


def test_the_first_link_makes_one_admin_and_works_once(office: Office) -> None:
    link = office.accounts.first_link()
    with pytest.raises(Problem, match="at least 10 characters"):
        office.accounts.follow(link, name="ann", password="short")
    with pytest.raises(Problem, match="is no name"):
        office.accounts.follow(link, name="Ann Ann", password=PASSWORD)
    assert office.accounts.follow(link, name="ann", password=PASSWORD).role is Role.ADMIN
    with pytest.raises(Refused, match="used already"):
        office.accounts.follow(link, name="eve", password=PASSWORD)
    with pytest.raises(Problem, match="an admin already"):
        office.accounts.first_link()
    assert [one.name for one in office.accounts.all()] == ["ann"]


def test_an_invitation_lets_its_owner_choose_a_password(office: Office, clock: Clock) -> None:
    office.admin()
    old = office.accounts.invite("bob", Role.OPERATOR)
    link = office.accounts.invite("bob", Role.OPERATOR)
    with pytest.raises(Refused):
        office.accounts.follow(old, password=PASSWORD)
    bob = office.accounts.follow(link, name="eve", password=PASSWORD)
    assert (bob.name, bob.role) == ("bob", Role.OPERATOR)
    assert office.accounts.log_in("bob", PASSWORD, address=HERE) == bob
    with pytest.raises(Problem, match="an account bob already"):
        office.accounts.invite("bob", Role.ADMIN)
    late = office.accounts.invite("carl", Role.VIEWER)
    clock.now += 4 * 86400
    with pytest.raises(Refused, match="over"):
        office.accounts.follow(late, password=PASSWORD)


def test_a_password_that_nobody_has_costs_as_much_work_as_any() -> None:
    # Imported before the fixture that makes the others quick.
    assert not DEAR_HASHER.check_needs_rehash(DEAR_NOBODY)
    assert not verify_password("", "")


def test_an_unknown_name_and_a_wrong_password_are_told_the_same(office: Office) -> None:
    office.admin()
    said = set()
    for name in ("ann", "nobody"):
        with pytest.raises(Refused) as refused:
            office.accounts.log_in(name, "wrong password", address=HERE)
        said.add(refused.value.message)
    assert len(said) == 1
    # What was typed as a name may be a password: it is in no row.
    dump = "\n".join(office.store.database.connection.iterdump())
    assert "nobody'" not in dump.replace("a name nobody has", "")


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_after_some_failures_one_waits_longer_each_time(office: Office, clock: Clock, name: str) -> None:
    office.admin()
    office.fail(name, FREE_FOR_ACCOUNT)
    waits = []
    for _ in range(4):
        with pytest.raises(Refused, match="Too many attempts") as refused:
            office.accounts.log_in(name, PASSWORD, address=HERE)
        waits.append(refused.value.wait_seconds)
        clock.now += refused.value.wait_seconds + 0.1
        office.fail(name, 1)
    assert waits == sorted(waits) and waits[3] > 3 * waits[0]


def test_a_lock_outlives_the_process_and_ends_with_its_time(
    office: Office, clock: Clock, tmp_path: Path
) -> None:
    office.admin()
    office.fail("ann", FREE_FOR_ACCOUNT)
    office.store.close()
    again = Office(tmp_path / "store", clock)
    with pytest.raises(Refused, match="Too many attempts"):
        again.accounts.log_in("ann", PASSWORD, address="198.51.100.1")
    clock.now += LONGEST_WAIT
    assert again.accounts.log_in("ann", PASSWORD, address=HERE).name == "ann"
    again.fail("ann", FREE_FOR_ACCOUNT - 1)


def test_an_address_that_tries_many_names_is_locked_for_all_of_them(office: Office) -> None:
    office.admin()
    for number in range(FREE_FOR_ADDRESS):
        office.store.attempts.begin({f"name {number}": 5, address_key(HERE): FREE_FOR_ADDRESS}, now=1000.0)
    with pytest.raises(Refused, match="Too many attempts"):
        office.accounts.log_in("ann", PASSWORD, address=HERE)
    assert office.accounts.log_in("ann", PASSWORD, address="192.0.2.8").name == "ann"


def test_a_flood_of_names_takes_bounded_room_and_opens_no_lock(office: Office, clock: Clock) -> None:
    office.admin()
    office.fail("ann", FREE_FOR_ACCOUNT)
    with office.store.database.change():
        office.store.database.connection.executemany(
            "INSERT INTO attempt VALUES (?, 1, ?, 0)", [(f"name {n}", 1000.5) for n in range(MOST_ROWS)]
        )
    clock.now += 0.9
    office.fail("nobody", 1, address="198.51.100.1")
    row = office.store.database.row("SELECT COUNT(*) AS rows FROM attempt")
    assert row and row["rows"] <= MOST_ROWS + 1
    with pytest.raises(Refused, match="Too many attempts"):
        office.accounts.log_in("ann", PASSWORD, address="198.51.100.2")


def test_attempts_at_the_same_time_are_all_counted_before_a_password_is_looked_at(office: Office) -> None:
    free = {"account ann": FREE_FOR_ACCOUNT}
    answers = [office.store.attempts.begin(free, now=1000.0) for _ in range(50)]
    assert answers.count(0.0) == FREE_FOR_ACCOUNT


def test_a_session_ends_when_it_idles_and_at_the_latest_after_its_time(office: Office, clock: Clock) -> None:
    ann = office.admin()
    secret = office.accounts.begin_session(ann, address=HERE)
    assert secret not in "\n".join(office.store.database.connection.iterdump())
    clock.now += IDLE_SECONDS - 1
    assert office.accounts.of_session(secret) == ann
    clock.now += IDLE_SECONDS + 1
    assert office.accounts.of_session(secret) is None
    lasting = office.accounts.begin_session(ann, address=HERE)
    begun = clock.now
    while clock.now < begun + SESSION_SECONDS - 1:
        assert office.accounts.of_session(lasting) == ann
        clock.now += IDLE_SECONDS - 1
    clock.now = begun + SESSION_SECONDS
    assert office.accounts.of_session(lasting) is None
    assert office.accounts.sessions("ann") == []


def test_sessions_end_with_the_password_and_when_the_account_is_disabled(office: Office) -> None:
    ann, bob = office.admin(), office.admin("bob")
    first = office.accounts.begin_session(bob, address=HERE)
    link = office.accounts.login_link("bob")[1]
    with pytest.raises(Refused):
        office.accounts.change_password(bob, "wrong password", "another horse battery", address=HERE)
    assert office.accounts.of_session(first)
    office.accounts.change_password(bob, PASSWORD, "another horse battery", address=HERE)
    assert office.accounts.of_session(first) is None
    assert office.accounts.link_for(link) is None
    second = office.accounts.begin_session(bob, address=HERE)
    office.accounts.disable("bob")
    assert office.accounts.of_session(second) is None
    with pytest.raises(Refused, match="Name or password is not right"):
        office.accounts.log_in("bob", "another horse battery", address=HERE)
    office.accounts.enable("bob")
    assert office.accounts.of_session(second) is None
    assert office.accounts.log_in("bob", "another horse battery", address=HERE).name == "bob"
    assert office.accounts.of_session(office.accounts.begin_session(ann, address=HERE)) == ann


def test_the_last_admin_stays_one(office: Office) -> None:
    office.admin()
    office.accounts.invite("bob", Role.ADMIN)  # who has not come yet
    for change in (office.accounts.disable, lambda name: office.accounts.set_role(name, Role.VIEWER)):
        with pytest.raises(Problem, match="the only admin"):
            change("ann")
    office.admin("carl")
    assert office.accounts.set_role("ann", Role.VIEWER).role is Role.VIEWER


def test_a_token_allows_no_more_than_its_scope_its_account_and_its_time(office: Office, clock: Clock) -> None:
    office.admin("carl")
    ann = office.admin()
    made, text = office.tokens.make(ann, "backup", Role.OPERATOR, days=2)
    assert text not in "\n".join(office.store.database.connection.iterdump())
    comes = office.tokens.account(text)
    assert comes and (comes.name, comes.role) == ("ann", Role.OPERATOR)
    office.accounts.set_role("ann", Role.VIEWER)
    comes = office.tokens.account(text)
    assert comes and comes.role is Role.VIEWER
    with pytest.raises(Problem, match="gives out no operator"):
        office.tokens.make(office.accounts.get("ann"), "more", Role.OPERATOR, days=1)
    office.accounts.disable("ann")
    assert office.tokens.account(text) is None
    office.accounts.enable("ann")
    assert office.tokens.account(text)
    clock.now += 2 * 86400
    assert office.tokens.account(text) is None
    other, text = office.tokens.make(office.accounts.get("ann"), "other", Role.VIEWER, days=1)
    with pytest.raises(Problem, match="has no token"):
        office.tokens.end("carl", other.id)
    office.tokens.end("ann", other.id)
    assert office.tokens.account(text) is None
    assert made.id != other.id


@pytest.mark.parametrize("days", [0.0, -1.0, float("inf"), float("nan"), 10_000.0])
def test_a_token_has_an_end(office: Office, days: float) -> None:
    with pytest.raises(Problem, match="expected more than 0"):
        office.tokens.make(office.admin(), "backup", Role.VIEWER, days=days)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET who = 'nobody'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, 'eve', '', '', '')",
        "REPLACE INTO audit VALUES (1, 0, 'eve', '', '', '')",
        "UPDATE OR IGNORE audit SET who = 'nobody'",
    ],
)
def test_the_audit_log_is_only_added_to(office: Office, statement: str) -> None:
    office.audit.note("cli root", "arm", "52:54:00:00:00:01")
    before = office.audit.page()
    with pytest.raises(sqlite3.IntegrityError, match="only added to"):
        office.store.database.execute(statement)
    assert office.audit.page() == before


def test_the_audit_log_is_filtered_and_paged(office: Office) -> None:
    for number in range(7):
        office.audit.note("web ann" if number % 2 else "cli root", "arm", f"machine {number}")
    office.audit.note(None, "disarm", "machine 3")
    assert [one.subject for one in office.audit.page(who="web ann")] == [
        "machine 5",
        "machine 3",
        "machine 1",
    ]
    assert [one.who for one in office.audit.page(subject="machine 3")] == ["server", "web ann"]
    first = office.audit.page(action="arm", limit=3)
    rest = office.audit.page(action="arm", before=first[-1].id)
    assert [one.subject for one in (*first, *rest)] == [f"machine {number}" for number in range(6, -1, -1)]
    assert office.audit.actions() == ["arm", "disarm"]


def test_a_change_that_fails_leaves_no_line(office: Office) -> None:
    with pytest.raises(ZeroDivisionError), office.store.database.change():
        office.audit.note("cli root", "arm", "x")
        raise ZeroDivisionError
    assert office.audit.page() == []
