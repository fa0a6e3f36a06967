"""`distserver machine`: the machines and what they may do next."""

import argparse

from appliance import demo
from appliance.channels import NAMES
from appliance.cli.base import Commands, print_table, services, table_of
from appliance.model import Machine
from appliance.power import Action
from appliance.timeline import TimelineView, lines


def add(commands: Commands) -> None:
    words = "list, show, add, assign, arm, disarm, channel, wake, power, compile-node"
    machine = commands.group("machine", f"the machines: {words}")
    commands.add("list", cmd_machine_list, "every machine and its state", of=machine)
    for name, command, text in (
        ("show", cmd_machine_show, "one machine and its timeline"),
        ("add", cmd_machine_add, "make a machine known before it boots"),
        ("assign", cmd_machine_assign, "give a machine a profile; disarms it"),
        ("arm", cmd_machine_arm, "allow one installation, which wipes the matching disk"),
        ("disarm", cmd_machine_disarm, "take that permission back"),
        ("channel", cmd_machine_channel, "let a machine follow stable or canary"),
        ("wake", cmd_machine_wake, "switch it on by Wake-on-LAN"),
        ("power", cmd_machine_power, "switch it on or off through its management controller"),
        ("compile-node", cmd_machine_lend, "boot it from the network to compile; nothing is written to it"),
    ):
        made = commands.add(name, command, text, of=machine)
        made.add_argument("mac", metavar="MAC")
        if name == "show":
            made.add_argument("--follow", action="store_true", help="go on until it is installed or failed")
        if name == "add":
            made.add_argument("--profile")
        if name == "compile-node":
            made.add_argument("--off", action="store_true", help="no longer: boot it as before")
        if name == "wake":
            made.add_argument("--interface", action="append", default=[], help="out of this one; repeatable")
        if name == "power":
            made.add_argument("action", choices=[action.value for action in Action])
        if name == "assign":
            made.add_argument("profile", metavar="PROFILE")
        if name == "channel":
            made.add_argument("channel", choices=NAMES)
        if name in ("add", "assign"):
            made.add_argument("--name", default="", help="its host name")


def cmd_machine_list(asked: argparse.Namespace) -> int:
    desk = services(asked)
    table = table_of("MAC", "name", "state", "profile", "release", "at its next boot it")
    for one in desk.machines():
        boots = desk.desk.explain(one.mac)
        table.add_row(one.mac, one.name, one.state.value, one.profile or "", one.release or "", boots)
    print_table(table)
    return 0


def cmd_machine_show(asked: argparse.Namespace) -> int:
    desk = services(asked)
    shown = desk.show_machine(asked.mac)
    _describe(shown.machine, shown.boots)
    events = [event for _, event in shown.events]
    if not asked.follow:
        print("\n".join(lines(events)))
        return 0
    return 0 if demo.follow(desk, shown.machine.mac, TimelineView(shown.machine.mac)) else 1


def _describe(machine: Machine, boots: str) -> None:
    follows = f"profile {machine.profile or 'none'}, channel {machine.channel}"
    print(f"{machine.mac} {machine.name}: {machine.state.value}, {follows}")
    if machine.facts:
        facts = machine.facts
        print(f"  {facts.vendor} {facts.product}, {facts.firmware.value}, {facts.memory_bytes >> 20} MiB")
        for disk in facts.disks:
            print(
                f"  {disk.path} {disk.size_bytes / 2**30:.1f} GiB {disk.transport} {disk.model} {disk.serial}"
            )
    print(f"  at its next boot it {boots}")
    if machine.problem:
        print(f"  problem: {machine.problem}")


def cmd_machine_add(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).add_machine(asked.mac, profile=asked.profile, name=asked.name))
    return 0


def cmd_machine_assign(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).assign(asked.mac, asked.profile, name=asked.name))
    return 0


def cmd_machine_arm(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).arm(asked.mac))
    return 0


def cmd_machine_disarm(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).disarm(asked.mac))
    return 0


def cmd_machine_channel(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).put_on_channel(asked.mac, asked.channel))
    return 0


def cmd_machine_wake(asked: argparse.Namespace) -> int:
    desk = services(asked)
    sent = desk.power.wake(desk.machine(asked.mac), tuple(asked.interface))
    print(f"a magic packet was sent by {', '.join(map(str, sent))}")
    return 0


def cmd_machine_power(asked: argparse.Namespace) -> int:
    desk = services(asked)
    machine, action = desk.machine(asked.mac), Action(asked.action)
    state = desk.power.act(machine, action)
    if state:
        print(f"{machine.mac} is {state.value}")
    elif action is Action.NETBOOT_ONCE:
        print(f"{machine.mac} boots from the network when it starts next: `power {machine.mac} cycle`")
    return 0


def cmd_machine_lend(asked: argparse.Namespace) -> int:
    desk = services(asked)
    machine = desk.machine(asked.mac)
    _describe_after(asked, desk.cluster.lend(machine.mac, not asked.off))
    return 0


def _describe_after(asked: argparse.Namespace, machine: Machine) -> None:
    _describe(machine, services(asked).desk.explain(machine.mac))
