"""`distserver gc`: removes what no release, channel, pin, machine or build names."""

import argparse
from collections.abc import Sequence

from appliance.cli.base import Commands, print_table, services, table_of
from buildfarm.collect import Fate

KINDS = (
    "release", "package", "snapshot", "stage", "toolchain", "base", "content", "log", "installer", "planner",
    "image", "rest",
)  # fmt: skip


def add(commands: Commands) -> None:
    made = commands.add("gc", cmd_gc, "remove what no release, channel, pin, machine or build names")
    made.add_argument("--dry-run", action="store_true", help="only say what would go")
    made.add_argument("--explain", action="store_true", help="also say of everything else why it stays")


def cmd_gc(asked: argparse.Namespace) -> int:
    fates = services(asked).release_desk.collect(dry_run=asked.dry_run)
    table = table_of("what", "name", "MiB", "why it stays")
    for fate in fates:
        if fate.goes or asked.explain:
            size = f"{fate.size_bytes / 2**20:.1f}"
            why = "; ".join(fate.reasons) or ("would go" if asked.dry_run else "gone")
            table.add_row(fate.kind, fate.name, size, why)
    if table.row_count:
        print_table(table)
    print(summary(fates, dry_run=asked.dry_run))
    return 0


def summary(fates: Sequence[Fate], *, dry_run: bool) -> str:
    """`12 packages and 2 releases gone, 340.5 MiB`."""
    going = [fate for fate in fates if fate.goes]
    counts = [(sum(fate.kind == kind for fate in going), kind) for kind in KINDS]
    words = [f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count]
    size = sum(fate.size_bytes for fate in going) / 2**20
    done = "would go" if dry_run else "gone"
    return f"{', '.join(words)} {done}, {size:.1f} MiB" if words else "nothing to remove"
