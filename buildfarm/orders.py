"""Writes the signed orders of compile hosts, for the boot server to hand out."""

import base64
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from appliance.errors import Problem


class Signs(Protocol):
    """Whoever holds the release key."""

    def sign(self, path: Path, signature: Path) -> None: ...

    def public_keyring(self) -> Path: ...


def write(room: Path, host: str, text: str, signer: Signs) -> None:
    """Put the text with its signature into place by one rename; `signature` is the last line."""
    with TemporaryDirectory(prefix=".orders-", dir=room) as name:
        plain, signature = Path(name) / "text", Path(name) / "signature"
        plain.write_text(text)
        signer.sign(plain, signature)
        whole = Path(name) / "whole"
        whole.write_text(f"{text}signature {base64.b64encode(signature.read_bytes()).decode()}\n")
        whole.chmod(0o644)
        whole.replace(room / host)


def signed_time(room: Path, host: str) -> tuple[float, str]:
    """When the orders in place were signed, and what they order; (0, "") when there are none."""
    file = room / host
    if not file.is_file():
        return 0.0, ""
    text = file.read_text()
    times = [line.partition(" ")[2] for line in text.splitlines() if line.startswith("time ")]
    return float(times[0]), body(text)


def body(text: str) -> str:
    """What orders say, without when they said it."""
    lines = text.splitlines()
    return "\n".join(line for line in lines if line.partition(" ")[0] not in ("serial", "time", "signature"))


def source_address(host: str) -> str:
    """The address of ours that a host sees; the kernel's routes decide, nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((host, 9))
        except OSError as unreachable:
            raise Problem(
                f"there is no route to compile host {host}: {unreachable.strerror}"
            ) from unreachable
        return str(asking.getsockname()[0])
