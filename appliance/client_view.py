"""An installed machine as people and programs see it: what it should have and says that it has. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from appliance.client_report import Drift, Local, Question, Step
from appliance.client_words import spoken

SHOWN_DRIFT = 20
"""Lines of what differs that a terminal shows."""


class Verdict(Enum):
    """The first of these that is true of a machine."""

    NONE = "no client"
    """It has no key: it was installed without a client, or not yet."""
    WAITING = "waiting"
    """Its key is not signed yet, or it never came since."""
    REFUSED = "refused"
    SILENT = "silent"
    """It was not heard of for long."""
    FAILED = "failed"
    UPDATING = "updating"
    BEHIND = "behind"
    """The channel names another release than it has."""
    DRIFTED = "drifted"
    """It has its release, and something differs from it."""
    CURRENT = "current"


@dataclass(frozen=True)
class Fact:
    """Something that a machine says of itself; it is not trusted."""

    name: str
    value: str


@dataclass(frozen=True)
class ClientView:
    """How an installed machine follows its channel; times are seconds since the epoch."""

    verdict: Verdict
    machine: str
    release: str
    """What it says that it has; empty: it said nothing yet."""
    published: str
    """What its channel names."""
    target: str
    phase: str
    health: str
    said: str
    packages: int
    """Installed on it."""
    release_packages: int
    """Those its release has."""
    drifts: int
    """How many files and packages differ."""
    drift: tuple[Drift, ...]
    """The first of them."""
    unread: int
    """Files that may differ, which it did not read yet."""
    locals: int
    """Configuration files that are not as their package ships them, which is no drift."""
    local: tuple[Local, ...]
    """The first of them."""
    reboot: bool
    reboot_for: str
    """Why it has to start anew."""
    stale: int
    """Services that run with files that were replaced since."""
    services: tuple[str, ...]
    """The first of them."""
    kernel: str
    merges: int
    """Configuration files that wait for an answer."""
    questions: tuple[Question, ...]
    """The first of them."""
    facts: tuple[Fact, ...]
    steps: tuple[Step, ...]
    """Of its last update."""
    seen_at: float
    reported_at: float
    certificate_ends_at: float
    inventory: str

    @property
    def advice(self) -> str:
        """What a person can do about it; empty when there is nothing."""
        match self.verdict:
            case Verdict.SILENT:
                return "look whether it is switched on, reaches this server, and at its distserver-client log"
            case Verdict.FAILED:
                return "its distserver-client log says more; it tries again, or roll the channel back"
            case Verdict.REFUSED:
                return "install it anew: its key was not taken"
            case Verdict.DRIFTED:
                return "`distserver-client diff` there shows it; `emerge -1` of its package mends a file"
        return ""


def judge(
    *,
    has_key: bool,
    is_refused: bool,
    has_reported: bool,
    is_silent: bool,
    failed: bool,
    updating: bool,
    is_published: bool,
    drifts: int,
) -> Verdict:
    """`is_published`: it has what its channel names."""
    verdicts = (
        (Verdict.NONE, not has_key and not has_reported),
        (Verdict.REFUSED, is_refused),
        (Verdict.SILENT, is_silent),
        (Verdict.WAITING, not has_reported),
        (Verdict.FAILED, failed),
        (Verdict.UPDATING, updating),
        (Verdict.BEHIND, not is_published),
        (Verdict.DRIFTED, drifts > 0),
    )
    return next((verdict for verdict, is_so in verdicts if is_so), Verdict.CURRENT)


def lines(one: ClientView, *, now: float) -> list[str]:
    """For a terminal."""
    if one.verdict is Verdict.NONE:
        return ["it has no client: nothing is known of it since it was installed"]
    said = [f"it is {one.verdict.value}{f' ({one.said})' if one.said else ''}, {_seen(one, now)}"]
    said += [f"to do: {one.advice}"] if one.advice else []
    if not one.reported_at:
        return said
    said.append(f"has release {one.release or 'none'}, its channel names {one.published or 'none'}")
    said += [f"updates to {one.target}"] if one.target and one.target != one.release else []
    said.append(f"{one.packages} packages installed, its release has {one.release_packages}")
    details = {
        "kernel": one.kernel,
        "health": one.health,
        "reboot": (one.reboot_for or "it has to start anew") if one.reboot else "",
        "services to restart": _some(one.services, one.stale),
        "questions": _some([_question(each) for each in one.questions], one.merges),
    }
    said += [f"{name}: {value}" for name, value in details.items() if value]
    said += [f"{fact.name}: {spoken(fact.name, fact.value)}" for fact in one.facts]
    said.append(f"{one.drifts} files, packages and mounts differ from its release")
    said += [f"  {row.kind} {row.name}: {row.said}" for row in one.drift[:SHOWN_DRIFT]]
    said += _more(one.drifts - min(len(one.drift), SHOWN_DRIFT))
    said += [f"  {one.unread} more files may differ: it reads them the next time"] if one.unread else []
    if one.locals:
        said.append(f"{one.locals} configuration files are its own, which is no drift")
        said += [f"  {row.path}: {row.said}" for row in one.local[:SHOWN_DRIFT]]
        said += _more(one.locals - min(len(one.local), SHOWN_DRIFT))
    return said


def _question(one: Question) -> str:
    return f"{one.path} (on the machine)" if one.here else one.path


def _some(names: Sequence[str], count: int) -> str:
    """Names, and how many there are beside them."""
    shown = ", ".join(names[:SHOWN_DRIFT])
    more = count - min(len(names), SHOWN_DRIFT)
    return f"{shown} and {more} more" if more > 0 and shown else shown or (str(count) if count else "")


def _more(count: int) -> list[str]:
    return [f"  and {count} more"] if count > 0 else []


def _seen(one: ClientView, now: float) -> str:
    return f"last heard of {(now - one.seen_at) / 3600:.1f} h ago" if one.seen_at else "it never came"
