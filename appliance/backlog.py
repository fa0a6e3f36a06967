"""What the farm builds next and why; when a running build gives way; when a failed one is tried again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

GIB = 1 << 30
SECURITY_HEAD_START = 7
"""A security update goes before everything that has not waited this many staleness bounds longer."""


@dataclass(frozen=True)
class Expected:
    """What a build will probably need."""

    seconds: float = 3600.0
    memory_bytes: int = GIB


@dataclass(frozen=True)
class Task:
    """One profile that is to be built from these inputs."""

    profile: str
    inputs: str
    since: float
    """When it first had something to build; newer inputs do not make it younger."""
    expected: Expected = field(default_factory=Expected)
    security: bool = False
    work: frozenset[str] = frozenset()
    """Labels of what it will build; two tasks with a common label would build the same packages."""
    not_before: float = 0.0
    jobs: int = 0
    """At most so many packages at a time, after one ran out of memory; 0: as the site says."""


@dataclass(frozen=True)
class Running:
    """A build under way."""

    task: Task
    started_at: float
    superseded_at: float | None = None
    """When newer inputs than its own were first seen."""
    successor: bool = False
    """It was started in the place of a build that had been stopped for newer inputs."""


@dataclass(frozen=True)
class Rules:
    """What the site allows."""

    workers: int = 1
    """Builds side by side on this machine."""
    memory_bytes: int = 16 * GIB
    """What all builds together may need."""
    staleness_seconds: float = 24 * 3600.0
    jobs: int = 1
    """Packages at a time in one build."""


@dataclass(frozen=True)
class Decision:
    """What happens to one task now."""

    task: Task
    starts: bool
    why: str
    jobs: int = 0
    """Packages at a time."""
    crowded: bool = False
    """It only waits for a worker or for memory: its place in the order matters."""


def is_urgent(task: Task, rules: Rules, now: float) -> bool:
    """A security update, or something that waits longer than the staleness bound."""
    return task.security or now - task.since > rules.staleness_seconds


def order(tasks: Iterable[Task], rules: Rules, now: float) -> list[Task]:
    """Urgent tasks first, then the longest build, since it decides when the last one ends.

    Among urgent ones the oldest is first, a security update counting as SECURITY_HEAD_START bounds older, so
    that it comes first and yet nothing waits for ever. Ties: the one that waits longer, then the name.
    """

    def place(task: Task) -> tuple[int, float, float, str]:
        head_start = SECURITY_HEAD_START * rules.staleness_seconds if task.security else 0.0
        if is_urgent(task, rules, now):
            return (0, task.since - head_start, task.since, task.profile)
        return (1, -task.expected.seconds, task.since, task.profile)

    return sorted(tasks, key=place)


def schedule(
    tasks: Iterable[Task], running: Sequence[Running], rules: Rules, now: float
) -> tuple[Decision, ...]:
    """What starts now and what the others wait for, in their order.

    When nothing runs, the first one that may start does: every task ends up running. A task never starts
    before an earlier one that would build the same packages, and none starts past an urgent one that waits
    for memory: no task is overtaken for ever.
    """
    hall = _Hall(rules, [one.task for one in running])
    return tuple(hall.admit(task, now) for task in order(tasks, rules, now))


class _Hall:
    """Who is inside while tasks are looked at one after the other."""

    def __init__(self, rules: Rules, inside: Sequence[Task]) -> None:
        self.rules = rules
        self.inside = list(inside)
        self.builder = {label: task.profile for task in reversed(inside) for label in task.work}
        self.waiter: dict[str, str] = {}
        self.held = ""

    def admit(self, task: Task, now: float) -> Decision:
        if task.not_before > now:
            return Decision(task, False, f"it failed and is tried again in {span(task.not_before - now)}")
        if any(one.profile == task.profile for one in self.inside):
            return Decision(task, False, "an older build of it still runs")
        why = self._same_work(task)
        crowded = "" if why else self._crowd(task, now)
        if why := why or crowded:
            for label in task.work:
                self.waiter.setdefault(label, task.profile)
            return Decision(task, False, why, crowded=bool(crowded))
        self.inside.append(task)
        self.builder.update(dict.fromkeys(task.work, task.profile))
        jobs = fewer_jobs(task, self.rules)
        return Decision(task, True, _reason(task, self.rules, now), jobs)

    def _same_work(self, task: Task) -> str:
        for owners, verb in ((self.builder, "builds"), (self.waiter, "comes first and builds")):
            same = sorted({owners[label] for label in task.work if label in owners})
            if same:
                return f"{same[0]} {verb} the same packages, which it then reuses"
        return ""

    def _crowd(self, task: Task, now: float) -> str:
        if len(self.inside) >= self.rules.workers:
            one = self.rules.workers == 1
            return "the worker is busy" if one else f"all {self.rules.workers} workers are busy"
        return self._memory(task, now)

    def _memory(self, task: Task, now: float) -> str:
        if self.held:
            return f"{self.held} waits for memory and comes first"
        taken = sum(one.expected.memory_bytes for one in self.inside)
        need = task.expected.memory_bytes
        if not self.inside or need + taken <= self.rules.memory_bytes:
            return ""
        if is_urgent(task, self.rules, now):
            self.held = task.profile
        if need > self.rules.memory_bytes:
            return f"it needs {gib(need)}, more than all of {gib(self.rules.memory_bytes)}: it will run alone"
        return f"it needs {gib(need)} of memory, {gib(max(0, self.rules.memory_bytes - taken))} are left"


def fewer_jobs(task: Task, rules: Rules) -> int:
    """Packages at a time; fewer when the build would need more memory than there is."""
    jobs = min(task.jobs, rules.jobs) if task.jobs else rules.jobs
    if task.expected.memory_bytes > rules.memory_bytes:
        jobs = jobs * rules.memory_bytes // task.expected.memory_bytes
    return max(1, jobs)


def gives_way(running: Running, rules: Rules, now: float) -> bool:
    """Whether a running build is stopped for newer inputs.

    It is finished, since what it builds is published and mostly reused by the next one. Only when newer
    inputs have waited longer than the staleness bound it is stopped, and the next one starts from the newest;
    that one is always finished, so at least every second build publishes.
    """
    if running.superseded_at is None or running.successor:
        return False
    return now - running.superseded_at > rules.staleness_seconds


@dataclass(frozen=True)
class Retry:
    """How long a failure of a kind is left alone: twice as long each time, up to a limit."""

    seconds: float
    limit: float
    free: int = 0
    """So many in a row cost no wait."""


HOUR = 3600.0
DAY = 24 * HOUR
RETRIES: Mapping[str, Retry] = {
    # It died with its process: nothing says that the next one will.
    "interrupted": Retry(60.0, HOUR, free=3),
    "fetch": Retry(900.0, DAY),
    "memory": Retry(60.0, DAY),
    "distcc": Retry(60.0, DAY),
    "disk": Retry(HOUR, DAY),
    # Somebody else had the root: a person with `distserver plan` or `build`.
    "busy": Retry(60.0, HOUR),
    # What stopped a build before its first package: a person mends it, or the network comes back.
    "problem": Retry(900.0, DAY),
}
OTHERS = Retry(DAY, 7 * DAY)
"""unpack, compile, test, resolver and so on: the same inputs will most likely fail the same way."""


def retry_at(kind: str, times: int, ended_at: float) -> float:
    """When inputs that failed `times` times in a row, last of this kind, are tried again."""
    rule = RETRIES.get(kind, OTHERS)
    doublings = times - rule.free - 1
    if doublings < 0:
        return ended_at
    return ended_at + min(rule.limit, rule.seconds * 2.0 ** min(doublings, 32))


def leading_kind(kinds: Iterable[str]) -> str:
    """Of several failures in one build, the one that may be tried again soonest; `resolver` of none."""
    return min(sorted(kinds), key=lambda kind: RETRIES.get(kind, OTHERS).seconds, default="resolver")


def critical_path(seconds: Mapping[str, float], needs: Mapping[str, Sequence[str]]) -> float:
    """The longest chain of packages that must be built one after the other.

    A cycle counts each of its packages once.
    """
    done: dict[str, float] = {}
    for start in sorted(seconds):
        stack = [(start, False)]
        path: set[str] = set()
        while stack:
            name, ready = stack.pop()
            wanted = [one for one in needs.get(name, ()) if one in seconds]
            if ready:
                done[name] = seconds[name] + max((done.get(one, 0.0) for one in wanted), default=0.0)
                path.discard(name)
            elif name not in done and name not in path:
                path.add(name)
                stack.append((name, True))
                stack += [(one, False) for one in wanted]
    return max(done.values(), default=0.0)


def build_seconds(seconds: Mapping[str, float], needs: Mapping[str, Sequence[str]], jobs: int) -> float:
    """How long packages take with so many at a time: never less than the critical path."""
    return max(critical_path(seconds, needs), sum(seconds.values()) / max(1, jobs))


def _reason(task: Task, rules: Rules, now: float) -> str:
    if task.security:
        return "a security update"
    if is_urgent(task, rules, now):
        return f"it has waited {span(now - task.since)}"
    return f"about {span(task.expected.seconds)} of work"


def gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def span(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
