"""Asks the resolver of a root what it would do."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from appliance.sandbox import Sandbox
from buildfarm import inside, resolution
from buildfarm.resolution import Resolution

Method = Literal["private", "public"]


def question(plans: Mapping[str, Sequence[str]], *, method: Method = "private") -> dict[str, Any]:
    """Arguments of the question `plan` of inside.ask(): name -> emerge's options, atoms and sets.

    `public` does without Portage's private API from the start.
    """
    return {"questions": {name: list(argv) for name, argv in plans.items()}, "method": method}


def parse(answer: Mapping[str, Any]) -> dict[str, Resolution]:
    """The answer to question()."""
    return {name: resolution.parse(one) for name, one in answer.items()}


def resolve(sandbox: Sandbox, argv: Sequence[str], *, method: Method = "private") -> Resolution:
    """One plan: `argv` is what emerge would be given, options and atoms."""
    asked = {"plan": question({"it": argv}, method=method)}
    return parse(inside.ask(sandbox, asked)["plan"])["it"]
