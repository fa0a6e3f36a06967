"""Starts the machine anew: in order, by its own init, and when that does nothing by the kernel."""

import ctypes
import time
from pathlib import Path

from distserver_client import programs
from distserver_client.errors import Problem

SYSTEMD = Path("/run/systemd/system")
"""sd_booted(3)"""
INIT = Path("/proc/1/comm")
SECONDS = 60.0
PATIENCE_SECONDS = 180.0
RB_AUTOBOOT = 0x01234567
"""reboot(2)"""


def commands(*, systemd: bool, init: str) -> list[list[str]]:
    """What to call, the next one when one fails; pure. sysvinit's reboot calls shutdown, busybox's init."""
    if systemd:
        return [["systemctl", "reboot"]]
    more = [["openrc-shutdown", "--reboot", "now"]] if init == "openrc-init" else []
    return [*more, ["reboot"], ["busybox", "reboot"]]


def restart() -> None:
    """Returns while the machine goes down; raises Problem when init will not."""
    said = ""
    for argv in commands(systemd=SYSTEMD.is_dir(), init=INIT.read_text().strip()):
        done = programs.order(argv, seconds=SECONDS)
        if not done.status:
            return
        said = f"{' '.join(argv)}: {done.last_line}"
    raise Problem(f"the machine cannot be started anew: {said}")


def insist() -> None:
    """The same, and when the machine is still there after a while without init."""
    try:
        restart()
    except Problem as problem:
        print(f"distserver-client: {problem}", flush=True)
    else:
        time.sleep(PATIENCE_SECONDS)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sync()
    libc.reboot(RB_AUTOBOOT)
