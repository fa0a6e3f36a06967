"""Dialogues with firmware: what it says on its console and what is answered, as tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

REMEMBERED_CHARACTERS = 8000
"""Of what was said and nobody has awaited yet."""


@dataclass(frozen=True)
class On:
    """What is done when a text comes."""

    pattern: str
    """A regular expression; the text has no escape sequences and no carriage returns."""
    keys: str = ""
    r"""What is typed then; `\1` is the pattern's first group."""
    then: str = ""
    """The next state, DONE, or nothing to stay."""
    problem: str = ""
    """Why the dialogue ends here without success."""


@dataclass(frozen=True)
class State:
    """What may come, how long it may take, and what is typed again and again meanwhile."""

    on: tuple[On, ...]
    seconds: float = 120.0
    knock: str = ""
    knock_seconds: float = 1.0
    break_first: bool = False
    """Send a break on the line when this state begins."""


@dataclass(frozen=True)
class Dialogue:
    name: str
    about: str
    states: Mapping[str, State]
    """The first one is where it begins."""


DONE = "done"


@dataclass(frozen=True)
class Type:
    """Type these keys."""

    keys: str


@dataclass(frozen=True)
class Break:
    """Send a break, which a serial line has beside its characters."""


@dataclass(frozen=True)
class Ended:
    """The dialogue is over; `problem` says why it did not succeed."""

    problem: str = ""


Act = Type | Break | Ended


@dataclass
class Player:
    """Plays one dialogue. Times are seconds of any clock that only grows."""

    dialogue: Dialogue
    now: float
    state: str = ""
    passed: list[str] = field(default_factory=list)
    """Every state it came to, the one it is in last."""
    ended: Ended | None = None
    _heard: str = ""
    _until: float = 0.0
    _knock_at: float = 0.0
    _begin: list[Act] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._begin = self._enter(next(iter(self.dialogue.states)), self.now)

    def hear(self, text: str, now: float) -> list[Act]:
        """What to do after this text came (or nothing did)."""
        acts, self._begin = self._begin, []
        if self.ended:
            return acts
        self._heard = (self._heard + text)[-REMEMBERED_CHARACTERS:]
        while not self.ended and (found := self._first()):
            rule, match = found
            self._heard = self._heard[match.end() :]
            acts += self._follow(rule, match, now)
        state = self.dialogue.states.get(self.state)
        if self.ended is None and state:
            acts += self._wait(state, now)
        return acts

    def _first(self) -> tuple[On, re.Match[str]] | None:
        """The rule whose text came first; of two at one place the one that stands first in the table."""
        rules = self.dialogue.states[self.state].on
        found = [(rule, match) for rule in rules if (match := re.search(rule.pattern, self._heard))]
        return min(found, key=lambda one: one[1].start()) if found else None

    def _follow(self, rule: On, match: re.Match[str], now: float) -> list[Act]:
        acts: list[Act] = [Type(match.expand(rule.keys))] if rule.keys else []
        if rule.problem:
            return [*acts, self._end(rule.problem)]
        if rule.then == DONE:
            return [*acts, self._end("")]
        return [*acts, *self._enter(rule.then, now)] if rule.then else acts

    def _wait(self, state: State, now: float) -> list[Act]:
        if now >= self._until:
            awaited = " or ".join(rule.pattern for rule in state.on)
            return [self._end(f"nothing of what was awaited came within {state.seconds:g} s: {awaited}")]
        if state.knock and now >= self._knock_at:
            self._knock_at = now + state.knock_seconds
            return [Type(state.knock)]
        return []

    def _enter(self, name: str, now: float) -> list[Act]:
        state = self.dialogue.states[name]
        self.state, self._until, self._knock_at = name, now + state.seconds, now
        self.passed.append(name)
        return [Break()] if state.break_first else []

    def _end(self, problem: str) -> Ended:
        self.ended = Ended(problem)
        return self.ended
