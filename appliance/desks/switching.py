"""Waking and switching machines by whoever may: the web page asks, the farm has the passwords and does it."""

from collections.abc import Callable

from appliance.desks.power import PowerDesk, no_controller
from appliance.errors import Problem
from appliance.model import Machine
from appliance.power import Action
from appliance.store import Store
from appliance.store.errands import Errand, ErrandKind

WAKE = "wake"
POWER = {ErrandKind(f"power-{action.value}"): action for action in Action}
SWITCHES = frozenset({ErrandKind.WAKE, *POWER})
SHOWN = 5


class SwitchDesk:
    def __init__(
        self,
        store: Store,
        power: PowerDesk,
        *,
        find: Callable[[str], Machine],
        has_controller: Callable[[Machine], bool],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._power = power
        self._find = find
        self._has_controller = has_controller
        self._clock = clock

    def want(self, mac: str, word: str, *, who: str | None = None) -> Errand:
        """Let the farm wake a machine, or do what a word of PowerDesk.words says.

        Raises Problem for what is known to be wrong before anything is done.
        """
        if word not in (WAKE, *PowerDesk.words):
            raise Problem(
                "that is nothing a controller does", hint=f"one of {', '.join((WAKE, *PowerDesk.words))}"
            )
        machine, kind = self._find(mac), ErrandKind(word if word == WAKE else f"power-{word}")
        if kind in POWER and not self._has_controller(machine):
            raise no_controller(machine)
        who, now = who or self._store.audit.who, self._clock()
        with self._store.database.change():
            number = self._store.errands.want(kind, "", machine=machine.mac, who=who, now=now)
            self._store.audit.add(now, who, f"machine want {kind.value}", machine.mac, "")
        found = self._store.errands.get(number)
        assert found
        return found

    def wake(self, mac: str, *, who: str | None = None) -> Errand:
        """Let the farm send a magic packet."""
        return self.want(mac, WAKE, who=who)

    def last(self, mac: str) -> list[Errand]:
        """What was asked for one machine, the newest first."""
        return self._store.errands.of_machine(mac, limit=SHOWN)

    def do(self, errand: Errand) -> str:
        """The farm's side. Raises Problem."""
        machine = self._find(errand.machine)
        if errand.kind is ErrandKind.WAKE:
            sent = self._power.wake(machine, who=errand.who)
            return f"a magic packet was sent by {', '.join(map(str, sent))}"
        action = POWER[errand.kind]
        state = self._power.act(machine, action, who=errand.who)
        return f"it is {state.value}" if state else f"its controller was told {action.value}"
