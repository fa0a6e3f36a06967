"""Sticks that were in use, as loop devices, and what is seen of them from a mount namespace."""

import os
import sys
from pathlib import Path

from appliance.overlays import HOME
from appliance.run import run
from iso.sticks import Drive
from iso.usb import survey

STICK_BYTES = 32 * 1024 * 1024
NOISE = b"what was there before "


def used_stick(file: Path) -> Path:
    """The file behind a stick, all of which is written on."""
    file.write_bytes((NOISE * (STICK_BYTES // len(NOISE) + 1))[:STICK_BYTES])
    return file


def apart(module: str, call: str) -> str:
    """What a function of a test module prints in a mount namespace of its own."""
    code = f"from pathlib import Path; from tests.integration.{module.rpartition('.')[2]} import *; {call}"
    prefix = ["unshare", "--mount", "--propagation", "private"]
    return run([*prefix, sys.executable, "-c", code], env={"PYTHONPATH": str(HOME)}).stdout


def find(device: Path) -> Drive:
    number = device.stat().st_rdev
    return next(one for one in survey().drives if os.makedev(*one.number) == number)
