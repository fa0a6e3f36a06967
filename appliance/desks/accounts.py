"""Accounts: who there is, how they sign in, their sessions; nobody who may not gets to know who there is."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from appliance.account_model import (
    FREE_FOR_ACCOUNT,
    FREE_FOR_ADDRESS,
    NAME,
    Account,
    Refused,
    Role,
    Session,
    address_key,
    password_fault,
)
from appliance.desks.audit import AuditDesk
from appliance.errors import Problem
from appliance.passwords import hash_password, verify_password
from appliance.store import Store
from appliance.store.tokens import hash_of

SECRET_BYTES = 32
LINK_SECONDS = 3600.0
INVITATION_SECONDS = 3 * 86400.0
TOUCH_SECONDS = 60.0
"""A session's last use is written down at most so often."""
NOBODY_YET = "first account"
FIRST, LOGIN, INVITATION = "first", "login", "invitation"
LIST = "`distserver account list` shows the accounts"


@dataclass
class AccountDesk:
    store: Store
    audit: AuditDesk
    clock: Callable[[], float]

    # who there is

    def all(self) -> list[Account]:
        return self.store.accounts.all()

    def get(self, name: str) -> Account:
        """Raises Problem when there is none with this name."""
        found = self.store.accounts.get(name)
        if found is None:
            raise Problem(f"there is no account {name}", hint=LIST)
        return found

    @property
    def nobody_yet(self) -> bool:
        """Whether the first admin is still to come."""
        return not any(one.role is Role.ADMIN and one.has_password for one in self.all())

    def invite(self, name: str, role: Role, *, who: str | None = None) -> str:
        """Make an account; the answer is the secret of its one-time link, with which a password is chosen.

        An account that was invited and has no password yet gets another link, and the old one is void.
        """
        if not NAME.fullmatch(name):
            hint = "lower-case letters, digits, dot, _ and -, at most 32, the first a letter or a digit"
            raise Problem(f"{name!r} is no name for an account", hint=hint)
        with self.store.database.change():
            if not self.store.accounts.add(name, role, now=self.clock()):
                if self.get(name).has_password:
                    raise Problem(f"there is an account {name} already", hint=LIST)
                self.store.accounts.set_role(name, role)
            self.audit.note(who, "account invite", name, f"role {role.value}")
            return self._issue(name, INVITATION, INVITATION_SECONDS)

    def set_role(self, name: str, role: Role, *, who: str | None = None) -> Account:
        with self.store.database.change():
            before = self.get(name)
            if role is not Role.ADMIN:
                self._must_leave_an_admin(before)
            self.store.accounts.set_role(name, role)
            self.audit.note(who, "account role", name, f"{before.role.value} -> {role.value}")
        return self.get(name)

    def disable(self, name: str, *, who: str | None = None) -> Account:
        """Nobody gets in as this account, and who is in is out."""
        with self.store.database.change():
            self._must_leave_an_admin(self.get(name))
            self.store.accounts.set_disabled(name, True)
            self._void_links(name)
            ended = self.store.sessions.end_all(name)
            self.audit.note(who, "account disable", name, f"{ended} sessions ended")
        return self.get(name)

    def enable(self, name: str, *, who: str | None = None) -> Account:
        with self.store.database.change():
            self.get(name)
            self.store.accounts.set_disabled(name, False)
            self.audit.note(who, "account enable", name)
        return self.get(name)

    # passwords

    def set_password(self, name: str, password: str, *, who: str | None = None) -> Account:
        """Ends every session and link of the account. Raises Problem for one that is no password."""
        if fault := password_fault(password, name):
            raise Problem(fault, hint="several words that you do not use together elsewhere are easy to keep")
        hashed = hash_password(password)
        with self.store.database.change():
            self.get(name)
            self.store.accounts.set_password(name, hashed)
            self._void_links(name)
            ended = self.store.sessions.end_all(name)
            self.audit.note(who, "account password", name, f"{ended} sessions ended")
        return self.get(name)

    def change_password(self, account: Account, old: str, new: str, *, address: str) -> None:
        """By its owner, who says the old one; a wrong one counts like a failure to sign in."""
        self._verify(account.name, old, address)
        self.set_password(account.name, new, who=account.who)

    # one-time links

    def first_link(self) -> str:
        """The secret of the link that makes the first admin. Raises Problem when there is one."""
        if not self.nobody_yet:
            raise Problem("there is an admin already", hint="`distserver login` prints a link for one")
        return self._issue(NOBODY_YET, FIRST, INVITATION_SECONDS)

    def login_link(self, name: str = "", *, who: str | None = None) -> tuple[Account, str]:
        """A link that signs in as an account, or as the admin who is there the longest."""
        able = [one for one in self.all() if one.has_password and not one.disabled]
        admins = sorted((one for one in able if one.role is Role.ADMIN), key=lambda one: one.created_at)
        found = next((one for one in able if one.name == name), None) if name else next(iter(admins), None)
        if found is None:
            self.get(name or "admin")
            raise Problem(f"account {name} is disabled or has no password yet", hint=LIST)
        with self.store.database.change():
            self.audit.note(who, "account link", found.name, "a one-time link to sign in")
            return found, self._issue(found.name, LOGIN, LINK_SECONDS)

    def link_for(self, token: str) -> tuple[str, Account | None] | None:
        """What a link is good for, and for whom: (`first`, None), (`login`, ...), (`invitation`, ...)."""
        now = self.clock()
        if self.store.tokens.owner(token, FIRST, now=now) and self.nobody_yet:
            return FIRST, None
        for purpose in (LOGIN, INVITATION):
            name = self.store.tokens.owner(token, purpose, now=now)
            found = self.store.accounts.get(name) if name else None
            if found and not found.disabled:
                return purpose, found
        return None

    def follow(self, token: str, *, name: str = "", password: str = "", address: str = "") -> Account:
        """Burn a link and do what it is good for; `name` and `password` are of who comes the first time.

        A link that asks for a password stays good until that is one. Raises Refused when it is used or over.
        """
        found = self.link_for(token)
        if found is None:
            raise Refused("This link was used already, or it is over.")
        purpose, account = found
        if account is None or purpose == INVITATION:
            name = account.name if account else name
            if fault := password_fault(password, name):
                raise Problem(fault)
        hashed = "" if purpose == LOGIN else hash_password(password)
        with self.store.database.change():
            if not self.store.tokens.use(token, purpose, now=self.clock()):
                raise Refused("This link was used already, or it is over.")
            if account is None:
                if not self.nobody_yet:
                    raise Refused("There is an admin already.")
                account = self._found(name, hashed, address)
            elif purpose == INVITATION:
                self.store.accounts.set_password(account.name, hashed)
                self.audit.note(account.who, "account accept", account.name, f"from {address}")
        return self.get(account.name)

    def _found(self, name: str, hashed: str, address: str) -> Account:
        if not NAME.fullmatch(name):
            hint = "lower-case letters, digits, dot, _ and -, at most 32, the first a letter or a digit"
            raise Problem(f"{name!r} is no name for an account", hint=hint)
        if not self.store.accounts.add(name, Role.ADMIN, now=self.clock()):
            self.store.accounts.set_role(name, Role.ADMIN)
            self.store.accounts.set_disabled(name, False)
        self.store.accounts.set_password(name, hashed)
        self.audit.note(f"web {name}", "account first", name, f"the first admin, from {address}")
        return self.get(name)

    # signing in

    def log_in(self, name: str, password: str, *, address: str) -> Account:
        """Raises Refused, with one sentence for every reason, or with how long to wait."""
        self._verify(name, password, address)
        return self.get(name)

    def _verify(self, name: str, password: str, address: str) -> None:
        """The same work and the same words whether there is the account or not, and in the same order."""
        now = self.clock()
        known = self.store.accounts.get(name)
        # What is no account's name may be a password in the wrong field: it is not kept.
        by_name = f"account {name}" if known else f"name {hash_of(name)}"
        by_address = address_key(address)
        free = {by_name: FREE_FOR_ACCOUNT, by_address: FREE_FOR_ADDRESS}
        if wait := self.store.attempts.begin(free, now=now):
            text = f"Too many attempts. Try again in {max(round(wait), 1)} s."
            raise Refused(text, wait_seconds=wait)
        hashed = self.store.accounts.password(name)
        if not verify_password(hashed, password[:4096]):
            self.audit.note("web", "login failed", name if known else "a name nobody has", f"from {address}")
            raise Refused("Name or password is not right.")
        self.store.attempts.succeeded(by_name, by_address)

    def begin_session(self, account: Account, *, address: str, browser: str = "", old: str = "") -> str:
        """A new secret for the browser's cookie; what it had before, `old`, opens nothing any more."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        now = self.clock()
        with self.store.database.change():
            if old and (before := self.store.sessions.get(hash_of(old))):
                self.store.sessions.end(before.account, before.hash)
            session = Session(hash_of(secret), account.name, now, now, address, browser[:200])
            self.store.sessions.begin(session)
            self.audit.note(account.who, "login", account.name, f"from {address}")
        return secret

    def of_session(self, secret: str) -> Account | None:
        """Whose session it is, as long as it lasts."""
        found = self.store.sessions.get(hash_of(secret))
        now = self.clock()
        if found is None or found.ends_at() <= now:
            return None
        account = self.store.accounts.get(found.account)
        if account is None or account.disabled:
            return None
        if now - found.seen_at >= TOUCH_SECONDS:
            self.store.sessions.touch(found.hash, now=now)
        return account

    def sessions(self, name: str) -> list[Session]:
        """Those that last."""
        now = self.clock()
        return [one for one in self.store.sessions.of(self.get(name).name) if one.ends_at() > now]

    def end_session(self, name: str, hashed: str, *, who: str | None = None) -> None:
        with self.store.database.change():
            if not self.store.sessions.end(name, hashed):
                raise Problem(f"{name} has no such session", hint="it is over already")
            self.audit.note(who, "logout", name)

    def end_secret(self, name: str, secret: str) -> None:
        """By who has the cookie: signing out."""
        self.end_session(name, hash_of(secret), who=f"web {name}")

    def end_sessions(self, name: str, *, who: str | None = None) -> int:
        with self.store.database.change():
            ended = self.store.sessions.end_all(self.get(name).name)
            self.audit.note(who, "account sessions", name, f"{ended} sessions ended")
        return ended

    def _issue(self, name: str, purpose: str, seconds: float) -> str:
        return self.store.tokens.issue(name, purpose, now=self.clock(), lifetime_seconds=seconds)

    def _void_links(self, name: str) -> None:
        for purpose in (LOGIN, INVITATION):
            self.store.tokens.revoke(name, purpose)

    def _must_leave_an_admin(self, account: Account) -> None:
        others = [one for one in self.all() if one.name != account.name and one.has_password]
        if account.role is Role.ADMIN and not account.disabled:
            if any(one.role is Role.ADMIN and not one.disabled for one in others):
                return
            raise Problem(f"{account.name} is the only admin who can sign in", hint="make another one first")
