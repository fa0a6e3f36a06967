"""Configurations of kernels, kept by the package they came in, so that releases can be compared by them."""

import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from appliance import kconfig

ROOM = "kernel-configs"
PART = ".part-"


def keep(room: Path, sha256: str, config: str) -> None:
    """Remember the configuration of the kernel in a package; a name here always has all of its content."""
    if not config or (room / sha256).exists():
        return
    with tempfile.NamedTemporaryFile("w", dir=room, prefix=PART, delete=False) as sink:
        part = Path(sink.name)
        try:
            sink.write(config)
            sink.flush()
            os.fsync(sink.fileno())
            part.chmod(0o644)
            part.rename(room / sha256)
        finally:
            part.unlink(missing_ok=True)


def read(room: Path, packages: Collection[str]) -> dict[str, str] | None:
    """Symbol -> value of the kernels among these packages (sha256); None when none of theirs is known."""
    found = [kconfig.parse((room / name).read_text()) for name in sorted(packages) if (room / name).is_file()]
    return {option: value for one in found for option, value in one.items()} if found else None


def compare(old: Mapping[str, str] | None, new: Mapping[str, str] | None) -> tuple[str, ...] | None:
    """`+CONFIG_A=y`, `-CONFIG_B=m` or `~CONFIG_C: m -> y`; None when one of them is not known. Pure."""
    if old is None or new is None:
        return None
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name, "n"), new.get(name, "n")
        if before == after:
            continue
        if before == "n":
            lines.append(f"+CONFIG_{name}={after}")
        elif after == "n":
            lines.append(f"-CONFIG_{name}={before}")
        else:
            lines.append(f"~CONFIG_{name}: {before} -> {after}")
    return tuple(lines)
