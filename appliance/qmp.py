"""Talks to a running QEMU over its control socket."""

import json
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from appliance.errors import Problem

CONTROL_SECONDS = 10.0


class ControlClosed(Exception):
    """QEMU went away before it answered."""


def control(path: Path, command: str, arguments: Mapping[str, str | int] | None = None) -> Any:
    """QEMU's answer to one command of its machine protocol (QMP: a greeting, qmp_capabilities, commands).

    Raises Problem when QEMU refuses it, ControlClosed or OSError when QEMU is not there.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(CONTROL_SECONDS)
        line.connect(str(path))
        with line.makefile("rwb") as talk:
            for step, given in (("qmp_capabilities", None), (command, arguments)):
                talk.write(json.dumps({"execute": step, "arguments": given or {}}).encode() + b"\n")
                talk.flush()
                answer = _await_reply(talk.readline, step)
            return answer


def _await_reply(readline: Callable[[], bytes], step: str) -> Any:
    for raw in iter(readline, b""):
        reply = json.loads(raw)
        if "error" in reply:
            raise Problem(f"QEMU refused {step}: {reply['error'].get('desc')}")
        if "return" in reply:
            return reply["return"]
    raise ControlClosed(f"QEMU closed its control socket before it answered {step}")
