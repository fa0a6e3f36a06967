"""The first page: what there is, what is being built, and what waits for a person."""

from dataclasses import dataclass

from flask import Blueprint, render_template

from appliance.overview_model import Overview
from webui.access import Role, needs
from webui.context import services
from webui.glance import along, parts

area = Blueprint("overview", __name__)


@dataclass(frozen=True)
class Line:
    """A build under way or waiting, as the picture of the backlog shows it."""

    profile: str
    state: str
    said: str
    starts_at: float
    ends_at: float | None
    left: float
    width: float


@area.get("/")
@needs(Role.VIEWER)
def overview() -> str:
    seen = services().overview.look()
    counts = {state.value: count for state, count in seen.machines.items()}
    return render_template(
        "overview.html",
        seen=seen,
        counts=counts,
        parts=parts(counts),
        lines=lines(seen),
        wrong=services().live.wrong(),
    )


def lines(seen: Overview) -> list[Line]:
    """What runs, then what waits in its order, on one axis of time until all of it is done."""

    def line(profile: str, state: str, said: str, starts_at: float, ends_at: float | None) -> Line:
        end = seen.drained_at if ends_at is None else ends_at
        left, width = along(starts_at, end, first=seen.now, last=seen.drained_at)
        return Line(profile, state, said, starts_at, ends_at, left, width)

    runs = [
        line(run.job.profile, "running", _where(run.where, run.job.message), run.job.started_at, run.ends_at)
        for run in seen.running
    ]
    waits = [
        line(one.decision.task.profile, "waiting", one.decision.why, one.starts_at, one.ends_at)
        for one in seen.queued
    ]
    return runs + waits


def _where(worker: str, said: str) -> str:
    where = f"on {worker}" if worker else "on this host"
    return f"{where}: {said}" if said else where
