"""Who may do what: accounts, their roles and API tokens, and how long to wait after failures. Pure."""

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address, ip_network

from appliance.errors import Problem

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
LEAST_PASSWORD, MOST_PASSWORD = 10, 1024
IDLE_SECONDS = 8 * 3600.0
SESSION_SECONDS = 7 * 86400.0
FREE_FOR_ACCOUNT, FREE_FOR_ADDRESS = 5, 20
"""Failures without a wait. Behind one address may be a whole company."""
LONGEST_WAIT = 900.0
FORGOTTEN_SECONDS = 86400.0


class Refused(Problem):
    """Somebody may not sign in, with what they said, or not now."""

    def __init__(self, message: str, *, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class Role(Enum):
    """Each may do what the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: "Role") -> bool:
        """Whether who has this role may do what needs that one."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)

    def at_most(self, other: "Role") -> "Role":
        return self if other.covers(self) else other


@dataclass(frozen=True)
class Account:
    """Somebody who may sign in."""

    name: str
    role: Role
    disabled: bool = False
    has_password: bool = False
    """Without one it was invited and nobody has come yet."""
    created_at: float = 0.0

    @property
    def who(self) -> str:
        """As the audit log names them when they act on the web page."""
        return f"web {self.name}"


@dataclass(frozen=True)
class Session:
    """A browser that is signed in; its secret is not kept."""

    hash: str
    account: str
    started_at: float
    seen_at: float
    address: str
    browser: str

    def ends_at(self) -> float:
        return min(self.seen_at + IDLE_SECONDS, self.started_at + SESSION_SECONDS)


@dataclass(frozen=True)
class ApiToken:
    """A permission for programs; its text is not kept."""

    id: int
    account: str
    label: str
    scope: Role
    """What it allows at most; never more than its account has."""
    created_at: float
    expires_at: float
    used_at: float | None = None


@dataclass(frozen=True)
class Note:
    """A line of the audit log."""

    id: int
    at: float
    who: str
    action: str
    subject: str
    detail: str


def wait_seconds(failures: int, free: int) -> float:
    """How long nobody may try again after so many failures in a row."""
    return min(2.0 ** min(failures - free, 20), LONGEST_WAIT) if failures >= free else 0.0


def address_key(address: str) -> str:
    """What failures of an address count for: a network of IPv6 has more addresses than can be remembered."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return "address unknown"
    if known.version == 6 and known.ipv4_mapped:
        known = known.ipv4_mapped
    return f"address {ip_network((known, 64), strict=False) if known.version == 6 else known}"


def password_fault(password: str, name: str) -> str:
    """Why it is no password for this account, as a sentence; empty when it is one."""
    if len(password) < LEAST_PASSWORD:
        return f"a password has at least {LEAST_PASSWORD} characters, this one has {len(password)}"
    if len(password.encode()) > MOST_PASSWORD:
        return f"a password has at most {MOST_PASSWORD} bytes"
    if name in password.lower() and len(password) < 2 * len(name) + LEAST_PASSWORD // 2:
        return "the password is little more than the name of the account"
    if len(set(password)) < 4:
        return "the password consists of the same few characters"
    return ""
