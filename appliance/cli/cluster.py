"""`distserver cluster`: the hosts that compile for the farm."""

import argparse
import time
from datetime import datetime
from pathlib import Path

from appliance.cli.base import Commands, print_table, services, table_of
from appliance.cli.cluster_remote import COMMANDS
from appliance.compile_host import CompileHost, HostState
from buildfarm.native import resolve

SHORT = 12


def add(commands: Commands) -> None:
    names = "list, toolchains, add, remove, order, probe, quarantine, release-quarantine, kit, native"
    group = commands.group("cluster", f"the compile hosts: {names}")
    made = commands.add("list", cmd_list, "every compile host, its state and what it runs", of=group)
    made.set_defaults(remote=COMMANDS["list"])
    commands.add("toolchains", cmd_toolchains, "the toolchain images that were made", of=group)
    made = commands.add("add", cmd_add, "let a host be used; without --address one that said hello", of=group)
    made.set_defaults(remote=COMMANDS["add"])
    made.add_argument("name", metavar="HOST")
    made.add_argument("--address", default="", help="its IPv4 address")
    made.add_argument("--slots", type=int, default=0, help="jobs at a time; one for each of its processors")
    made.add_argument("--arch", default="", help="what `uname -m` says there; what it reports")
    for name, command, text in (
        ("remove", cmd_remove, "use a host no more"),
        ("probe", cmd_probe, "compare what a host compiles with what its toolchains make here"),
        ("quarantine", cmd_quarantine, "do not use a host for a time"),
        ("release-quarantine", cmd_release, "use a quarantined host again, after a new probe"),
    ):
        made = commands.add(name, command, text, of=group)
        made.set_defaults(remote=COMMANDS[name])
        made.add_argument("name", metavar="HOST")
        if name == "quarantine":
            made.add_argument("--reason", default="by hand")
    made = commands.add("order", cmd_order, "let the hosts fetch and start a toolchain now", of=group)
    made.add_argument("toolchain", metavar="TOOLCHAIN", help="the first characters of its hash")
    made.add_argument("--hours", type=float, default=12.0, help="how long it stays (12)")
    made = commands.add("kit", cmd_kit, "write the files a Linux host needs to be a compile host", of=group)
    made.add_argument("place", type=Path, metavar="DIRECTORY")
    made.add_argument("--server", required=True, help="where hosts reach this server, http://ADDRESS[:PORT]")
    made.add_argument("--name", default="", help="what the host will be called; its own name")
    text = "print what -march=native means on this machine, for a profile's CFLAGS"
    made = commands.add("native", cmd_native, text, of=group, site=False)
    made.add_argument("--compiler", default="gcc", help="the compiler to ask (gcc)")


def cmd_list(asked: argparse.Namespace) -> int:
    table = table_of("host", "address", "state", "slots", "arch", "load", "runs", "why")
    for shown in services(asked).cluster.show():
        host = shown.host
        report = host.report
        runs = sorted(report.runs) if report else []
        marks = " ".join(f"{one[:SHORT]}{'+' if one in shown.probed else ''}" for one in runs)
        load = f"{report.load:.1f}" if report else ""
        slots = str(host.jobs) if report or host.slots else ""
        table.add_row(host.name, host.address, host.state.value, slots, host.machine, load, marks, _why(host))
    print_table(table)
    print("+ passed its probe")
    return 0


def _why(host: CompileHost) -> str:
    match host.state:
        case HostState.UNKNOWN:
            return f"distserver cluster add {host.name}"
        case HostState.QUARANTINED:
            return f"until {datetime.fromtimestamp(host.until):%Y-%m-%d %H:%M}: {host.reason}"
        case HostState.GONE:
            return f"silent for {time.time() - host.seen_at:.0f} s" if host.seen_at else "not seen yet"
    return host.report.problem if host.report else ""


def cmd_toolchains(asked: argparse.Namespace) -> int:
    table = table_of("toolchain", "chost", "version", "MiB", "ordered", "compilers")
    for made, ordered in services(asked).cluster.all_toolchains():
        size = f"{made.size_bytes / 2**20:.0f}"
        row = (made.hash[:SHORT], made.chost, made.version, size, "yes" if ordered else "")
        table.add_row(*row, " ".join(made.names))
    print_table(table)
    return 0


def cmd_add(asked: argparse.Namespace) -> int:
    desk = services(asked)
    host = desk.cluster.add(asked.name, address=asked.address, slots=asked.slots, arch=asked.arch)
    desk.audit.note(None, "host add", host.name, host.address)
    print(f"{host.name} {host.address} is {host.state.value}")
    return 0


def cmd_remove(asked: argparse.Namespace) -> int:
    desk = services(asked)
    desk.cluster.remove(asked.name)
    desk.audit.note(None, "host remove", asked.name)
    return 0


def cmd_probe(asked: argparse.Namespace) -> int:
    desk = services(asked)
    found = desk.cluster.probe(asked.name)
    desk.audit.note(None, "host probe", asked.name, f"{len(found)} toolchains")
    for made, wrong in found:
        print(f"{made.hash[:SHORT]} {made.chost}-gcc {made.version}: {wrong or 'the same object'}")
    if not found:
        print(f"{asked.name} runs no toolchain")
    return 1 if any(wrong for _, wrong in found) else 0


def cmd_quarantine(asked: argparse.Namespace) -> int:
    print(_why(services(asked).cluster.quarantine(asked.name, asked.reason)))
    return 0


def cmd_release(asked: argparse.Namespace) -> int:
    desk = services(asked)
    host = desk.cluster.release_quarantine(asked.name)
    desk.audit.note(None, "host release", host.name)
    print(f"{host.name} is {host.state.value}")
    return 0


def cmd_order(asked: argparse.Namespace) -> int:
    desk = services(asked)
    made = desk.cluster.find_toolchain(asked.toolchain)
    with desk.store.database.change():
        desk.cluster.want(made, seconds=asked.hours * 3600)
        desk.audit.note(None, "toolchain order", made.hash, f"{asked.hours:g} hours")
    print(f"{made.hash[:SHORT]} {made.chost}-gcc {made.version} is ordered for {asked.hours:g} hours")
    return 0


def cmd_kit(asked: argparse.Namespace) -> int:
    services(asked).cluster.kit(asked.place, server=asked.server, name=asked.name)
    print(f"wrote {asked.place}; copy it over / of the host and start the service compile-host")
    return 0


def cmd_native(asked: argparse.Namespace) -> int:
    print(" ".join(resolve(asked.compiler)))
    return 0
