"""One thing that the API does, as the routes and the OpenAPI document know it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from appliance.account_model import Role
from appliance.errors import Problem
from webui.api.schema import Shape


class Absent(Problem):
    """There is nothing at this address."""


class Forbidden(Problem):
    """The role is too low for this one."""


@dataclass(frozen=True)
class Page:
    """A part of a list, and the cursor of the next part; None when that is all."""

    items: tuple[Any, ...]
    next: str | None


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    """Below /api/v1, with `{NAME}` for what varies."""
    role: Role
    text: str
    run: Callable[..., Any]
    """(services, what varies in the path..., what was read, query, body), as far as there are such."""
    answer: type
    listed: bool = False
    """The answer is a page of them."""
    query: type | None = None
    body: type | None = None
    status: int = 200
    most_bytes: int = 0
    """Of its body; 0: as many as any."""
    tag: str = ""
    """The field of the answer that is its ETag."""
    as_read: bool = False
    """It says by If-Match which ETag was read, by If-None-Match: * that there was none (RFC 9110 13)."""


@contextmanager
def looking() -> Iterator[None]:
    """What cannot be found in the block is not there."""
    try:
        yield
    except Problem as problem:
        raise Absent(problem.message, hint=problem.hint) from problem


def cut(found: Sequence[Shape], limit: int, cursor: Callable[[Shape], str]) -> Page:
    """A page of one that is longer by one when there are more."""
    return Page(tuple(found[:limit]), cursor(found[limit - 1]) if len(found) > limit else None)
