"""The command line."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from appliance import daemon, demo
from appliance.daemon import Up
from appliance.errors import Problem
from appliance.model import Firmware, Machine, Tree
from appliance.run import CommandFailed
from appliance.services import Services, init_site
from appliance.site import read_site
from appliance.timeline import TimelineView, lines
from buildfarm.build import Progress

DEFAULT_STATE = "/var/lib/distserver"
DEFAULT_SITE = "."
PIPE_COLUMNS = 250
"""Who reads a pipe wants a machine in one line."""
Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a Problem is printed with its hint and ends in status 1."""
    asked = parser().parse_args(argv)
    level = logging.DEBUG if asked.debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    command: Command = asked.command
    try:
        return command(asked)
    except Problem as problem:
        print(f"distserver: {problem.message}", file=sys.stderr)
        if problem.hint:
            print(f"  hint: {problem.hint}", file=sys.stderr)
    except CommandFailed as failed:
        print(f"distserver: {failed}", file=sys.stderr)
    except KeyboardInterrupt:
        print("distserver: interrupted", file=sys.stderr)
        return 130
    return 1


def run() -> None:
    sys.exit(main())


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    top = argparse.ArgumentParser(
        prog="distserver", description="One server for fleets of unlike Gentoo machines."
    )
    top.add_argument("--debug", action="store_true", help="log every program that is run")
    top.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get("DISTSERVER_STATE", DEFAULT_STATE)),
        help=f"state directory (DISTSERVER_STATE, {DEFAULT_STATE})",
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, text: str, *, of: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = of.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        return made

    def add_site(made: argparse.ArgumentParser) -> None:
        site = Path(os.environ.get("DISTSERVER_SITE", DEFAULT_SITE))
        made.add_argument("--site", type=Path, default=site, help="site directory (DISTSERVER_SITE, .)")

    def group(name: str, text: str) -> Any:
        return commands.add_parser(name, help=text).add_subparsers(required=True, metavar="COMMAND")

    made = add("init", cmd_init, "write a commented example site")
    made.add_argument("site", type=Path, metavar="SITE")
    add_site(add("check", cmd_check, "read the site and complain about every mistake"))
    made = add("up", cmd_up, "serve a LAN: boot, build farm and web page")
    add_site(made)
    made.add_argument("--interface", required=True, help="the network interface of the LAN, such as eth0")
    made = add("build", cmd_build, "build a profile and publish its release when the gate lets it pass")
    add_site(made)
    made.add_argument("profile")
    add_site(add("login", cmd_login, "print a one-time link to the web page"))

    machine = group("machine", "the machines: list, show, add, assign, arm, disarm")
    add_site(add("list", cmd_machine_list, "every machine and its state", of=machine))
    for name, command, text in (
        ("show", cmd_machine_show, "one machine and its timeline"),
        ("add", cmd_machine_add, "make a machine known before it boots"),
        ("assign", cmd_machine_assign, "give a machine a profile; disarms it"),
        ("arm", cmd_machine_arm, "allow one installation, which wipes the matching disk"),
        ("disarm", cmd_machine_disarm, "take that permission back"),
    ):
        made = add(name, command, text, of=machine)
        add_site(made)
        made.add_argument("mac", metavar="MAC")
        if name == "show":
            made.add_argument("--follow", action="store_true", help="go on until it is installed or failed")
        if name == "add":
            made.add_argument("--profile")
        if name == "assign":
            made.add_argument("profile", metavar="PROFILE")
        if name in ("add", "assign"):
            made.add_argument("--name", default="", help="its host name")

    release = group("release", "the releases: list, show")
    made = add("list", cmd_release_list, "every release, newest first", of=release)
    add_site(made)
    made.add_argument("profile", nargs="?")
    made = add("show", cmd_release_show, "the manifest of a release", of=release)
    add_site(made)
    made.add_argument("release", metavar="ID")

    stage = group("stage", "stages")
    made = add("reference", cmd_stage_reference, "make the reference stage from the host's Debian", of=stage)
    add_site(made)
    made.add_argument("--variant", choices=("build", "install"), help="only this one")

    made = add("demo", cmd_demo, "install a blank virtual machine on a virtual LAN")
    made.add_argument("--firmware", type=Firmware, choices=tuple(Firmware), default=Firmware.UEFI)

    made = add("process", cmd_process, "one of the processes of `up`")
    made.add_argument("name", choices=("boot", "farm", "web"))
    add_site(made)
    made.add_argument("--interface", required=True)
    return top


