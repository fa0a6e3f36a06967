"""`distserver machine`: the machines and what they may do next."""

import argparse

from appliance import demo
from appliance.channels import NAMES
from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.match import said_of, show_verdicts
from appliance.cli.queue import when
from appliance.cli.remote import COMMANDS, print_facts
from appliance.client_view import ClientView, Verdict
from appliance.client_view import lines as client_lines
from appliance.install import contents
from appliance.model import Machine
from appliance.power import Action
from appliance.timeline import TimelineView, clean, lines


def add(commands: Commands) -> None:
    words = "list, show, add, assign, arm, disarm, channel, facts, match, rescue, rename, retire, wake, power"
    machine = commands.group("machine", f"the machines: {words}, compile-node")
    made = commands.add("list", cmd_machine_list, "every machine and its state", of=machine)
    made.set_defaults(remote=COMMANDS["list"])
    for name, command, text in (
        ("show", cmd_machine_show, "one machine and its timeline"),
        ("add", cmd_machine_add, "make a machine known before it boots"),
        ("assign", cmd_machine_assign, "give a machine a profile; disarms it"),
        ("arm", cmd_machine_arm, "allow one installation, which wipes the matching disk"),
        ("disarm", cmd_machine_disarm, "take that permission back"),
        ("channel", cmd_machine_channel, "let a machine follow stable or canary"),
        ("facts", cmd_machine_facts, "what it last said of itself, as `distserver match --facts` reads it"),
        ("match", cmd_machine_match, "what every match rule says to its facts"),
        ("rescue", cmd_machine_rescue, "let it start from the network into the rescue shell once"),
        ("disk-key", cmd_machine_disk_key, "keys of its encrypted disks: list, show once, revoke"),
        ("rename", cmd_machine_rename, "give it another host name, or none"),
        ("retire", cmd_machine_retire, "forget it; what is on its disks stays"),
        ("wake", cmd_machine_wake, "switch it on by Wake-on-LAN"),
        ("power", cmd_machine_power, "switch it on or off through its management controller"),
        ("compile-node", cmd_machine_lend, "boot it from the network to compile; nothing is written to it"),
    ):
        made = commands.add(name, command, text, of=machine)
        made.set_defaults(remote=COMMANDS.get(name))
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
        if name == "retire":
            text = "wipe its disk when it next starts from the network, and forget it then"
            made.add_argument("--wipe", metavar="NAME", default="", help=f"{text}; NAME: its own, as typed")
        if name == "rescue":
            made.add_argument("--off", action="store_true", help="no longer: start as before")
        if name == "disk-key":
            what = made.add_mutually_exclusive_group()
            what.add_argument("--recovery", action="store_true", help="show the passphrases, once")
            what.add_argument("--revoke", action="store_true", help="give its keys to nobody")
            what.add_argument("--allow", action="store_true", help="give them to it again")
        if name == "rename":
            made.add_argument("name", metavar="NAME", help="its host name; '' takes it away")
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
    describe(shown.machine, shown.boots)
    if shown.plan:
        print(f"  plan {shown.plan}")
    _tell(desk.clients.view(shown.machine), desk.clock())
    events = [event for _, event in shown.events]
    if not asked.follow:
        print("\n".join(lines(events)))
        return 0
    return 0 if demo.follow(desk, shown.machine.mac, TimelineView(shown.machine.mac)) else 1


def _tell(view: ClientView, now: float) -> None:
    """What became of it since it was installed."""
    if view.verdict is not Verdict.NONE:
        print("\n".join(f"  {clean(line)}" for line in client_lines(view, now=now)))


def describe(machine: Machine, boots: str) -> None:
    follows = f"profile {machine.profile or 'none'}, channel {machine.channel}"
    print(f"{machine.mac} {machine.name}: {machine.state.value}, {follows}")
    if machine.facts:
        facts = machine.facts
        print(f"  {facts.vendor} {facts.product}, {facts.firmware.value}, {facts.memory_bytes >> 20} MiB")
        for disk in facts.disks:
            print(
                f"  {disk.path} {disk.size_bytes / 2**30:.1f} GiB {disk.transport} {disk.model} {disk.serial}"
            )
            print("\n".join(f"    {clean(line)}" for line in contents(disk)))
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


def cmd_machine_match(asked: argparse.Namespace) -> int:
    desk = services(asked)
    choice, verdicts = desk.machine_desk.judge(desk.machine(asked.mac), {})
    print(clean(said_of(choice)))
    show_verdicts([(one.profile, one.rule.source, one.fits, one.why) for one in verdicts])
    return 0


def cmd_machine_facts(asked: argparse.Namespace) -> int:
    print_facts(services(asked).machine(asked.mac))
    return 0


def cmd_machine_rescue(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).machine_desk.rescue(asked.mac, not asked.off))
    return 0


def cmd_machine_disk_key(asked: argparse.Namespace) -> int:
    desk = services(asked)
    machine = desk.machine(asked.mac)
    if asked.recovery:
        for name, phrase in desk.disk_keys.recovery(machine).items():
            print(f"{name} {phrase}")
        return 0
    if asked.revoke or asked.allow:
        desk.disk_keys.revoke(machine, asked.revoke)
    table = table_of("container", "UUID", "key", "given out", "last", "recovery passphrase")
    for one in desk.disk_keys.of(machine):
        last = when(one.released_at) if one.released_at else "never"
        shown = "can be shown once" if one.recovery else f"shown {when(one.shown_at)}"
        state = "given to nobody" if one.revoked else "given to the machine"
        table.add_row(one.name, one.uuid, state, f"{one.releases} times", last, shown)
    print_table(table)
    return 0


def cmd_machine_rename(asked: argparse.Namespace) -> int:
    _describe_after(asked, services(asked).rename(asked.mac, asked.name))
    return 0


def cmd_machine_retire(asked: argparse.Namespace) -> int:
    desk = services(asked)
    if asked.wipe:
        _describe_after(asked, desk.machine_desk.wipe(asked.mac, typed=asked.wipe))
        return 0
    gone = desk.machine_desk.retire(asked.mac)
    print(f"{gone.name or gone.mac} is retired")
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
    lent = desk.cluster.lend(machine.mac, not asked.off)
    desk.audit.note(None, "machine lend", machine.mac, "no longer" if asked.off else "boots to compile")
    _describe_after(asked, lent)
    return 0


def _describe_after(asked: argparse.Namespace, machine: Machine) -> None:
    describe(machine, services(asked).desk.explain(machine.mac))
