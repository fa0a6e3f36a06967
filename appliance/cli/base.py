"""What every group of commands needs: where the site and the state are, and how tables look."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from appliance.model import Tree
from appliance.services import Services

DEFAULT_STATE = "/var/lib/distserver"
DEFAULT_SITE = "."
PIPE_COLUMNS = 250
"""Who reads a pipe wants a machine in one line."""
Command = Callable[[argparse.Namespace], int]


@dataclass(frozen=True)
class Commands:
    """Where a group adds its commands."""

    top: Any
    """What argparse's add_subparsers() returned."""

    def add(
        self, name: str, command: Command, text: str, *, of: Any = None, site: bool = True
    ) -> argparse.ArgumentParser:
        """A command; `site`: it has the option --site."""
        made: argparse.ArgumentParser = (of or self.top).add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        if site:
            place = Path(os.environ.get("DISTSERVER_SITE", DEFAULT_SITE))
            made.add_argument("--site", type=Path, default=place, help="site directory (DISTSERVER_SITE, .)")
        return made

    def group(self, name: str, text: str) -> Any:
        """A command that has commands of its own."""
        return self.top.add_parser(name, help=text).add_subparsers(required=True, metavar="COMMAND")


def services(asked: argparse.Namespace) -> Services:
    return Services(asked.site, Tree(asked.state.resolve()))


def table_of(*columns: str) -> Table:
    """Only the last column may be broken into lines: the others are copied from."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != columns[-1])
    return table


def print_table(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)