def services(asked: argparse.Namespace) -> Services:
    return Services(asked.site, Tree(asked.state.resolve()))


def cmd_init(asked: argparse.Namespace) -> int:
    init_site(asked.site)
    print(f"wrote {asked.site}; now: distserver up --site {asked.site} --interface INTERFACE")
    return 0


def cmd_check(asked: argparse.Namespace) -> int:
    site = read_site(asked.site)
    print(f"{asked.site} is right: profiles {', '.join(sorted(site.profiles))}")
    return 0


def cmd_up(asked: argparse.Namespace) -> int:
    daemon.check_programs()
    daemon.up(Up(asked.site.resolve(), asked.state.resolve(), asked.interface))
    return 0


def cmd_process(asked: argparse.Namespace) -> int:
    processes = {"boot": daemon.boot, "farm": daemon.farm, "web": daemon.web}
    processes[asked.name](Up(asked.site, asked.state, asked.interface))
    return 0


def cmd_build(asked: argparse.Namespace) -> int:
    daemon.check_programs()

    def show(progress: Progress) -> None:
        print(f"{datetime.now():%H:%M:%S} {progress}", flush=True)

    result = services(asked).build(asked.profile, show)
    if result.release is None:
        print(f"distserver: {asked.profile} is not published, the previous release stays:", file=sys.stderr)
        for reason in result.reasons:
            print(f"  {reason}", file=sys.stderr)
        for failure in result.failed:
            print(f"\n{failure.package} failed, {failure.log}:\n{failure.tail}", file=sys.stderr)
        return 1
    print(f"release {result.release.id}: {len(result.built)} packages built, {len(result.reused)} reused")
    return 0


def cmd_login(asked: argparse.Namespace) -> int:
    desk = services(asked)
    site = desk.live.now()
    print(f"http://{site.web_host}:{site.web_port}/login/{desk.login_token()}")
    return 0


def _table(*columns: str) -> Table:
    """Only the last column may be broken into lines: the others are copied from."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != columns[-1])
    return table


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)


def cmd_machine_list(asked: argparse.Namespace) -> int:
    desk = services(asked)
    table = _table("MAC", "name", "state", "profile", "release", "at its next boot it")
    for one in desk.machines():
        boots = desk.desk.explain(one.mac)
        table.add_row(one.mac, one.name, one.state.value, one.profile or "", one.release or "", boots)
    _print(table)
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
    print(f"{machine.mac} {machine.name}: {machine.state.value}, profile {machine.profile or 'none'}")
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


def _describe_after(asked: argparse.Namespace, machine: Machine) -> None:
    _describe(machine, services(asked).desk.explain(machine.mac))


def cmd_release_list(asked: argparse.Namespace) -> int:
    table = _table("release", "profile", "packages", "MiB", "snapshot", "channels")
    for release, channels in services(asked).releases(asked.profile):
        size = f"{release.size_bytes / 2**20:.0f}"
        table.add_row(
            release.id,
            release.profile,
            str(release.packages),
            size,
            release.snapshot[:12],
            " ".join(channels),
        )
    _print(table)
    return 0


def cmd_release_show(asked: argparse.Namespace) -> int:
    print(services(asked).release_manifest(asked.release), end="")
    return 0


def cmd_stage_reference(asked: argparse.Namespace) -> int:
    desk = services(asked)
    for variant in (asked.variant,) if asked.variant else ("build", "install"):
        place = desk.reference_stage(
            variant, lambda text: print(f"{datetime.now():%H:%M:%S} {text}", flush=True)
        )
        print(f"{variant}: {place}")
    return 0


def cmd_demo(asked: argparse.Namespace) -> int:
    return demo.demo(asked.firmware)


if __name__ == "__main__":
    run()
