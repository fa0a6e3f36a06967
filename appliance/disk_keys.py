"""Keys of encrypted containers: taken from a machine that is being installed, given to that machine alone."""

import hashlib
import hmac
import json
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from appliance.client_keys import ClientKeys
from appliance.errors import Problem
from appliance.model import Machine, MachineState, Tree
from appliance.sealed import NONCE_BYTES, seal, unseal
from appliance.store import Store
from appliance.store.disk_keys import DiskKey

log = logging.getLogger(__name__)

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
NAME = re.compile(r"[a-z][a-z0-9_]{0,14}")
KEY = re.compile(r"[0-9a-f]{64}")
PHRASE = re.compile(r"[a-z2-9]{5}(?:-[a-z2-9]{5}){5}")
MOST = 16
"""Containers of one machine."""


def objection(known: DiskKey, *, ask: str, enrolled: str) -> str:
    """Why a key is not given to who asks with this secret; empty when it is. Pure."""
    if not hmac.compare_digest(hashlib.sha256(ask.encode()).hexdigest(), known.ask):
        return "the secret is not the machine's"
    if known.revoked:
        return "the machine's keys are revoked"
    if known.enrolled != enrolled:
        return "the machine is not enrolled as it was when it handed the key over"
    return ""


class DiskKeyDesk:
    """Who hands over is known by certificate, who asks before its disks are open by a secret."""

    def __init__(self, tree: Tree, store: Store, clock: Callable[[], float]) -> None:
        self._keys = ClientKeys.below(tree)
        self._store = store
        self._clock = clock

    def take(self, mac: str, body: bytes) -> None:
        """Keep what a machine that is being installed hands over, in place of what it handed over before.

        {"ask": secret, "containers": [{"uuid", "name", "key", "recovery"}]}. Raises Problem.
        """
        said = _object(body)
        ask, containers = _text(said, "ask", KEY), said.get("containers")
        if not isinstance(containers, list) or not 1 <= len(containers) <= MOST:
            raise Problem(f"expected 1 to {MOST} containers")
        with self._store.database.change():
            machine, enrolled = self._store.machines.get(mac), self._store.clients.key_of(mac)
            if machine is None or enrolled is None or machine.state is not MachineState.INSTALLING:
                raise Problem("only a machine that is being installed hands over keys")
            made = [self._made(mac, one, ask, enrolled.key) for one in containers]
            if len({one.uuid for one in made}) < len(made):
                raise Problem("expected each container once")
            for one in made:
                other = self._store.disk_keys.get(one.uuid)
                if other and other.mac != mac:
                    raise Problem("another machine has a container of this UUID")
            self._store.disk_keys.replace(mac, made)
            names = ", ".join(one.name for one in made)
            self._store.audit.add(self._clock(), f"machine {mac}", "disk key take", mac, names)

    def _made(self, mac: str, said: Any, ask: str, enrolled: str) -> DiskKey:
        if not isinstance(said, dict):
            raise Problem("a container is a JSON object")
        return DiskKey(
            uuid=_text(said, "uuid", UUID),
            mac=mac,
            name=_text(said, "name", NAME),
            enrolled=enrolled,
            ask=hashlib.sha256(ask.encode()).hexdigest(),
            sealed=self._seal(_text(said, "key", KEY)),
            recovery=self._seal(_text(said, "recovery", PHRASE)),
            made_at=self._clock(),
        )

    def release(self, body: bytes, peer: str) -> str:
        """The key of a container, for {"uuid", "ask"}; each release and each refusal is noted.

        Raises Problem, with one sentence whatever the reason is: a thief learns nothing from it.
        """
        said = _object(body)
        uuid, ask = _text(said, "uuid", UUID), _text(said, "ask", KEY)
        with self._store.database.change():
            known = self._store.disk_keys.get(uuid)
            enrolled = self._store.clients.key_of(known.mac) if known else None
            why = objection(known, ask=ask, enrolled=enrolled.key if enrolled else "") if known else "unknown"
            if known and not why:
                self._store.disk_keys.released(uuid, now=self._clock())
                self._note(known, "disk key release", f"{known.name} to {peer}")
                return unseal(self._keys.disks_key(), known.sealed)
            if known:
                self._note(known, "disk key refuse", f"{known.name} to {peer}: {why}")
        log.warning("the key of container %s was refused to %s: %s", uuid, peer, why)
        raise Problem("this key is not given to you", hint="ask who looks after the server")

    def _note(self, known: DiskKey, action: str, detail: str) -> None:
        self._store.audit.add(self._clock(), f"machine {known.mac}", action, known.mac, detail)

    def of(self, machine: Machine) -> list[DiskKey]:
        return self._store.disk_keys.of(machine.mac)

    def recovery(self, machine: Machine, *, who: str | None = None) -> Mapping[str, str]:
        """The passphrase of each container that opens it without the server: told once, then forgotten."""
        with self._store.database.change():
            keys = [one for one in self.of(machine) if one.recovery]
            if not keys:
                raise Problem(
                    f"there is no recovery passphrase of {machine.mac} to be shown",
                    hint="each is shown once; a machine hands them over when it is installed",
                )
            told = {one.name: unseal(self._keys.disks_key(), one.recovery) for one in keys}
            self._store.disk_keys.shown(machine.mac, now=self._clock())
            self._store.audit.add(self._clock(), who, "disk key recovery", machine.mac, ", ".join(told))
        return told

    def revoke(self, machine: Machine, wanted: bool, *, who: str | None = None) -> None:
        """Give its keys to nobody, or to the machine again. Raises Problem when it has none."""
        with self._store.database.change():
            if not self.of(machine):
                raise Problem(f"machine {machine.mac} has no encrypted container")
            self._store.disk_keys.revoke(machine.mac, wanted)
            said = "given to nobody" if wanted else "given to it again"
            self._store.audit.add(self._clock(), who, "disk key revoke", machine.mac, said)

    def _seal(self, text: str) -> str:
        return seal(self._keys.disks_key(), text, secrets.token_bytes(NONCE_BYTES))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as bad:
        raise Problem("expected JSON") from bad
    if not isinstance(said, dict):
        raise Problem("expected a JSON object")
    return said


def _text(said: Mapping[str, Any], name: str, form: re.Pattern[str]) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise Problem(f"{name} is not what was expected")
    return value
