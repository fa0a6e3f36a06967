"""The command `distserver-client`."""

import argparse
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from distserver_client import central, journal, kernels, merge_cli, programs, rebooting, timing, triples
from distserver_client.agent import Agent, Status
from distserver_client.answering import Counter
from distserver_client.engine import PROGRAM
from distserver_client.errors import Away, Problem
from distserver_client.kernels import Kernels
from distserver_client.services import Services

PR_SET_PDEATHSIG = 1
"""prctl(2)"""
LONGEST_SLEEP_SECONDS = 300.0
TRIAL_PAUSE_SECONDS = 30.0
"""With a kernel on trial, between two tries to reach the server."""
SETTLE_SECONDS = 30.0
"""After a start the network may still be on its way."""


def main(argv: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(argv)
    try:
        # A log has each line when it is said, also when the power fails behind it.
        return int(given.do(Agent(say=partial(print, flush=True)), given) or 0)
    except Problem as problem:
        print(f"distserver-client: {problem}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="distserver-client", description="Keeps this machine at its profile's release."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="which release this machine has, and whether it is whole")
    status.set_defaults(do=_status)
    update = commands.add_parser("update", help="ask the server and follow, now")
    update.add_argument("--again", action="store_true", help="also a release that was given up before")
    update.set_defaults(do=_update)
    rollback = commands.add_parser("rollback", help="go back to an older release")
    rollback.add_argument("release", nargs="?", help="one this machine still keeps, when it is not named")
    rollback.set_defaults(do=_rollback)
    diff = commands.add_parser("diff", help="what differs from the release, or what another one would change")
    diff.add_argument("release", nargs="?")
    diff.add_argument("--whole", action="store_true", help="read the content of every file")
    diff.add_argument("--local", action="store_true", help="also configuration files that were changed here")
    diff.set_defaults(do=_diff)
    merge_cli.add(commands).set_defaults(do=_merge)
    mount = commands.add_parser("mount", help="mount the release's trees and /etc/portage (at boot)")
    mount.set_defaults(do=_mount)
    loop = commands.add_parser("run", help="update when it is time, for ever (a service does this)")
    loop.set_defaults(do=_run)
    watch = commands.add_parser("watch", help="give a kernel on trial up in time (`mount` starts this)")
    watch.set_defaults(do=_watch)
    fetch = commands.add_parser("fetch", help="fetch a package of the release (Portage calls this)")
    fetch.add_argument("uri")
    fetch.add_argument("target", type=Path)
    fetch.set_defaults(do=_fetch)
    inside = commands.add_parser("inside", help="run a program that sees a release (updates call this)")
    inside.add_argument("release")
    inside.add_argument("index")
    inside.add_argument("program", nargs="+")
    inside.set_defaults(do=_inside)
    return parser


def _status(agent: Agent, given: argparse.Namespace) -> int:
    found = agent.status()
    for line in describe(found):
        print(line)
    return 0 if found.current else 1


def describe(found: Status) -> list[str]:
    """For a person; the first line says it all. Pure."""
    state = found.state
    lines = [f"release {state.release}: {'current' if found.current else 'not whole'}"]
    if found.journal:
        at = found.journal.at or "waiting"
        lines.append(f"under way to {found.journal.target}: {at} ({len(found.journal.done)} steps done)")
        lines += [f"last failure: {found.journal.why}"] if found.journal.why else []
    if state.refused:
        lines.append(f"given up: release {state.refused} ({state.why})")
    lines += [found.kernel] if found.kernel else []
    lines += [f"not mounted: {place}" for place, there in found.mounted.items() if not there]
    lines.append(f"packages of the release: {len(found.inventory.same)}")
    lines += [f"another one: {cpv}" for cpv in found.inventory.differ]
    lines += [f"not of the release: {cpv}" for cpv in found.inventory.foreign]
    return lines


def _update(agent: Agent, given: argparse.Namespace) -> None:
    print(agent.update(again=given.again))


def _rollback(agent: Agent, given: argparse.Namespace) -> None:
    print(agent.follow(given.release or _older(agent)))


def _older(agent: Agent) -> str:
    """The other release that is kept here."""
    here = journal.read_state(agent.places).release
    kept = sorted(place.parent.name for place in (agent.places.cache / "r").glob("*/manifest"))
    others = [release for release in kept if release != here]
    if len(others) != 1:
        named = f"kept here are {', '.join(others)}" if others else "no other release is kept here"
        raise Problem(f"which release? {named}", hint="distserver-client rollback RELEASE")
    return others[0]


def _diff(agent: Agent, given: argparse.Namespace) -> int:
    if given.release:
        lines = agent.changes(given.release)
        print("\n".join(lines), end="\n" if lines else "")
        return 1 if lines else 0
    found = agent.differences(whole=given.whole)
    for one in found.drift:
        print(f"{one.kind} {one.name}: {one.said}")
    for changed in found.local if given.local else ():
        print(f"configuration {changed.path}: {changed.said}")
    if found.unread:
        print(f"{found.unread} files may differ and were not read: --whole reads them", file=sys.stderr)
    return 1 if found.drift else 0


def _merge(agent: Agent, given: argparse.Namespace) -> int:
    places = agent.places
    release = journal.read_state(places).release
    packages = places.cache / "r" / release / "Packages"
    try:
        covered, said = merge_cli.shielded(packages), triples.policy(agent.policy().raw)
    except OSError as failure:
        raise Problem(f"{packages} cannot be read: {failure.strerror}") from failure
    except ValueError as wrong:
        raise Problem(f"the policy of this machine makes no sense: {wrong}") from wrong
    counter = Counter(places.root, places.state.parent, said, covered, Services(places.root))
    # An update that is under way settles files, too.
    with agent.locked() if given.order in ("decide", "undo") else contextlib.nullcontext():
        return merge_cli.perform(counter, given)


def _mount(agent: Agent, given: argparse.Namespace) -> None:
    # First: whatever goes wrong after it is among what a kernel on trial may be to blame for.
    if kernels.this_start().trial_seconds:
        programs.begin([PROGRAM, "watch"])
    for place in agent.mount():
        print(f"mounted {place}")


def _watch(agent: Agent, given: argparse.Namespace) -> None:
    if not kernels.keep_watch(Kernels.of(agent.places)):
        rebooting.insist()


def _fetch(agent: Agent, given: argparse.Namespace) -> None:
    agent.fetch(given.uri, given.target)


def _inside(agent: Agent, given: argparse.Namespace) -> None:
    # Whoever started this may be killed; what emerge does then must not go on beside the next update.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    central.enter(agent.places, given.release, None if given.index == "-" else Path(given.index))
    os.execvp(given.program[0], given.program)


def _run(agent: Agent, given: argparse.Namespace) -> None:
    """Each failure is said and forgotten: the next look may find another world."""
    machine = _machine(agent)
    is_heard = False
    # What was cut off half-way is finished at once: most of it needs no network.
    due = time.time() + (0.0 if agent.is_half_done() else SETTLE_SECONDS)
    while True:
        # A clock that was set forward or back by the network's time is looked at again soon.
        while (left := due - time.time()) > 0:
            time.sleep(min(left, LONGEST_SLEEP_SECONDS))
        agent.again_seconds = None
        # The door judges the window by its own clock: two clocks might leave nothing of it.
        if agent.is_enrolled() or agent.is_on_trial or timing.is_open(agent.policy(), time.time()):
            try:
                print(agent.update(), flush=True)
                is_heard = True
            except (Problem, OSError) as failure:
                is_heard = is_heard or not isinstance(failure, Away)
                print(f"distserver-client: {failure}", file=sys.stderr, flush=True)
        now = time.time()
        _start_anew(agent, now)
        policy, said = agent.policy(), agent.again_seconds
        due = timing.next_look(policy, machine, now, again_seconds=said, is_heard=is_heard)
        if agent.is_on_trial:
            due = min(due, now + TRIAL_PAUSE_SECONDS)


def _start_anew(agent: Agent, now: float) -> None:
    """Where policy and window allow it and another kernel waits, or the running one was given up."""
    try:
        if agent.reboot_is_due(now):
            print("the machine is started anew for another kernel", flush=True)
            rebooting.restart()
    except (Problem, OSError) as failure:
        print(f"distserver-client: {failure}", file=sys.stderr, flush=True)


def _machine(agent: Agent) -> str:
    """What is this machine's alone, for its minute of the hour."""
    for place in (
        agent.places.settings / "machine.crt",
        agent.places.machine_id,
        agent.places.root / "etc/hostname",
    ):
        if place.is_file() and (text := place.read_text(errors="replace").strip()):
            return text
    return ""


if __name__ == "__main__":
    sys.exit(main())
