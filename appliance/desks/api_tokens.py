"""API tokens: permissions for programs, each of an account, with a scope and an end; shown once."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace

from appliance.account_model import Account, ApiToken, Role
from appliance.desks.audit import AuditDesk
from appliance.errors import Problem
from appliance.store import Store
from appliance.store.tokens import hash_of

PREFIX = "dst_"
"""Scanners of repositories find what was committed by mistake by such beginnings."""
SECRET_BYTES = 32
DAY = 86400.0
MOST_DAYS = 3 * 366
LONGEST_LABEL = 64
TOUCH_SECONDS = 60.0


@dataclass
class ApiTokenDesk:
    store: Store
    audit: AuditDesk
    clock: Callable[[], float]

    def make(
        self, account: Account, label: str, scope: Role, *, days: float, who: str | None = None
    ) -> tuple[ApiToken, str]:
        """A new token and its text, which nobody can ask for again."""
        if not account.role.covers(scope):
            raise Problem(f"{account.name} has the role {account.role.value} and gives out no {scope.value}")
        if not 0 < days <= MOST_DAYS:
            raise Problem(f"a token lasts {days:g} days, expected more than 0 and at most {MOST_DAYS}")
        if not label.strip() or len(label) > LONGEST_LABEL:
            raise Problem(f"a token has a name of 1 to {LONGEST_LABEL} characters that says what uses it")
        text = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        now = self.clock()
        with self.store.database.change():
            number = self.store.accounts.add_token(
                hash_of(text), account.name, label.strip(), scope, now=now, ends=now + days * DAY
            )
            said = f"{label.strip()}, {scope.value}, {days:g} days, number {number}"
            self.audit.note(who, "token add", account.name, said)
        return ApiToken(number, account.name, label.strip(), scope, now, now + days * DAY), text

    def of(self, name: str) -> list[ApiToken]:
        return self.store.accounts.tokens(name)

    def end(self, name: str, number: int, *, who: str | None = None) -> None:
        with self.store.database.change():
            if not self.store.accounts.end_token(name, number):
                raise Problem(f"{name} has no token {number}")
            self.audit.note(who, "token end", name, f"number {number}")

    def account(self, text: str) -> Account | None:
        """Who comes with a token: its account, with the role that the token's scope leaves it."""
        found = self.store.accounts.token(hash_of(text))
        now = self.clock()
        if found is None or found.expires_at <= now:
            return None
        account = self.store.accounts.get(found.account)
        if account is None or account.disabled:
            return None
        if found.used_at is None or now - found.used_at >= TOUCH_SECONDS:
            self.store.accounts.touch_token(found.id, now=now)
        return replace(account, role=found.scope.at_most(account.role))
