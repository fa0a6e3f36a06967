"""Whether each condition of a match rule holds for a machine's facts, and what was seen. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from appliance.match_rules import about_disk, between, pci_parts, size_words
from appliance.model import Disk, Facts, PciDevice
from appliance.profile_model import RULE_TEXTS, DiskRule, MatchRule


@dataclass(frozen=True)
class Finding:
    """What one condition says; for a list it is one of its words."""

    fits: bool
    said: str


def findings(facts: Facts, rule: MatchRule) -> list[Finding]:
    """In the order of the keys; empty for a rule without conditions."""
    return [finding for check in CHECKS for finding in check(facts, rule)]


def alike(value: str, glob: str) -> bool:
    """Case does not matter: vendors write theirs as they like."""
    return fnmatchcase(value.lower(), glob.lower())


def _texts(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    for key in RULE_TEXTS:
        if glob := getattr(rule, key):
            value = getattr(facts, key)
            fits = alike(value, glob)
            yield Finding(fits, f"{key} {value!r} is {'like' if fits else 'not like'} {glob!r}")


def _oui(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    if rule.oui:
        found = next((one for one in rule.oui if f"{facts.mac}:".startswith(f"{one}:")), "")
        begins = f"begins with {found}" if found else f"does not begin with {' or '.join(rule.oui)}"
        yield Finding(bool(found), f"mac {facts.mac} {begins}")


def _firmware(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    if rule.firmware:
        fits = facts.firmware is rule.firmware
        yield Finding(
            fits, f"firmware is {facts.firmware.value}" + ("" if fits else f", not {rule.firmware.value}")
        )
    if rule.secure_boot is not None:
        if facts.secure_boot is None:
            yield Finding(False, "it did not say whether Secure Boot is on")
        else:
            yield Finding(
                facts.secure_boot is rule.secure_boot,
                f"Secure Boot is {'on' if facts.secure_boot else 'off'}",
            )


def _flags(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    if rule.cpu_flags and not facts.cpu_flags:
        yield Finding(False, "it did not say what its processor can do")
        return
    for flag in rule.cpu_flags:
        name = flag.removeprefix("-")
        has = name in facts.cpu_flags
        yield Finding(has is not flag.startswith("-"), f"the processor has {'' if has else 'no '}{name}")


def _pci(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    if rule.pci and not facts.pci:
        yield Finding(False, "it did not say which PCI devices it has")
        return
    for pattern in rule.pci:
        found = next((one for one in facts.pci if _is_device(one, pattern)), None)
        wanted = not pattern.startswith("-")
        what = pattern.removeprefix("-")
        if found is None:
            yield Finding(not wanted, f"no PCI device is {what}")
        else:
            device = f"{found.id} class {found.class_code}"
            device += f" subsystem {found.subsystem}" if found.subsystem else ""
            yield Finding(wanted, f"the PCI device {device} is {what}")


def _is_device(device: PciDevice, pattern: str) -> bool:
    # A class may be given in part: "01" is all storage, "0107" what speaks SAS (PCI code and ID assignment).
    values = {"id": device.id, "class": device.class_code, "subsystem": device.subsystem}
    parts = pci_parts(pattern)
    return bool(parts) and all(
        fnmatchcase(values[name], f"{glob}*" if name == "class" else glob) for name, glob in parts.items()
    )


def _numbers(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    if wanted := between(rule.min_memory_bytes, rule.max_memory_bytes, size=True):
        fits = _within(facts.memory_bytes, rule.min_memory_bytes, rule.max_memory_bytes)
        yield Finding(fits, f"memory {size_words(facts.memory_bytes)} is {'' if fits else 'not '}{wanted}")
    if wanted := between(rule.min_cpus, rule.max_cpus):
        if not facts.cpus:
            yield Finding(False, "it did not say how many processors it has")
        else:
            fits = _within(facts.cpus, rule.min_cpus, rule.max_cpus)
            are = "processor is" if facts.cpus == 1 else "processors are"
            yield Finding(fits, f"{facts.cpus} {are} {'' if fits else 'not '}{wanted}")


def _within(value: int, least: int | None, most: int | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _disks(facts: Facts, rule: MatchRule) -> Iterator[Finding]:
    if rule.disk is None:
        return
    found = [disk.path for disk in facts.disks if _is_disk(disk, rule.disk)]
    fits = bool(found) if rule.disk.count is None else len(found) == rule.disk.count
    seen = ", ".join(found) or "none"
    wanted = about_disk(rule.disk)
    yield Finding(fits, f"of its disks {seen}: {wanted}" if fits else f"expected {wanted}, it has {seen}")


def _is_disk(disk: Disk, rule: DiskRule) -> bool:
    return (
        not disk.removable
        and _within(disk.size_bytes, rule.min_size_bytes, rule.max_size_bytes)
        and (not rule.transport or alike(disk.transport, rule.transport))
        and (not rule.model or alike(disk.model, rule.model))
    )


CHECKS: tuple[Callable[[Facts, MatchRule], Iterator[Finding]], ...] = (
    _texts,
    _oui,
    _firmware,
    _flags,
    _pci,
    _numbers,
    _disks,
)
