"""`distserver bootprograms`: what each firmware and processor is given, and how to get what is missing."""

import argparse

from appliance.cli.base import Commands, print_table, services, table_of


def add(commands: Commands) -> None:
    group = commands.group("bootprograms", "boot programs by firmware and processor: list, fetch")
    commands.add("list", cmd_list, "which there are, and what would help where one is missing", of=group)
    made = commands.add("fetch", cmd_fetch, "get GRUB for another processor from Debian", of=group)
    made.add_argument("cpu", metavar="CPU")


def cmd_list(asked: argparse.Namespace) -> int:
    table = table_of("firmware", "processor", "file", "Debian package", "missing")
    for one in services(asked).boot_programs.programs():
        table.add_row(one.firmware, one.cpu, one.file, one.package, one.missing)
    print_table(table)
    return 0


def cmd_fetch(asked: argparse.Namespace) -> int:
    desk = services(asked)
    desk.boot_programs.fetch(asked.cpu, lambda text: print(text, flush=True))
    desk.audit.note(None, "bootprograms fetch", asked.cpu)
    return 0
