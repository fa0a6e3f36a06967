"""Machines with configuration questions: what their clients post, and how their files end."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from appliance.merge_model import read_posting
from appliance.model import Machine, MachineState
from appliance.services import Services

PATH = "/etc/ssh/sshd_config"
BASE = b"Port 22\nPermitRootLogin yes\n"
OURS = b"Port 2222\nPermitRootLogin yes\n"
THEIRS = b"Port 22222\nPermitRootLogin no\n"
MERGED = b"Port 2222\nPermitRootLogin no\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def mac(number: int) -> str:
    return f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"


def item(path: str = PATH, **more: Any) -> dict[str, Any]:
    """One line of a posting, as the client writes it."""
    hashes = {"base": sha256(BASE), "ours": sha256(OURS), "theirs": sha256(THEIRS)}
    return {"path": path, **hashes, "mode": 0o600, "secret": False, "why": "both changed line 1", **more}


def add_machine(services: Services, number: int, profile: str = "vm") -> str:
    services.store.machines.add(Machine(mac(number), MachineState.INSTALLED, f"host{number}", profile))
    return mac(number)


def post(
    services: Services, machine: str, *items: dict[str, Any], whole: bool = True
) -> list[dict[str, Any]]:
    said: Any = list(items) if whole else {"items": list(items)}
    return services.merges.ask(machine, read_posting(json.dumps(said).encode()))


@dataclass
class Client:
    """One machine: it asks, gives what is wanted, and does what it is told with its one file."""

    services: Services
    machine: str
    file: bytes = OURS
    old: bytes = OURS
    kept: dict[str, bytes] = field(default_factory=lambda: {sha256(one): one for one in (BASE, OURS, THEIRS)})

    def settle(self) -> str:
        """Ask once; the state that came."""
        self.old = self.file
        (answer,) = post(self.services, self.machine, item(ours=sha256(self.old)))
        for wanted in answer.get("wants", ()):
            self.services.merges.give(self.machine, wanted, self.kept[wanted])
        state = str(answer["state"])
        if state == "asked":
            return state
        if state == "decided":
            result = self.services.merges.content_for(self.machine, answer["result"])
            assert result is not None and sha256(result) == answer["result"]
            self.file = result
        elif state == "theirs":
            self.file = THEIRS
        self.report("applied", result=sha256(self.file))
        return state

    def hear(self) -> list[str]:
        """Do what was decided or taken back meanwhile; the states that came."""
        states = []
        for one in self.services.merges.news(self.machine):
            states.append(one["state"])
            if one["state"] != "undo":
                self.settle()
            elif one["result"] == sha256(self.file):
                old = self.services.merges.content_for(self.machine, str(one["ours"]))
                assert old is not None
                self.file = old
                self.report("reverted")
            else:
                self.report("changed")
        return [str(state) for state in states]

    def asked(self, **more: str) -> dict[str, Any]:
        """The item of its question, for a report on it."""
        return item(ours=sha256(self.old), **more)

    def report(self, state: str, **more: str) -> dict[str, Any]:
        (answer,) = post(self.services, self.machine, self.asked(state=state, **more), whole=False)
        return answer
