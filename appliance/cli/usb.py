"""`distserver usb`: shows USB sticks and writes images on them."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from appliance.cli.base import Commands, print_table, table_of
from appliance.cli.progress import showing
from appliance.cli.wishes import add_options, wish_of
from appliance.desks.usb import UsbDesk
from appliance.errors import Problem
from iso.image_file import ImageFile
from iso.stick_choice import title
from iso.stick_writer import Interrupted, Phase
from iso.sticks import Refused, Stick, System, amount, describe
from iso.usb import medium_title

SCRATCH = "/var/tmp"
"""Images may be larger than a /tmp that is in memory."""


def add(commands: Commands) -> None:
    usb = commands.group("usb", "USB sticks and memory cards to install from")
    text = "removable media: what they are, what is on them, and why one may not be written"
    made = commands.add("list", cmd_list, text, of=usb, site=False)
    made.add_argument("--all", action="store_true", help="also disks that are no removable media")
    made.add_argument("--json", action="store_true", help="print it as JSON")
    text = "write an image on a stick, read it back, and say whether it is right"
    made = commands.add("write", cmd_write, text, of=usb)
    made.add_argument("image", nargs="?", default="", metavar="IMAGE", help="not with --profile")
    made.add_argument(
        "device", nargs="?", default="", metavar="DEVICE", help="such as sdb; the only stick there is"
    )
    made.add_argument("--serial", default="", help="the stick with this serial number")
    made.add_argument(
        "--yes",
        action="store_true",
        help="do not ask; needs --serial, or one stick alone that says it is removable",
    )
    text = "make its image first, as `distserver iso` does with the options below (repeatable)"
    made.add_argument("--profile", action="append", default=[], metavar="PROFILE", help=text)
    add_options(made)


def cmd_list(asked: argparse.Namespace) -> int:
    system, judged = UsbDesk().drives(every=asked.all)
    if asked.json:
        print(json.dumps([_as_json(one, system) for one in judged], indent=2))
        return 0
    if not judged:
        print("no stick is plugged in" + ("" if asked.all else " (--all shows the other disks, too)"))
        return 0
    table = table_of("device", "bus", "size", "what it is", "serial", "on it", "may be written")
    for one in judged:
        drive = one.drive
        size = amount(drive.size_bytes) if drive.size_bytes else "empty"
        on_it = "; ".join(describe(drive, system.blocks)) if drive.size_bytes else ""
        table.add_row(drive.name, drive.bus.value, size, drive.title, drive.serial, on_it, _verdict(one))
    print_table(table)
    return 0


def _verdict(judged: Stick | Refused) -> str:
    if isinstance(judged, Stick):
        return f"yes; {judged.note}" if judged.note else "yes"
    return f"no: {'; '.join(reason.said for reason in judged.reasons)}"


def _as_json(judged: Stick | Refused, system: System) -> dict[str, Any]:
    drive = judged.drive
    return {
        "device": drive.name,
        "bus": drive.bus.value,
        "size_bytes": drive.size_bytes,
        "removable": drive.removable,
        "vendor": drive.vendor,
        "model": drive.model,
        "serial": drive.serial,
        "medium": drive.medium,
        "contents": describe(drive, system.blocks) if drive.size_bytes else [],
        "writable": isinstance(judged, Stick),
        "note": judged.note if isinstance(judged, Stick) else "",
        "refused": [reason.said for reason in judged.reasons] if isinstance(judged, Refused) else [],
    }


def cmd_write(asked: argparse.Namespace) -> int:
    try:
        with _signals():
            return _write_made(asked) if asked.profile else _write(asked, asked.image, asked.device)
    except Interrupted as stopped:
        print(f"distserver: {stopped.message}\n  hint: {stopped.hint}", file=sys.stderr)
    except KeyboardInterrupt:
        print("distserver: interrupted, nothing was written", file=sys.stderr)
    return 130


def _write_made(asked: argparse.Namespace) -> int:
    """Make an image of profiles, and throw it away when it is on the stick."""
    from appliance.cli import iso  # which needs all that images are made with

    if asked.device:
        raise Problem(f"{asked.image} is not written: --profile makes the image", hint="name the device only")
    # An image takes minutes: that there is no stick, or no clear one, is said before.
    UsbDesk().choose(asked.image, asked.serial, 0, unattended=asked.yes)
    with TemporaryDirectory(prefix="distserver-stick-", dir=os.environ.get("TMPDIR", SCRATCH)) as place:
        made = iso.make(asked, wish_of(asked, asked.profile), Path(place) / "image.iso")
        return _write(asked, made.path, asked.image)


def _write(asked: argparse.Namespace, image_path: str | Path, device: str) -> int:
    if not image_path:
        raise Problem("nothing says what to write", hint="name an image, or --profile to make one")
    desk = UsbDesk()
    image = desk.examine(Path(image_path))
    system, stick = desk.choose(device, asked.serial, image.size_bytes, unattended=asked.yes)
    with showing() as tell:
        compared = desk.verify(image, lambda done, total: tell("checking the image", done, total))
    _show(image, compared, stick, system)
    if not asked.yes:
        _confirm(stick.drive.name)
    with showing() as tell:

        def told(phase: Phase, done: int, total: int) -> None:
            tell(f"{phase.value} {stick.drive.name}", done, total)

        written = desk.write(stick, image, told)
    print(f"{stick.drive.name} is written and was read back: sha256 {written.sha256}")
    if not written.table_read:
        print("The kernel keeps its old partitions until it is taken out.")
    return 0


def _show(image: ImageFile, compared: int, stick: Stick, system: System) -> None:
    what = f"medium {medium_title(image.label, image.medium)}" if image.medium else f"'{image.label}'"
    print(f"image: {image.path}, {amount(image.size_bytes)}, {what}")
    if compared:
        print(f"       {amount(compared)} of it compared with its manifests")
    elif image.medium is None:
        print("       it is none of DistServer's: only its structures were checked")
    print(f"stick: {title(stick.drive)}{f', {stick.note}' if stick.note else ''}")
    print("All that is on it will be lost:")
    for line in describe(stick.drive, system.blocks):
        print(f"  {line}")


def _confirm(name: str) -> None:
    """Raises Problem unless a person types the device's name."""
    if not sys.stdin.isatty():
        hint = "without a terminal: --yes, with --serial"
        raise Problem(f"nobody is there to say that {name} may be erased", hint=hint)
    try:
        typed = input(f"Type {name} to erase it and write the image: ").strip()
    except EOFError:
        typed = ""
    if typed.removeprefix("/dev/") != name:
        raise Problem(f"{typed!r} is not {name}: nothing was written")


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM and a closed terminal are what Ctrl-C is: the stick is left as one that does not boot."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
