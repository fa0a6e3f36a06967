"""The command line."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path

from appliance import daemon, demo, farm_process
from appliance.cli.base import DEFAULT_STATE, Commands, services
from appliance.cli.remote import remote_command
from appliance.errors import Problem
from appliance.merge_site import DIRECTORY, read_all
from appliance.model import PC_FIRMWARE, Firmware, Tree
from appliance.run import CommandFailed
from appliance.services import init_site
from appliance.site import find_profile, read_site
from appliance.up import Up
from appliance.web_address import login_sentence
from appliance.web_keys import WebKeys
from buildfarm import reuse
from buildfarm.build import Progress
from buildfarm.signing import Signer

GROUPS = (
    "account",
    "audit",
    "bootprograms",
    "cluster",
    "console",
    "doctor",
    "explain",
    "failure",
    "gc",
    "hold",
    "iso",
    "lease",
    "machine",
    "match",
    "merge",
    "package",
    "plan",
    "profile",
    "queue",
    "release",
    "rollout",
    "secureboot",
    "sync",
    "usb",
    "webhook",
    "worker",
)
"""Modules beside this one: each adds its commands."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a Problem is printed with its hint and ends in status 1."""
    asked = parser().parse_args(argv)
    level = logging.DEBUG if asked.debug else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    try:
        command = remote_command(asked) if asked.at_server else asked.command
        status: int = command(asked)
        return status
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
    add_remote(top)
    commands = Commands(top.add_subparsers(required=True, metavar="COMMAND"))
    made = commands.add("init", cmd_init, "write a commented example site", site=False)
    made.add_argument("site", type=Path, metavar="SITE")
    commands.add("check", cmd_check, "read the site and complain about every mistake")
    made = commands.add("up", cmd_up, "serve a LAN: boot, build farm and web page")
    text = "a network interface that machines are on, such as eth0, eth0.5 or br0; may be given several times"
    made.add_argument("--interface", action="append", default=[], help=f"{text} ([net] interfaces)")
    made = commands.add(
        "build", cmd_build, "build a profile and publish its release when the gate lets it pass"
    )
    made.add_argument("profile")
    made = commands.add("login", cmd_login, "print a one-time link to the web page")
    made.add_argument("name", nargs="?", default="", metavar="NAME", help="of this account; else of an admin")
    for group in GROUPS:
        import_module(f"{__name__}.{group}").add(commands)

    stage = commands.group("stage", "stages")
    text = "make the reference stage from the host's Debian"
    made = commands.add("reference", cmd_stage_reference, text, of=stage)
    made.add_argument("--variant", choices=("build", "install"), help="only this one")

    text = "install a blank virtual machine on a virtual LAN"
    made = commands.add("demo", cmd_demo, text, site=False)
    made.add_argument("--firmware", type=Firmware, choices=PC_FIRMWARE, default=Firmware.UEFI)

    made = commands.add("process", cmd_process, "one of the processes of `up`")
    made.add_argument("name", choices=("boot", "farm", "web", "door", "build", "plan", "image", "webhooks"))
    made.add_argument("--interface", action="append", default=[])
    made.add_argument("--sockets", type=int, help="of boot: the descriptor where the parent makes sockets")
    made.add_argument("--job", type=int, default=0, help="of build and plan: the number of the job")
    made.add_argument("--jobs", type=int, default=0, help="of build: packages at a time")
    return top


def add_remote(top: argparse.ArgumentParser) -> None:
    """The options by which another host's DistServer is asked."""
    server = os.environ.get("DISTSERVER_SERVER", "")
    text = "the page of another host's DistServer, which does the command (DISTSERVER_SERVER)"
    top.add_argument("--server", dest="at_server", default=server, metavar="URL", help=text)
    text = "a file for its owner alone with a token of that server"
    top.add_argument("--token-file", type=Path, metavar="FILE", help=text)
    text = "the only certificates to trust, such as that server's keys/web/ca.crt; else those of this host"
    top.add_argument("--authority", type=Path, metavar="FILE", help=text)


def cmd_init(asked: argparse.Namespace) -> int:
    init_site(asked.site)
    if os.geteuid() == 0:
        tree = Tree(asked.state.resolve())
        Signer(tree.path / "keys").ready()
        keys = WebKeys.below(tree)
        keys.make_authority(read_site(asked.site).name)
        print(f"the web page's authority: {keys.authority}, SHA-256 {keys.fingerprint()}")
    print(f"wrote {asked.site}; now: distserver up --site {asked.site} --interface INTERFACE")
    return 0


def cmd_check(asked: argparse.Namespace) -> int:
    site = read_site(asked.site)
    for problem in read_all(asked.site / DIRECTORY)[1]:
        raise problem
    print(f"{asked.site} is right: profiles {', '.join(sorted(site.profiles))}")
    return 0


def cmd_up(asked: argparse.Namespace) -> int:
    daemon.check_programs()
    daemon.up(Up(asked.site.resolve(), asked.state.resolve(), tuple(asked.interface)))
    return 0


def cmd_process(asked: argparse.Namespace) -> int:
    what = Up(asked.site, asked.state, tuple(asked.interface), asked.sockets)
    if asked.name == "build":
        farm_process.build_job(what, asked.job, asked.jobs)
        return 0
    if asked.name == "plan":
        farm_process.plan_job(what, asked.job)
        return 0
    processes = {
        "boot": daemon.boot,
        "farm": farm_process.farm,
        "web": daemon.web,
        "door": daemon.door,
        "image": farm_process.image,
        "webhooks": daemon.webhooks,
    }
    processes[asked.name](what)
    return 0


def cmd_build(asked: argparse.Namespace) -> int:
    daemon.check_programs()

    def show(progress: Progress) -> None:
        print(f"{datetime.now():%H:%M:%S} {progress}", flush=True)

    desk = services(asked)
    find_profile(desk.live.now(), asked.profile)
    desk.audit.note(None, "build", asked.profile)
    result = desk.building.build(asked.profile, show)
    if result.release is None:
        print(f"distserver: {asked.profile} is not published, the previous release stays:", file=sys.stderr)
        for reason in result.reasons:
            print(f"  {reason}", file=sys.stderr)
        for failure in result.failed:
            print(f"\n{failure.package} failed, {failure.log}:\n{failure.tail}", file=sys.stderr)
        return 1
    print(f"release {result.release.id}: {reuse.sentence(asked.profile, result.origins)}")
    return 0


def cmd_login(asked: argparse.Namespace) -> int:
    print(login_sentence(services(asked), asked.name))
    return 0


def cmd_stage_reference(asked: argparse.Namespace) -> int:
    desk = services(asked)
    for variant in (asked.variant,) if asked.variant else ("build", "install"):
        place = desk.reference_stage(
            variant, lambda text: print(f"{datetime.now():%H:%M:%S} {text}", flush=True)
        )
        desk.audit.note(None, "stage make", variant, str(place))
        print(f"{variant}: {place}")
    return 0


def cmd_demo(asked: argparse.Namespace) -> int:
    return demo.demo(asked.firmware)
