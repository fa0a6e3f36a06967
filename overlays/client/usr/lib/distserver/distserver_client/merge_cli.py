"""`distserver-client merge`: questions about configuration files, answered on the machine itself."""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path

from distserver_client import places, programs
from distserver_client.answering import Counter
from distserver_client.errors import Problem
from distserver_client.proposals import Proposal
from distserver_client.protection import Protection, protection
from distserver_client.triples import Item, Kind, Version

PAGER, EDITOR = "less", "vi"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """The command's own part of the command line."""
    merge = commands.add_parser("merge", help="configuration files that wait for an answer")
    orders = merge.add_subparsers(dest="order", metavar="ORDER")
    orders.add_parser("list", help="all that wait, here and on the server (the default)")
    show = orders.add_parser("show", help="what ours and theirs changed, in $PAGER")
    show.add_argument("path")
    undo = orders.add_parser("undo", help="put back what the last merge of a file replaced")
    undo.add_argument("path")
    decide = orders.add_parser("decide", help="answer one")
    decide.add_argument("path")
    choice = decide.add_mutually_exclusive_group(required=True)
    choice.add_argument("choice", nargs="?", choices=("ours", "theirs"))
    choice.add_argument("--file", type=Path, help="take the content of this file")
    choice.add_argument("--edit", action="store_true", help="edit ours in $EDITOR")
    return merge


def perform(counter: Counter, given: argparse.Namespace) -> int:
    """Do what was asked; raises Problem. 1 when something waits."""
    if given.order == "undo":
        print("\n".join(f"{path}: put back" for path in counter.undo(given.path)))
        return 0
    waiting = counter.waiting()
    if given.order in (None, "list"):
        for proposal, item in waiting:
            print(f"{proposal.path}: {item.why}{' (a secret)' if item.secret else ''}")
        return 1 if waiting else 0
    found = next(((proposal, item) for proposal, item in waiting if proposal.path == given.path), None)
    if found is None:
        raise Problem(f"{given.path} does not wait for an answer", "distserver-client merge list")
    if given.order == "show":
        _show(*found)
        return 0
    if given.choice == "ours":
        counter.keep(found[0])
    elif why := counter.replace(found[0], _new(counter.root, found[0], given)):
        raise Problem(f"{given.path} stays as it is: {why}")
    print(f"{given.path}: answered")
    return 0


def shielded(packages: Path) -> Protection:
    """What Portage protects here, from the header of the release's index."""
    with packages.open(errors="replace") as lines:
        header: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.rstrip("\n").partition(":")
            if not colon:
                break
            header[name] = value.strip()
    return protection(header)


def _new(root: Path, proposal: Proposal, given: argparse.Namespace) -> Version:
    if given.choice == "theirs":
        return proposal.theirs
    mode = (proposal.ours if proposal.ours.kind is Kind.FILE else proposal.theirs).mode
    if given.file:
        try:
            return Version(Kind.FILE, given.file.read_bytes(), mode)
        except OSError as failure:
            raise Problem(f"{given.file} cannot be read: {failure.strerror}") from failure
    return Version(Kind.FILE, _edited(proposal.ours.content), mode)


def _edited(content: bytes) -> bytes:
    """What a person makes of it; in memory only, as far as the machine allows: it may be a secret."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        file = Path(place) / "file"
        places.write(file, content, places.Metadata(0o600, os.geteuid(), os.getegid()))
        argv = [*shlex.split(os.environ.get("EDITOR") or EDITOR), str(file)]
        if status := programs.edit(argv):
            raise Problem(f"{argv[0]} ended with status {status}", "set EDITOR, or use --file")
        return file.read_bytes()


def _show(proposal: Proposal, item: Item) -> None:
    text = "".join(f"{line}\n" for line in describe(proposal, item))
    pager = shlex.split(os.environ.get("PAGER") or PAGER)
    if not sys.stdout.isatty() or programs.show(pager, text.encode(errors="replace")):
        print(text, end="")


def describe(proposal: Proposal, item: Item) -> Iterator[str]:
    """Three ways: what each side did to the base; both as they are when the base is not known."""
    yield f"{proposal.path}: {item.why}"
    base = proposal.base or Version(Kind.ABSENT)
    for name, one in (("ours", proposal.ours), ("theirs", proposal.theirs)):
        yield ""
        if one.kind is not Kind.FILE:
            target = f" to {_clean(one.content.decode(errors='replace'))}" if one.kind is Kind.LINK else ""
            yield f"{name} is {one.kind.value}{target}"
            continue
        old, new = _lines(base.content), _lines(one.content)
        yield from unified_diff(old, new, "base" if proposal.base else "base (not known)", name, lineterm="")


def _lines(content: bytes) -> list[str]:
    return [_clean(line) for line in content.decode(errors="replace").split("\n")]


def _clean(text: str) -> str:
    """No orders to the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\t" else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
