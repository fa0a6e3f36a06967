"""The list of machines; and one machine: what it is, what it did, what it would boot and why."""

import time

from flask import Blueprint, render_template, request

from appliance.channels import NAMES
from appliance.errors import Problem
from appliance.facts import MAX_BYTES, render_facts
from appliance.model import MachineState
from appliance.store.machines import SIGNS, Search
from webui.access import Role, needs, takes
from webui.context import services, signed_in
from webui.paging import sheet_of
from webui.picture import draw, draw_update

area = Blueprint("machines", __name__)

MERGES = 20
"""Questions of each kind on one machine's page."""
MATCHED = ("vendor", "product", "serial", "uuid", "mac")
"""What match rules have patterns for."""
LONGEST_WORD = 200
MOST_FACTS = 4 * MAX_BYTES
"""A form with facts, whose bytes may take three as a browser sends them."""
NOTES = 50
"""Audit lines on one machine's page."""


@area.get("/machines")
@needs(Role.VIEWER)
def machines() -> str:
    desk, asked = services(), request.args
    search = Search(*(asked.get(name, "") for name in ("text", "state", "profile", "release", "sign")))
    sheet = sheet_of(asked, desk.count_machines(search))
    found = desk.find_machines(search, limit=sheet.size, offset=sheet.offset)
    unknown = [one for one in found if one.state is MachineState.DISCOVERED]
    return render_template(
        "machines.html",
        search=search,
        sheet=sheet,
        machines=found,
        choices={one.mac: desk.machine_desk.choice(one) for one in unknown},
        signs=list(SIGNS),
        states=[state.value for state in MachineState],
        profiles=[profile.name for profile in desk.profiles()],
        chosen="chosen" in asked,
        channels=NAMES,
        power=desk.power.words,
        may_act=signed_in().role.covers(Role.OPERATOR),
    )


@area.get("/machine/<mac>")
@needs(Role.VIEWER)
def machine(mac: str) -> str:
    desk, role = services(), signed_in().role
    shown = desk.show_machine(mac)
    one, more = shown.machine, desk.machine_desk
    events = [event for _, event in shown.events]
    published = more.published(one)
    return render_template(
        "machine.html",
        shown=shown,
        picture=draw(events, time.time()),
        update=draw_update(events, time.time()),
        events=events,
        choice=more.choice(one) if one.state is MachineState.DISCOVERED else None,
        client=desk.clients.view(one),
        client_reports=desk.clients.reports(one),
        published=published,
        behind=desk.release_desk.behind(one.release or "", published),
        images=more.images(one),
        now=desk.clock(),
        # No line of a machine has the address of a person, so whoever may see it may see what was done to it.
        notes=desk.audit.page(subject=one.mac, limit=NOTES),
        admin=role.covers(Role.ADMIN),
        profiles=[profile.name for profile in desk.profiles()],
        channels=NAMES,
        power=desk.power.words if more.has_controller(one) else (),
        console=desk.consoles.has_console(one),
        merges=[
            question
            for state in ("open", "decided", "secret")
            for question in desk.merges.find(state, limit=MERGES, machine=one.mac)
        ],
        errands=desk.switching.last(one.mac),
        may_act=role.covers(Role.OPERATOR),
    )


@area.get("/match")
@needs(Role.VIEWER)
def trial() -> str:
    """The form for facts of any machine; it begins with those of the one in the address."""
    desk, mac = services(), request.args.get("machine", "")
    facts = desk.machine(mac).facts if mac else None
    return render_template("match.html", text=render_facts(facts) if facts else "", trial=None, problem=None)


@area.post("/match")
@needs(Role.VIEWER)
@takes(MOST_FACTS)
def match_facts() -> str:
    """The rules one by one, for facts that were pasted or come from a file; nothing is changed."""
    text = request.form.get("facts", "").replace("\r\n", "\n")
    try:
        tried, problem = services().matching.try_text(text), None
    except Problem as refused:
        tried, problem = None, refused
    return render_template("match.html", text=text, trial=tried, problem=problem)


@area.get("/machine/<mac>/explain")
@needs(Role.VIEWER)
def why(mac: str) -> str:
    found = services().machine(mac)
    explained = services().explain.explain(found.mac)
    return render_template("explain.html", machine=found, explained=explained)


@area.get("/machine/<mac>/match")
@needs(Role.VIEWER)
def match(mac: str) -> str:
    """The rules one by one; with words in the address, as if the machine had sent those."""
    desk, found = services(), services().machine(mac)
    words = {name: getattr(found.facts, name, "") for name in MATCHED} | {"mac": found.mac}
    tried = {name: request.args[name][:LONGEST_WORD] for name in MATCHED if name in request.args}
    choice, verdicts = desk.machine_desk.judge(found, tried)
    return render_template(
        "machine_match.html",
        machine=found,
        words=words | tried,
        tried=tried,
        choice=choice,
        verdicts=verdicts,
        silent=[profile.name for profile in desk.profiles() if not profile.match],
    )
