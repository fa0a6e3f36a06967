"""What operators do with machines: with one from its page, with many from the list; and retirement."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response

from appliance.errors import Problem
from appliance.model import Machine, MachineState
from webui.access import Role, needs
from webui.context import services, who

area = Blueprint("machine_actions", __name__)

Form = MultiDict[str, str]
MOST_SAID = 6
"""Sentences of one answer; they travel in a cookie, which holds 4 KiB."""
LONGEST_SAID = 300
NOBODY = "No machine was chosen."


def assign(mac: str, form: Form) -> str:
    return f"profile {services().assign(mac, form.get('profile', ''), who=who()).profile}"


def disarm(mac: str, form: Form) -> str:
    services().disarm(mac, who=who())
    return "disarmed"


def channel(mac: str, form: Form) -> str:
    return f"follows {services().put_on_channel(mac, form.get('channel', ''), who=who()).channel}"


def rescue(mac: str, form: Form) -> str:
    services().machine_desk.rescue(mac, True, who=who())
    return "starts into the rescue shell when it next starts from the network, once"


def no_rescue(mac: str, form: Form) -> str:
    services().machine_desk.rescue(mac, False, who=who())
    return "starts as before"


def rename(mac: str, form: Form) -> str:
    return f"is named {services().rename(mac, form.get('name', '').strip(), who=who()).name or 'nothing'}"


def wake(mac: str, form: Form) -> str:
    services().switching.wake(mac, who=who())
    return "the farm wakes it; its page says what came of it"


def power(mac: str, form: Form) -> str:
    word = form.get("power", "")
    services().switching.want(mac, word, who=who())
    return f"the farm asks its controller: {word}; its page says what came of it"


def retired(mac: str, form: Form) -> str:
    services().machine_desk.retire(mac, who=who())
    return "retired"


TITLES = {"assign": "Assign a profile", "channel": "Follow a channel", "power": "Switch the power"}
ACTIONS: Mapping[str, Callable[[str, Form], str]] = {
    "assign": assign,
    "disarm": disarm,
    "channel": channel,
    "rescue": rescue,
    "no rescue": no_rescue,
    "rename": rename,
    "wake": wake,
    "power": power,
    "retire": retired,
}


@area.post("/machines/act")
@needs(Role.OPERATOR)
def act() -> Response:
    """Do the same with each machine of the form; one that cannot is named, and the others go on."""
    form = request.form
    macs, back = form.getlist("mac"), _way_back(form)
    if not macs:
        flash(NOBODY, "error")
    elif form.get("action") == "arm":
        return redirect(url_for("arming.arming", mac=macs), code=303)
    elif action := ACTIONS.get(form.get("action", "")):
        _do(action, macs, form)
    else:
        flash("That is nothing one can do with machines.", "error")
    return redirect(back, code=303)


@area.post("/machines/preview")
@needs(Role.OPERATOR)
def preview() -> Response | str:
    """What act() would do to each machine of the form; nothing is changed."""
    form, action = request.form, request.form.get("action", "")
    if action == "arm" or action not in ACTIONS or not form.getlist("mac"):
        return act()
    machines = [services().machine(mac) for mac in dict.fromkeys(form.getlist("mac"))]
    return render_template(
        "machines_preview.html",
        title=TITLES.get(action, action.capitalize()),
        rows=[(one, foreseen(one, action, form)) for one in machines],
        fields=[(name, value) for name, value in form.items(multi=True) if name != "form_token"],
        danger=action == "retire",
        back=_way_back(form),
    )


def foreseen(machine: Machine, action: str, form: Form) -> str:
    """What an action does to a machine as it is now, in a sentence."""
    installing = machine.state is MachineState.INSTALLING
    stops = "; its installation is stopped" if installing else ""
    match action:
        case "assign":
            return f"profile {machine.profile or 'none'} becomes {form.get('profile', '')}, not armed{stops}"
        case "disarm":
            return f"it is {machine.state.value} and becomes assigned{stops}"
        case "channel":
            return f"channel {machine.channel} becomes {form.get('channel', '')}"
        case "wake":
            return "the farm sends it a magic packet"
        case "power" if not services().machine_desk.has_controller(machine):
            return "nothing: the site names no controller of it"
        case "power":
            return f"the farm tells its controller: {form.get('power', '')}"
        case "retire" if installing:
            return "nothing: it is being installed"
        case "retire":
            return "it is forgotten, with its timeline, tokens and images; its disks stay as they are"
        case _:
            return "it starts into the rescue shell once" if action == "rescue" else "it starts as before"


@area.get("/machine/<mac>/retire")
@needs(Role.OPERATOR)
def retiring(mac: str) -> str:
    machine = services().machine(mac)
    desk = services().machine_desk
    return render_template(
        "machine_retire.html",
        machine=machine,
        choice=desk.choice(machine),
        images=desk.images(machine),
        wipe=desk.wipe_prospect(machine.mac),
    )


@area.post("/machine/<mac>/retire")
@needs(Role.OPERATOR)
def retire(mac: str) -> Response:
    try:
        gone = services().machine_desk.retire(mac, who=who())
    except Problem as problem:
        flash(sentence(problem), "error")
        return redirect(url_for("machine_actions.retiring", mac=mac), code=303)
    flash(f"{gone.name or gone.mac} is retired.", "done")
    return redirect(url_for("machines.machines"), code=303)


@area.post("/machine/<mac>/wipe")
@needs(Role.OPERATOR)
def wipe(mac: str) -> Response:
    form = request.form
    try:
        armed = services().machine_desk.wipe(
            mac, typed=form.get("name", ""), shown=form.get("mark", ""), who=who()
        )
    except Problem as problem:
        flash(sentence(problem), "error")
        return redirect(url_for("machine_actions.retiring", mac=mac), code=303)
    flash(f"The disk of {armed.name or armed.mac} is wiped when it next starts from the network.", "done")
    return redirect(url_for("machines.machine", mac=armed.mac), code=303)


@area.post("/machine/<mac>/image/<medium>/revoke")
@needs(Role.OPERATOR)
def revoke(mac: str, medium: str) -> Response:
    try:
        services().media.revoke(medium, who=who())
        flash(f"Image {medium} may not install it any more.", "done")
    except Problem as problem:
        flash(sentence(problem), "error")
    return redirect(url_for("machines.machine", mac=mac), code=303)


def tell(done: Sequence[str], refused: Sequence[str]) -> None:
    """Say on the next page what was done and what was not."""
    for kind, said in (("done", done), ("error", refused)):
        for sentence in said[:MOST_SAID]:
            flash(sentence[:LONGEST_SAID], kind)
        if len(said) > MOST_SAID:
            flash(f"… and {len(said) - MOST_SAID} more machines likewise.", kind)


def _do(action: Callable[[str, Form], str], macs: Sequence[str], form: Form) -> None:
    done: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    for mac in dict.fromkeys(macs):
        try:
            name = _name(mac)
            done.setdefault(action(mac, form), []).append(name)
        except Problem as problem:
            refused.setdefault(sentence(problem), []).append(_name(mac))
    tell(_lines(done), _lines(refused))


def _lines(said: Mapping[str, Sequence[str]]) -> list[str]:
    """Machines of which the same is said are one line."""
    return [f"{_count(names)}: {sentence}" for sentence, names in said.items()]


def _count(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} machines"


def _name(mac: str) -> str:
    try:
        return services().machine(mac).name or mac
    except Problem:
        return mac


def sentence(problem: Problem) -> str:
    return f"{problem.message}: {problem.hint}" if problem.hint else problem.message


def _way_back(form: Form) -> str:
    """The machine's page, or the list as it was searched; never another site's."""
    if "page_of" in form:
        return url_for("machines.machine", mac=form["page_of"])
    names = ("text", "state", "profile", "release", "sign", "page")
    words: dict[str, Any] = {name: form[f"list_{name}"] for name in names if form.get(f"list_{name}")}
    return url_for("machines.machines", **words)
