"""What the API takes and answers about builds, one dataclass for each object. Pure."""

from dataclasses import dataclass
from typing import Annotated

from appliance import farm_model
from appliance.build_story import PackageStory
from webui.api.schema import Rule


@dataclass(frozen=True)
class Wish:
    """A package of a profile, and why somebody wants what the address says."""

    package: Annotated[str, Rule("category/name, with its version but for a hold")] = ""
    why: str = ""


@dataclass(frozen=True)
class ProfileQuery:
    profile: Annotated[str, Rule("only what is of this profile")] = ""


@dataclass(frozen=True)
class Hold:
    """What stays out of a profile; `at` is in seconds since the epoch."""

    profile: str
    subject: str
    kind: Annotated[str, Rule("hold and skip are a person's; failed: until it builds")]
    stays: str
    at: float
    who: str
    why: str


@dataclass(frozen=True)
class Failure:
    """A package that did not build; times are seconds since the epoch."""

    profile: str
    package: str
    kind: farm_model.FailureKind
    evidence: str
    tail: str
    count: int
    first_at: float
    last_at: float
    due_at: float


@dataclass(frozen=True)
class JobPackage:
    """What a build did with a package, and why; times are seconds since the epoch."""

    package: str
    state: str
    reused: bool
    why: tuple[str, ...]
    begun_at: float
    seconds: float | None
    usual_seconds: float | None
    sha256: str
    said: str


@dataclass(frozen=True)
class Place:
    """A build that runs or waits, in its order; times are seconds since the epoch."""

    profile: str
    state: str
    since: float
    expected_end: float
    said: str


@dataclass(frozen=True)
class PlannedPackage:
    """What becomes of a package: build, reuse, keep or remove."""

    package: str
    deed: str
    before: str
    reasons: tuple[str, ...]
    seconds: float | None


@dataclass(frozen=True)
class PlanQuestion:
    """What only a person can decide."""

    kind: str
    subject: str
    text: str
    suggestion: str


@dataclass(frozen=True)
class Plan:
    """What a build would do, as the farm found it out last; times are seconds since the epoch."""

    profile: str
    at: float
    who: str
    complete: bool
    fresh: Annotated[bool, Rule("neither the profile nor a repository changed since")]
    seconds: Annotated[float, Rule("what the build will probably take")]
    summary: str
    packages: tuple[PlannedPackage, ...]
    questions: tuple[PlanQuestion, ...]


@dataclass(frozen=True)
class BuildAsked:
    """What asking for a build did."""

    profile: str
    tried_again: tuple[str, ...]
    running: bool


def job_package(one: PackageStory) -> JobPackage:
    entry = one.entry
    named = entry.cpv, entry.state, entry.reused, one.why, entry.begun_at, entry.seconds
    return JobPackage(*named, one.usual, entry.sha256, entry.said)


def hold(one: farm_model.Mask) -> Hold:
    return Hold(one.profile, one.subject, one.kind.value, one.stays, one.at, one.who, one.why)


def failed_hold(profile: str, one: farm_model.Held, since: float) -> Hold:
    return Hold(profile, one.cpv, "failed", one.at, since, "farm", f"{one.cpv} does not build")


def failure(one: farm_model.FailureRecord, due_at: float) -> Failure:
    said = one.profile, one.cpv, one.kind, one.evidence, one.tail
    return Failure(*said, one.count, one.first_at, one.last_at, due_at)
