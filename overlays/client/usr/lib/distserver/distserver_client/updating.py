"""Decides what an update does next; pure: a table of steps, and what became of each."""

from dataclasses import dataclass, replace
from enum import Enum

from distserver_client.journal import Journal, State

MOST_FAILURES = 3
"""So often a step that changes the machine may fail, before it goes back to the release it had."""


class Step(Enum):
    """In the order in which they are taken; each may be taken again after it was cut off anywhere."""

    MANIFEST = "manifest"
    FILES = "files"
    PACKAGES = "packages"
    BASES = "bases"
    WORLD = "world"
    LOADER = "loader"
    EMERGE = "emerge"
    CLEAN = "clean"
    INVENTORY = "inventory"
    KERNEL = "kernel"
    SWITCH = "switch"
    CONFIGURATION = "configuration"
    HEALTH = "health"
    TIDY = "tidy"


CHANGES = tuple(Step)[tuple(Step).index(Step.WORLD) :]
"""From here on the machine is changed; nothing of it needs the network."""

MERGING = (Step.EMERGE.value, Step.CLEAN.value)
"""In these Portage runs."""


@dataclass(frozen=True)
class Order:
    """What the server wants of this machine."""

    release: str
    go: bool = True
    """False: not now; `release` is then of no concern."""
    why: str = ""
    serial: int = 0


@dataclass(frozen=True)
class Nothing:
    """Nothing is to be done, and why."""

    why: str


@dataclass(frozen=True)
class Go:
    """Take the steps of this journal that are left."""

    journal: Journal


def decide(
    state: State, journal: Journal | None, order: Order | None, *, again: bool = False
) -> Nothing | Go:
    """`order` is None when the server could not be asked; `again`: also what was refused before.

    A half-done update goes on, to what is ordered now: steps lead there from wherever the machine is.
    """
    if journal and journal.failures >= MOST_FAILURES and journal.target != journal.before:
        return Go(back(journal))
    half_way = journal if journal and journal.dirty else None
    if order is None or not order.go:
        why = order.why if order else "the server cannot be reached"
        return Go(half_way) if half_way else Nothing(why)
    if order.release == state.refused and not again:
        return Go(half_way) if half_way else Nothing(f"release {order.release} was given up: {state.why}")
    if journal and journal.target == order.release:
        return Go(journal)
    if half_way:
        return Go(Journal(order.release, half_way.before, dirty=True, torn=resumed(half_way).torn))
    if order.release == state.release:
        return Nothing("")
    return Go(Journal(target=order.release, before=state.release))


def next_step(journal: Journal) -> Step | None:
    """The first that is not done; None when all are."""
    return next((step for step in Step if step.value not in journal.done), None)


def resumed(journal: Journal) -> Journal:
    """As a new start of the agent finds it: a step that was begun and did not end was cut off."""
    return replace(journal, torn=journal.torn or journal.at in MERGING)


def begun(journal: Journal, step: Step) -> Journal:
    return replace(journal, at=step.value, dirty=journal.dirty or step in CHANGES)


def ended(journal: Journal, step: Step, *, seconds: float, received_bytes: int) -> Journal:
    return replace(
        journal,
        done=(*journal.done, step.value),
        at="",
        torn=journal.torn and step is not Step.EMERGE,
        seconds={**journal.seconds, step.value: round(journal.seconds.get(step.value, 0.0) + seconds, 1)},
        received_bytes=journal.received_bytes + received_bytes,
    )


def failed(journal: Journal, step: Step, why: str) -> Journal:
    """Before anything was changed it is just tried again; afterwards a failure counts.

    What emerge needs may have been lost with what failed: it is looked at again from the files on.
    """
    if step not in CHANGES:
        return replace(journal, at="", why=why)
    kept = tuple(name for name in journal.done if name == Step.MANIFEST.value)
    return replace(journal, done=kept, at="", failures=journal.failures + 1, why=why)


def back(journal: Journal) -> Journal:
    """Give the target up and return to the release that was there before."""
    why = f"{journal.target}: {journal.why}"
    return Journal(journal.before, journal.before, why=why, dirty=True, torn=journal.torn)


def reached(state: State, journal: Journal, order: Order | None) -> State:
    """The machine is at the target, whole."""
    return replace(state, release=journal.target, serial=max(state.serial, order.serial if order else 0))
