"""A start into the rescue shell, once: until a shell told of itself, and a few times at most."""

from collections.abc import Callable, Sequence

from appliance.model import Event, Facts, Machine
from appliance.store import Store

TRIES = 3
"""A shell without a network, or of an old release, tells nothing: it must not be started for ever."""
TOKEN = "rescue"
TOKEN_SECONDS = 24 * 3600.0


class Rescue:
    """The boot server's side; a person's wish is MachineDesk.rescue."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def arguments(self, machine: Machine) -> Sequence[str]:
        """The words of the kernel's command line, for one of the starts that are left."""
        with self._store.database.change():
            self._store.machines.set_rescue(machine.mac, machine.rescue - 1)
            token = self._store.tokens.issue(
                machine.mac, TOKEN, now=self._clock(), lifetime_seconds=TOKEN_SECONDS
            )
        return "distserver.mode=rescue", f"distserver.token={token}"

    def began(self, token: str, facts: Facts) -> str:
        """A shell tells that it runs: the machine starts as before from now on. Inside a change."""
        now = self._clock()
        mac = self._store.tokens.use(token, TOKEN, now=now)
        if mac is None:
            return "over nobody waits for this rescue shell any more"
        self._store.machines.set_rescue(mac, 0)
        if facts.mac == mac:
            self._store.machines.set_facts(mac, facts)
        self._store.events.add(Event(mac, now, "rescue", message="its rescue shell runs"))
        return "rescue it starts as before after this"
