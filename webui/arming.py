"""Arming machines: the plan of each is shown first, and its name is typed to let its disk go."""

from dataclasses import dataclass

from flask import Blueprint, abort, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.disk_plan import Keep, PlannedDisk, Slice
from appliance.errors import Problem
from appliance.install import slice_use
from appliance.prospect import Prospect
from webui.access import Role, needs
from webui.context import services, who
from webui.disk_picture import Block, Stretch, draw, draw_now
from webui.machine_actions import tell
from webui.paging import SIZE

area = Blueprint("arming", __name__)


@dataclass(frozen=True)
class Shown:
    """A prospect and its pictures; `said` is why it was not armed a moment ago."""

    prospect: Prospect
    said: str = ""

    @property
    def disks(self) -> tuple["ShownDisk", ...]:
        plan = self.prospect.plan
        return tuple(ShownDisk(one) for one in plan.disks) if plan else ()


@dataclass(frozen=True)
class ShownDisk:
    """One disk of a plan, before and after."""

    planned: PlannedDisk

    @property
    def now(self) -> tuple[Stretch, ...]:
        return draw_now(self.planned.disk)

    @property
    def kept(self) -> frozenset[str]:
        """The partitions whose file system stays."""
        return frozenset(one.device for one in self.planned.slices if one.keep is Keep.FOUND)

    @property
    def after(self) -> tuple[tuple[Slice, Block, str], ...]:
        """Its partitions, each with its place in the picture and what it holds."""
        pieces = self.planned.slices
        uses = [slice_use(piece.partition) for piece in pieces]
        return tuple(zip(pieces, draw(self.planned), uses, strict=True))


@area.get("/machines/arm")
@needs(Role.OPERATOR)
def arming() -> str:
    return _page(request.args.getlist("mac"), {})


@area.post("/machines/arm")
@needs(Role.OPERATOR)
def arm() -> Response | tuple[str, int]:
    """Arm those whose name was typed; when there are several, the others were left out on purpose."""
    macs, form = _some(request.form.getlist("mac")), request.form
    done: list[str] = []
    refused: dict[str, str] = {}
    wanted = [mac for mac in macs if len(macs) == 1 or form.get(f"name {mac}", "").strip()]
    for mac in wanted:
        try:
            prospect = services().machine_desk.prospect(mac)
            prospect.check(typed=form.get(f"name {mac}", ""), shown=form.get(f"mark {mac}", ""))
            services().arm(mac, who=who())
            done.append(f"{prospect.name} is armed: release {prospect.release} at its next start.")
        except Problem as problem:
            refused[mac] = f"{problem.message}: {problem.hint}" if problem.hint else problem.message
    if refused or not wanted:
        tell(done, [] if wanted else ["No name was typed: nothing is armed."])
        return _page([mac for mac in macs if mac in refused] or macs, refused), 409
    tell(done, [])
    if len(macs) == 1:
        return redirect(url_for("machines.machine", mac=macs[0]), code=303)
    return redirect(url_for("machines.machines", state="armed"), code=303)


def _page(macs: list[str], refused: dict[str, str]) -> str:
    prospects = [(mac, services().machine_desk.prospect(mac)) for mac in _some(macs)]
    shown = [Shown(one, refused.get(mac, "")) for mac, one in prospects]
    return render_template("machine_arm.html", shown=shown)


def _some(macs: list[str]) -> list[str]:
    """Machines of one page of the list, each once."""
    if not macs:
        abort(404)
    return list(dict.fromkeys(macs))[:SIZE]
