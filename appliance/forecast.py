"""When each task of the backlog will start and end: the scheduler itself, run ahead of time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from appliance.backlog import Rules, Running, Task, fewer_jobs, schedule

OVERTIME = 0.1
"""A build that takes longer than expected is taken to need this share of it more."""


@dataclass(frozen=True)
class Forecast:
    """When a task is expected to run, in seconds since the epoch."""

    profile: str
    starts_at: float
    ends_at: float


def forecast(
    tasks: Iterable[Task], running: Sequence[Running], rules: Rules, now: float
) -> tuple[Forecast, ...]:
    """Those that run and those that wait, in the order of their starts; nobody fails or comes in between."""
    waiting = list(tasks)
    inside = [(_end(one, rules, now), one) for one in running]
    found = [Forecast(one.task.profile, one.started_at, end) for end, one in inside]
    while waiting or inside:
        for decision in schedule(waiting, [one for _, one in inside], rules, now):
            if decision.starts:
                begun = Running(decision.task, now)
                end = _end(begun, rules, now)
                waiting.remove(decision.task)
                inside.append((end, begun))
                found.append(Forecast(decision.task.profile, now, end))
        ends = [end for end, _ in inside]
        now = min([*ends, *(task.not_before for task in waiting if task.not_before > now)])
        inside = [(end, one) for end, one in inside if end > now]
    return tuple(sorted(found, key=lambda one: (one.starts_at, one.ends_at, one.profile)))


def drained_at(forecasts: Iterable[Forecast], now: float) -> float:
    """When the whole backlog is done."""
    return max((one.ends_at for one in forecasts), default=now)


def _end(running: Running, rules: Rules, now: float) -> float:
    expected = running.task.expected.seconds * rules.jobs / fewer_jobs(running.task, rules)
    end = running.started_at + expected
    return end if end > now else now + max(1.0, OVERTIME * expected)
