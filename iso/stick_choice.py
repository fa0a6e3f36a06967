"""Which stick a person means, and whether that is clear enough to write it without a question. Pure."""

from collections.abc import Sequence

from appliance.errors import Problem
from iso.sticks import Drive, Refused, Stick, System, amount, is_removable, judge

LIST = "`distserver usb list --all` shows what there is, and why"


def choose(system: System, device: str, serial: str, *, unattended: bool) -> Stick:
    """The stick to write, by its name below /dev, its serial number, or because there is only one.

    Raises Problem when there is none, it may not be written, or nothing says which.
    """
    sticks = [one for one in (judge(drive, system) for drive in system.drives) if isinstance(one, Stick)]
    stick = _allowed(_meant(system, device, serial, sticks), system)
    if unattended and not serial:
        _check_unattended(stick, sticks)
    return stick


def title(drive: Drive) -> str:
    """`sdb (Kingston DataTraveler, 15.5 GB, serial 0123)`"""
    serial = f"serial {drive.serial}" if drive.serial else "no serial number"
    return f"{drive.name} ({drive.title}, {amount(drive.size_bytes)}, {serial})"


def refusal(refused: Refused) -> Problem:
    """Why this one is not written, and what a person can do about it."""
    reasons = "; ".join(reason.said for reason in refused.reasons)
    fixes = "; ".join(dict.fromkeys(reason.fix for reason in refused.reasons if reason.fix))
    return Problem(f"{title(refused.drive)} is not written: {reasons}", hint=fixes or LIST)


def _allowed(drive: Drive, system: System) -> Stick:
    judged = judge(drive, system)
    if isinstance(judged, Refused):
        raise refusal(judged)
    return judged


def _meant(system: System, device: str, serial: str, sticks: Sequence[Stick]) -> Drive:
    if device:
        return _named(system, device, serial)
    if serial:
        found = [one for one in system.drives if one.serial == serial and is_removable(one)]
        # Slots of a card reader have one serial number; those without a card are not meant.
        found = [one for one in found if one.size_bytes] or found
        if not found:
            raise Problem(f"no stick with the serial number {serial} is plugged in", hint=LIST)
        return _only(found)
    if sticks:
        return _only([stick.drive for stick in sticks])
    refused = [drive for drive in system.drives if is_removable(drive) and drive.size_bytes]
    if len(refused) == 1:
        return refused[0]
    text = "none of them may be written" if refused else "none is plugged in"
    raise Problem(f"there is no stick to write: {text}", hint=LIST)


def _named(system: System, device: str, serial: str) -> Drive:
    drive = next((one for one in system.drives if one.name == device), None)
    if drive is None and (block := system.blocks.get(device)):
        raise Problem(f"{device} is a part of {block.disk}", hint=f"a whole stick is written: {block.disk}")
    if drive is None:
        raise Problem(f"there is no drive {device}", hint=LIST)
    if serial and drive.serial != serial:
        has = f"the serial number {drive.serial}" if drive.serial else "no serial number"
        raise Problem(f"{device} has {has}, expected {serial}", hint=LIST)
    return drive


def _only(drives: Sequence[Drive]) -> Drive:
    if len(drives) > 1:
        names = ", ".join(title(drive) for drive in drives)
        raise Problem(f"there are {len(drives)} that may be meant: {names}", hint="name the device")
    return drives[0]


def _check_unattended(stick: Stick, sticks: Sequence[Stick]) -> None:
    """Names change with the order of plugging in: without a person a serial number has to say which one is
    meant, or that there is no other. A USB disk may be a backup that is always there.
    """
    say = (
        f"say --serial {stick.drive.serial}"
        if stick.drive.serial
        else "it has no serial number: leave out --yes"
    )
    if len(sticks) > 1:
        names = ", ".join(one.drive.name for one in sticks)
        text = f"--yes alone is enough where one stick is plugged in; here are {names}"
        raise Problem(text, hint=say)
    if stick.note:
        raise Problem(f"--yes alone is not enough for {stick.drive.name}: it is {stick.note}", hint=say)
