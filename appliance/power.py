"""Switches machines on and off through their management controllers."""

import re
import shutil
from contextlib import suppress
from enum import Enum

from appliance.errors import Problem
from appliance.machine_settings import Bmc, BmcKind
from appliance.run import CommandFailed, run
from appliance.secret import check_secret

TRY_SECONDS, TRIES = 1, 3
COMMAND_SECONDS = 60.0
STATUS = re.compile(r"Chassis Power is (on|off)")
KEEP_BOOT_FLAGS = ["raw", "0x00", "0x08", "0x03", "0x08"]
"""Set System Boot Options, parameter 3, bit 3 (IPMI 2.0, table 28-14): the boot device of the next start is
valid for longer than a minute."""


class Action(Enum):
    ON = "on"
    OFF = "off"
    CYCLE = "cycle"
    STATUS = "status"
    NETBOOT_ONCE = "netboot-once"
    """The next start boots from the network, whatever the firmware's order of devices is."""


class State(Enum):
    ON = "on"
    OFF = "off"


def act(bmc: Bmc, action: Action, *, uefi: bool) -> State | None:
    """Tell a controller to do something; a STATUS is answered. Raises Problem when it cannot be done.

    `uefi`: how the machine starts, which a boot device has to be set for.
    """
    check_secret(bmc.password_file)
    match bmc.kind:
        case BmcKind.IPMI:
            return _by_ipmi(bmc, action, uefi=uefi)
        case BmcKind.REDFISH:
            from appliance import redfish  # takes a third of a second

            return redfish.act(bmc, action, uefi=uefi)


def _by_ipmi(bmc: Bmc, action: Action, *, uefi: bool) -> State | None:
    match action:
        case Action.STATUS:
            return _status(bmc)
        case Action.NETBOOT_ONCE:
            # Not every controller knows it, and those that do not keep the flag anyway, or for a minute.
            with suppress(Problem):
                ipmitool(bmc, KEEP_BOOT_FLAGS)
            ipmitool(bmc, ["chassis", "bootdev", "pxe", *(["options=efiboot"] if uefi else [])])
        case Action.CYCLE if _status(bmc) is State.OFF:
            # IPMI refuses to cycle what is off (table 28-4).
            ipmitool(bmc, ["chassis", "power", "on"])
        case _:
            ipmitool(bmc, ["chassis", "power", action.value])
    return None


def _status(bmc: Bmc) -> State:
    said = ipmitool(bmc, ["chassis", "power", "status"])
    found = STATUS.search(said)
    if not found:
        raise Problem(f"the controller {bmc.address} does not say whether the power is on", hint=said.strip())
    return State(found[1])


def ipmitool_argv(bmc: Bmc) -> list[str]:
    """ipmitool and how it reaches a controller; the password stays in its file. Raises Problem."""
    if not shutil.which("ipmitool"):
        raise Problem("IPMI needs the program ipmitool", hint="apt-get install ipmitool")
    words = ["ipmitool", "-I", "lanplus", "-H", bmc.address, "-p", str(bmc.port), "-U", bmc.user]
    words += ["-f", str(bmc.password_file), "-N", str(TRY_SECONDS), "-R", str(TRIES)]
    return words if bmc.cipher_suite is None else [*words, "-C", str(bmc.cipher_suite)]


def ipmitool(bmc: Bmc, words: list[str]) -> str:
    """What ipmitool says. Raises Problem that tells a wrong password from a controller that is not there."""
    try:
        # Only with -v it says why there is no session.
        return run([*ipmitool_argv(bmc), "-v", *words], timeout_seconds=COMMAND_SECONDS).stdout
    except CommandFailed as failed:
        raise _explained(bmc, words, failed.output) from failed


def _explained(bmc: Bmc, words: list[str], said: str) -> Problem:
    where = f"the controller {bmc.address}"
    if "RAKP 2 HMAC is invalid" in said:
        return Problem(f"{where} refuses the password of {bmc.user}", hint=f"correct {bmc.password_file}")
    if "unauthorized name" in said:
        return Problem(f"{where} knows no user {bmc.user}", hint="correct bmc.user in the site")
    if "Address lookup" in said:
        return Problem(f"{bmc.address} is no name of a host", hint="correct bmc.address in the site")
    if "unauthorized role" in said or "insufficient privilege" in said.lower():
        return Problem(f"{where} does not let {bmc.user} do that", hint="the user has to be an administrator")
    if "Unable to establish" in said:
        hint = f"is {bmc.address} right, IPMI over LAN enabled there, and UDP port {bmc.port} not filtered?"
        return Problem(f"{where} does not answer", hint=hint)
    return Problem(f"{where} did not do `{' '.join(words)}`", hint=said.strip()[-500:])
