"""`distserver --server URL ...`: commands that are done by another host's DistServer, through its API."""

import argparse
import time
from typing import Any

from appliance.api_client import ApiClient
from appliance.cli.base import Command, print_table, table_of
from appliance.client_report import Drift, Local, Question, Step
from appliance.client_view import ClientView, Fact, Verdict
from appliance.client_view import lines as client_lines
from appliance.deadline import DeadlinePassed, wait_until
from appliance.errors import Problem
from appliance.facts import facts_of, render_facts
from appliance.model import Event, Machine, MachineState
from appliance.timeline import clean, lines

MACHINES = "machines"
ERRAND_SECONDS = 120.0
"""A controller that does not answer is tried for a minute."""
ASK_SECONDS = 0.5
AFAR = "audit, cluster, failure, hold, machine, match, merge, plan, profile, queue, release, retry, rollout"
HERE = "this command works on the server itself only"


def remote_command(asked: argparse.Namespace) -> Command:
    """What to do in place of a command of this host. Raises Problem for one that is not done from afar."""
    found: Command | None = getattr(asked, "remote", None)
    if found is None:
        raise Problem(HERE, hint=f"with --server there is: {AFAR}")
    if asked.token_file is None:
        hint = "`distserver account token NAME --add LABEL --scope operator` on the server prints a token"
        raise Problem("--server needs --token-file", hint=hint)
    return found


def client(asked: argparse.Namespace) -> ApiClient:
    return ApiClient(asked.at_server, asked.token_file, asked.authority)


def list_machines(asked: argparse.Namespace) -> int:
    table = table_of("MAC", "name", "state", "profile", "release", "problem")
    for said in client(asked).all(MACHINES):
        one = machine_of(said)
        table.add_row(one.mac, one.name, one.state.value, one.profile or "", one.release or "", one.problem)
    print_table(table)
    return 0


def show_machine(asked: argparse.Namespace) -> int:
    if asked.follow:
        raise Problem(f"--follow: {HERE}")
    server = client(asked)
    _describe(server, asked.mac)
    view = view_of(server.get(MACHINES, asked.mac, "client"))
    if view.verdict is not Verdict.NONE:
        print("\n".join(f"  {clean(line)}" for line in client_lines(view, now=time.time())))
    events = [event_of(one) for one in server.all(MACHINES, asked.mac, "events")]
    print("\n".join(lines(events)))
    return 0


def add_machine(asked: argparse.Namespace) -> int:
    server = client(asked)
    body = {"mac": asked.mac, "name": asked.name, "profile": asked.profile or ""}
    _describe(server, server.post(MACHINES, body=body)["mac"])
    return 0


def assign_machine(asked: argparse.Namespace) -> int:
    return _do(asked, "assign", {"profile": asked.profile, "name": asked.name})


def arm_machine(asked: argparse.Namespace) -> int:
    return _do(asked, "arm")


def disarm_machine(asked: argparse.Namespace) -> int:
    return _do(asked, "disarm")


def set_channel(asked: argparse.Namespace) -> int:
    return _do(asked, "channel", {"channel": asked.channel})


def rename_machine(asked: argparse.Namespace) -> int:
    return _do(asked, "rename", {"name": asked.name})


def retire_machine(asked: argparse.Namespace) -> int:
    if asked.wipe:
        return _do(asked, "wipe", {"name": asked.wipe})
    gone = machine_of(client(asked).post(MACHINES, asked.mac, "retire"))
    print(f"{gone.name or gone.mac} is retired")
    return 0


def rescue_machine(asked: argparse.Namespace) -> int:
    return _do(asked, "rescue", {"wanted": not asked.off})


def wake_machine(asked: argparse.Namespace) -> int:
    if asked.interface:
        raise Problem(f"--interface: {HERE}")
    return _errand(asked, "wake")


def switch_machine(asked: argparse.Namespace) -> int:
    return _errand(asked, "power", {"action": asked.action})


def show_facts(asked: argparse.Namespace) -> int:
    print_facts(machine_of(client(asked).get(MACHINES, asked.mac)["machine"]))
    return 0


def print_facts(machine: Machine) -> None:
    """What a machine said of itself, as its installer did. Raises Problem when it never said anything."""
    if machine.facts is None:
        hint = "let it start from the network once, such as into the rescue shell"
        raise Problem(f"machine {machine.mac} said nothing of itself yet", hint=hint)
    print(render_facts(machine.facts), end="")


COMMANDS: dict[str, Command] = {
    "list": list_machines,
    "show": show_machine,
    "add": add_machine,
    "assign": assign_machine,
    "arm": arm_machine,
    "disarm": disarm_machine,
    "channel": set_channel,
    "wake": wake_machine,
    "power": switch_machine,
    "facts": show_facts,
    "rescue": rescue_machine,
    "rename": rename_machine,
    "retire": retire_machine,
}


def _do(asked: argparse.Namespace, action: str, body: dict[str, str | bool] | None = None) -> int:
    server = client(asked)
    _describe(server, server.post(MACHINES, asked.mac, action, body=body)["mac"])
    return 0


def _errand(asked: argparse.Namespace, action: str, body: dict[str, str | bool] | None = None) -> int:
    server = client(asked)
    number = server.post(MACHINES, asked.mac, action, body=body)["id"]
    done = done_errand(server, number, MACHINES, asked.mac)
    print(f"{done['machine']}: {done['said']}")
    return 0


def done_errand(
    server: ApiClient, number: int, *place: str, seconds: float = ERRAND_SECONDS
) -> dict[str, Any]:
    """Wait until the farm did it; `place`: whose errands it is among. Raises Problem when it could not."""

    def ended() -> dict[str, Any] | None:
        last = server.get(*place, "errands")["items"]
        return next((one for one in last if one["id"] == number and one["ended_at"] is not None), None)

    try:
        done = wait_until(ended, seconds=seconds, step=ASK_SECONDS, what="the farm does it")
    except DeadlinePassed as late:
        raise Problem(f"the farm did not do it within {seconds:g} s", hint="is it running?") from late
    if done["state"] != "done":
        raise Problem(done["said"])
    return done


def _describe(server: ApiClient, machine: str) -> None:
    from appliance.cli.machine import describe  # which names the commands of this module

    said = server.get(MACHINES, machine)
    describe(machine_of(said["machine"]), said["boots"])
    if said["plan"]:
        print(f"  plan {said['plan']}")


def machine_of(said: dict[str, Any]) -> Machine:
    facts = facts_of(said["facts"] | {"mac": said["mac"]}) if said["facts"] else None
    state = MachineState(said["state"])
    names = ("mac", "name", "profile", "release", "problem", "channel")
    return Machine(**{name: said[name] for name in names}, state=state, facts=facts)


def view_of(said: dict[str, Any]) -> ClientView:
    parts = {
        "verdict": Verdict(said["verdict"]),
        "drift": tuple(Drift(**one) for one in said["drift"]),
        "local": tuple(Local(**one) for one in said["local"]),
        "questions": tuple(Question(**one) for one in said["questions"]),
        "services": tuple(said["services"]),
        "facts": tuple(Fact(**one) for one in said["facts"]),
        "steps": tuple(Step(**one) for one in said["steps"]),
    }
    return ClientView(**said | parts)


def event_of(said: dict[str, Any]) -> Event:
    return Event(**{name: value for name, value in said.items() if name != "id"})
