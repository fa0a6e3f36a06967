"""Accounts in the API, for admins: what it takes, answers and does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from flask import url_for

from appliance import account_model
from appliance.account_model import Role
from appliance.services import Services
from webui.api.operation import Operation, Page, looking
from webui.api.schema import Rule

ONE = "/accounts/{account}"


@dataclass(frozen=True)
class NewAccount:
    """Somebody who is invited."""

    name: Annotated[str, Rule("lower-case letters, digits, dot, _ and -", pattern=account_model.NAME.pattern)]
    role: Role


@dataclass(frozen=True)
class RoleChoice:
    """The role an account gets."""

    role: Role


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in; times are seconds since the epoch."""

    name: str
    role: Role
    disabled: bool
    invited: bool
    created_at: float
    sessions: int


@dataclass(frozen=True)
class Invitation:
    """A link with which its owner chooses a password, once, within three days; it is shown this once."""

    account: Account
    link: str


def list_accounts(desk: Services) -> Page:
    return Page(tuple(shape(desk, one) for one in desk.accounts.all()), None)


def invite_account(desk: Services, body: NewAccount) -> Invitation:
    secret = desk.accounts.invite(body.name, body.role)
    link = url_for("signing.link", token=secret, _external=True)
    return Invitation(shape(desk, desk.accounts.get(body.name)), link)


def set_role(desk: Services, account: str, body: RoleChoice) -> Account:
    return shape(desk, desk.accounts.set_role(name_of(desk, account), body.role))


def end_sessions(desk: Services, account: str) -> Account:
    name = name_of(desk, account)
    desk.accounts.end_sessions(name)
    return shape(desk, desk.accounts.get(name))


def switch(
    act: Callable[[Services], Callable[[str], account_model.Account]],
) -> Callable[[Services, str], Account]:
    return lambda desk, account: shape(desk, act(desk)(name_of(desk, account)))


def name_of(desk: Services, account: str) -> str:
    with looking():
        return desk.accounts.get(account).name


def shape(desk: Services, one: account_model.Account) -> Account:
    sessions = len(desk.accounts.sessions(one.name))
    return Account(one.name, one.role, one.disabled, not one.has_password, one.created_at, sessions)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listAccounts", "GET", "/accounts", Role.ADMIN, "Who may sign in.", list_accounts, Account,
        listed=True,
    ),
    Operation(
        "inviteAccount", "POST", "/accounts", Role.ADMIN, "Invite somebody.", invite_account, Invitation,
        body=NewAccount, status=201,
    ),
    Operation(
        "setRole", "POST", f"{ONE}/role", Role.ADMIN, "Give an account another role.", set_role, Account,
        body=RoleChoice,
    ),
    Operation(
        "disableAccount", "POST", f"{ONE}/disable", Role.ADMIN, "Let nobody in as this account.",
        switch(lambda desk: desk.accounts.disable), Account,
    ),
    Operation(
        "enableAccount", "POST", f"{ONE}/enable", Role.ADMIN, "Let it in again.",
        switch(lambda desk: desk.accounts.enable), Account,
    ),
    Operation(
        "endSessions", "POST", f"{ONE}/sessions/end", Role.ADMIN, "Sign an account out everywhere.",
        end_sessions, Account,
    ),
)  # fmt: skip
