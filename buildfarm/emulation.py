"""Lets the kernel run programs of another processor: QEMU's user emulation, registered with binfmt_misc."""

import platform
import shutil
from pathlib import Path

from appliance.errors import Problem
from appliance.run import CommandFailed, run
from buildfarm import processors
from buildfarm.processors import Processor

REGISTRY = Path("/proc/sys/fs/binfmt_misc")
PREFIX = "distserver-"


def provide(chost: str) -> None:
    """See to it that programs for this CHOST run here, also inside of roots; raises Problem if not.

    The registration is the kernel's own and stays until it is restarted; one with the flag F that is there
    already (qemu-user-static with binfmt-support makes one) will do.
    """
    processor = processors.of(chost)
    if processor is not None and not processors.is_native(chost, platform.machine()):
        provide_for(processor)


def provide_for(processor: Processor) -> None:
    """Register QEMU's user emulation of a processor that is not this host's."""
    emulator = shutil.which(processor.emulator) if processor.emulator else None
    if emulator is None:
        raise Problem(
            f"programs for {processor.name} cannot be run here: there is no emulator for them",
            hint="apt-get install qemu-user-static",
        )
    try:
        _mount()
        if not any(_serves(entry, processor) for entry in sorted(REGISTRY.iterdir())):
            (REGISTRY / "register").write_bytes(rule(processor, emulator))
    except FileExistsError:  # another build was quicker
        return
    except (OSError, CommandFailed) as failure:
        raise Problem(
            f"programs for {processor.name} cannot be run here: binfmt_misc does not take {emulator}",
            hint=f"the farm needs root on a kernel with binfmt_misc, outside of a container: {failure}",
        ) from failure


def rule(processor: Processor, emulator: str) -> bytes:
    """What is written to binfmt_misc's `register` (Linux, admin-guide/binfmt-misc.rst).

    F: the kernel opens the emulator now, so that roots need not have it.
    """
    magic, mask = (
        b"".join(b"\\x%02x" % octet for octet in text) for text in (processor.magic, processor.mask)
    )
    name = f"{PREFIX}{processor.name}".encode()
    return b":%b:M::%b:%b:%b:F" % (name, magic, mask, emulator.encode())


def _mount() -> None:
    if not (REGISTRY / "register").exists():
        run(["mount", "-t", "binfmt_misc", "binfmt_misc", REGISTRY])


def _serves(entry: Path, processor: Processor) -> bool:
    """Is this registration for the processor, switched on, and does it hold inside of roots (F)?"""
    if entry.name in ("register", "status"):
        return False
    lines = entry.read_text().splitlines()
    words = dict(line.partition(" ")[::2] for line in lines)
    return (
        lines[:1] == ["enabled"]
        and words.get("magic") == processor.magic.hex()
        and "F" in words.get("flags:", "")
    )
