"""`distserver lease`: the addresses that full DHCP gave out."""

import argparse
import time

from appliance.backlog import span
from appliance.cli.base import Commands, print_table, services, table_of
from appliance.leases import LeaseState


def add(commands: Commands) -> None:
    group = commands.group("lease", "addresses given out by DHCP")
    text = "who has which address and for how long, and which are kept out of use"
    commands.add("list", cmd_lease_list, text, of=group)


def cmd_lease_list(asked: argparse.Namespace) -> int:
    desk = services(asked)
    names = {machine.mac: machine.name for machine in desk.machines()}
    now = time.time()
    table = table_of("address", "mac", "machine", "state", "for", "calls itself")
    for lease in desk.store.leases.all():
        ended = lease.state is LeaseState.BOUND and not lease.live(now)
        left = span(lease.expires - now) if lease.closed(now) else ""
        state = "expired" if ended else lease.state.value
        table.add_row(str(lease.address), lease.mac, names.get(lease.mac, ""), state, left, lease.host)
    print_table(table)
    return 0
