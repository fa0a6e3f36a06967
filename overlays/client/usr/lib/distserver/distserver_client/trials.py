"""Decides about kernels: which is tried, how a trial stands, and what became of it; pure."""

from dataclasses import dataclass, replace
from enum import Enum

from distserver_client.menu import MOST_TRIES, RUNS, TRIAL
from distserver_client.report import Phase

TRIAL_SECONDS = 900.0
"""After a start with a kernel on trial: until then the server has to have taken a report."""
MOST_AGAIN = 2
"""So often a trial is repeated because the kernel before did not reach the server either."""


@dataclass(frozen=True)
class Trial:
    """A kernel that is to show that the machine works with it."""

    kernel: str
    version: str
    release: str
    boot: str
    """The start (boot_id) in which it was prepared."""
    obstacle: str = ""
    """Why the boot loader cannot try it; then a person has to choose it."""
    healthy: bool = True
    """What the health command said with the kernel before."""
    again: int = 0


@dataclass(frozen=True)
class Refusal:
    """A kernel that did not work; it is not tried again until another one comes or a person says so."""

    kernel: str
    version: str
    release: str
    why: str
    silent: bool = False
    """It came up and reached no server; so far nobody knows whether the kernel before does."""
    again: int = 0


@dataclass(frozen=True)
class Record:
    """What is remembered of kernels."""

    trial: Trial | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class Start:
    """How the machine was started."""

    kernel: str
    """The id of the entry; empty when the command line names none."""
    boot: str
    """boot_id of random(4)."""
    trial_seconds: float = 0.0
    """0: not on trial."""


class Standing(Enum):
    SETTLED = "settled"
    PENDING = "pending"
    """The trial begins with the next start."""
    RUNNING = "running"
    """This start is the trial."""
    RETURNED = "returned"
    """The machine was started since, and runs with the kernel before."""
    LEAVING = "leaving"
    """The running kernel was given up."""


def started(command_line: str, boot: str) -> Start:
    """Of /proc/cmdline and boot_id."""
    words = dict(word.partition("=")[::2] for word in command_line.split())
    seconds = words.get(TRIAL, "")
    return Start(words.get(RUNS, ""), boot.strip(), float(seconds) if seconds.isdigit() else 0.0)


def standing(record: Record, start: Start) -> Standing:
    trial, refusal = record.trial, record.refusal
    if refusal and start.kernel == refusal.kernel:
        return Standing.LEAVING
    if trial is None:
        return Standing.SETTLED
    if start.kernel == trial.kernel:
        return Standing.RUNNING
    if start.boot == trial.boot or trial.obstacle:
        return Standing.PENDING
    return Standing.RETURNED


def returned(trial: Trial, left: int) -> Record:
    """What is remembered when the machine runs with the kernel before; `left`: starts that were not used.

    A loader that counted none did not try: it cannot write, or a person chose the kernel before.
    """
    used = MOST_TRIES - left
    if used <= 0:
        return Record(replace(trial, obstacle="the boot loader did not start it"))
    times = "once" if used == 1 else f"{used} times"
    return given_up(trial, f"started {times}, and the machine did not come up with it")


def given_up(trial: Trial, why: str, *, silent: bool = False) -> Record:
    return Record(refusal=Refusal(trial.kernel, trial.version, trial.release, why, silent, trial.again))


def heard(refusal: Refusal, uptime_seconds: float, limit_seconds: float) -> tuple[Refusal, bool]:
    """The kernel before reached the server after this long: the refusal now, and whether to try again.

    If it took as long as the other one had, the server was away for both.
    """
    if not refusal.silent:
        return refusal, False
    again = uptime_seconds >= limit_seconds and refusal.again < MOST_AGAIN
    return replace(refusal, silent=False), again


def describe(record: Record, now: Standing) -> str:
    """For a person; empty when nothing is to be said."""
    trial, refusal = record.trial, record.refusal
    if refusal:
        return f"kernel {refusal.version} of release {refusal.release} was given up: {refusal.why}"
    if trial is None:
        return ""
    if now is Standing.RUNNING:
        return f"kernel {trial.version} is on trial"
    if trial.obstacle:
        return f"kernel {trial.version} waits to be chosen in the boot menu: {trial.obstacle}"
    return f"kernel {trial.version} is tried at the next start"


def phase(said: Phase, policy: str, record: Record, now: Standing) -> Phase:
    """What a machine says of itself that would say `said` if it had no kernel.

    A release is not whole before its kernel is the machine's; with the policy `never` it waits for a person.
    """
    if said in (Phase.FAILED, Phase.UPDATING):
        return said
    if record.refusal:
        return Phase.FAILED
    waits = now is Standing.PENDING and record.trial is not None and not record.trial.obstacle
    return Phase.UPDATING if waits and said is Phase.CURRENT and policy != "never" else said
