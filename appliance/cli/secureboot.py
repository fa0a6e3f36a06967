"""`distserver secureboot`: the site's own Secure Boot keys."""

import argparse
from pathlib import Path

from appliance.cli.base import Commands, print_table, services, table_of
from buildfarm.site_keys import Certificate


def add(commands: Commands) -> None:
    group = commands.group("secureboot", "the site's Secure Boot keys: init, status, certificates")
    commands.add("init", cmd_init, "make the keys; boot programs and releases are then signed", of=group)
    commands.add("status", cmd_status, "is anything signed, with which keys; releases that are not", of=group)
    made = commands.add(
        "certificates", cmd_certificates, "copy what machines enroll into a directory (a USB stick)", of=group
    )
    made.add_argument("directory", type=Path, metavar="DIRECTORY")


def cmd_init(asked: argparse.Namespace) -> int:
    desk = services(asked)
    _show(desk.secure_boot.init())
    desk.audit.note(None, "secureboot init", desk.live.now().name)
    print("now: start `distserver up` again, build the profiles, enroll the certificates on the machines")
    return 0


def cmd_status(asked: argparse.Namespace) -> int:
    status = services(asked).secure_boot.status()
    print(status.sentence)
    if status.certificates:
        _show(status.certificates)
    for name in status.unsigned:
        print(f"release {name} is not signed: a machine with Secure Boot refuses its kernel")
    return 0


def cmd_certificates(asked: argparse.Namespace) -> int:
    for file in services(asked).secure_boot.export(asked.directory):
        print(file)
    return 0


def _show(certificates: list[Certificate] | tuple[Certificate, ...]) -> None:
    table = table_of("enrolled as", "subject", "SHA-256", "ends")
    for one in certificates:
        table.add_row(one.variable, one.subject, one.sha256, one.ends)
    print_table(table)
