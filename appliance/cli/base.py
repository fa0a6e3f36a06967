"""What every group of commands needs: where the site and the state are, and how tables look."""

import argparse
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.style import StyleType
from rich.table import Table
from rich.text import Text

from appliance.model import Tree
from appliance.timeline import clean

if TYPE_CHECKING:
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


def services(asked: argparse.Namespace) -> "Services":
    # Commands that need no site also run where most of the programs and libraries are missing.
    from appliance.services import Services

    made = Services(asked.site, Tree(asked.state.resolve()))
    made.audit.who = f"cli {user()}"
    # Who gives a command is told of mistakes in the site; only what serves goes on with the last good one.
    made.live.good = None
    return made


def utc(at: float) -> str:
    """A moment of a server that may be in another zone."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def user() -> str:
    """Who gives commands, also by sudo."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


class Literal(Table):
    """Its words are shown as they are: `:ab:` of a MAC is no picture, what a machine says orders nothing."""

    def add_row(
        self, *cells: RenderableType | None, style: StyleType | None = None, end_section: bool = False
    ) -> None:
        plain = (Text(clean(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def table_of(*columns: str) -> Table:
    """Only the last column may be broken into lines: the others are copied from."""
    table = Literal(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column != columns[-1])
    return table


def print_table(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)
