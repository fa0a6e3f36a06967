"""Waking machines and switching them on and off; each time is on the machine's timeline."""

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import BinaryIO

from appliance import power, terminal, wake
from appliance.console import Console, ConsoleFailure
from appliance.dialogues import DIALOGUES
from appliance.errors import Problem
from appliance.line import open_line, play
from appliance.line_turn import persons_turn
from appliance.live import LiveSite
from appliance.machine_settings import MachineSettings
from appliance.model import Event, Firmware, Machine
from appliance.power import Action, State
from appliance.secret import read_secret
from appliance.store import Store
from appliance.wake import Sent
from pxe.interfaces import read_interfaces
from pxe.links import Interface

LOOPBACK = "lo"


class PowerDesk:
    words = tuple(action.value for action in Action)
    """What a controller may be told."""

    def __init__(self, live: LiveSite, store: Store, lines: Path, clock: Callable[[], float]) -> None:
        """`lines`: where the turns at serial lines are kept."""
        self._lines = lines
        self._live = live
        self._store = store
        self._clock = clock

    def wake(
        self, machine: Machine, interfaces: tuple[str, ...] = (), *, who: str | None = None
    ) -> list[Sent]:
        """Send a magic packet out of the interfaces named, else out of those it may be behind (`towards`).

        Raises Problem when none could be sent.
        """
        settings = self._settings(machine)
        password = b""
        if settings.wake_password_file:
            password = wake.secure_on(read_secret(settings.wake_password_file))
        packet = wake.magic_packet(machine.mac, password)
        sent = wake.send(packet, interfaces or self._towards(machine))
        self._note(machine, "wake", f"a magic packet by {', '.join(map(str, sent))}", who=who)
        return sent

    def act(self, machine: Machine, action: Action, *, who: str | None = None) -> State | None:
        """Let the machine's controller do something; a STATUS is answered. Raises Problem."""
        bmc = self._settings(machine).bmc
        if bmc is None:
            raise no_controller(machine)
        uefi = machine.facts is not None and machine.facts.firmware is Firmware.UEFI
        try:
            state = power.act(bmc, action, uefi=uefi)
        except Problem as problem:
            self._note(machine, "power", f"{action.value}: {problem}", status="failed", who=who)
            raise
        if action is not Action.STATUS:
            self._note(machine, "power", f"{action.value}, by {bmc.kind.value}", who=who)
        return state

    def converse(self, machine: Machine, log: BinaryIO | None) -> None:
        """Join this terminal with the machine's console until the person leaves. Raises Problem."""
        with persons_turn(self._lines, machine.mac), open_line(self._settings(machine)) as line:
            terminal.converse(line, log)

    def netboot(self, machine: Machine, firmware: str, transcript: Path, say: Callable[[str], None]) -> None:
        """Talk the machine's firmware into booting from the network once; `say` is told how far it is.

        Raises Problem, or ConsoleClosed when the line ends.
        """
        settings = self._settings(machine)
        name = firmware or (settings.console.firmware if settings.console else "")
        if not name:
            hint = f"set console.firmware in the site, or give --firmware: {', '.join(DIALOGUES)}"
            raise Problem(f"nobody said which firmware machine {machine.mac} has", hint=hint)
        try:
            with (
                persons_turn(self._lines, machine.mac),
                open_line(settings) as line,
                Console(line.fd, transcript) as console,
            ):
                play(DIALOGUES[name], line, console, say)
        except (Problem, ConsoleFailure) as problem:
            self._note(machine, "console", f"netboot by {name}: {problem}", status="failed")
            raise
        self._note(machine, "console", f"netboot by {name}")

    def _settings(self, machine: Machine) -> MachineSettings:
        return self._live.now().machines.get(machine.mac) or MachineSettings(machine.mac)

    def _towards(self, machine: Machine) -> tuple[str, ...]:
        served = self._live.now().net.interfaces
        return towards(read_interfaces(), served, self._store.addresses.all().get(machine.mac))

    def _note(
        self, machine: Machine, stage: str, message: str, *, status: str = "done", who: str | None = None
    ) -> None:
        now = self._clock()
        with self._store.database.change():
            self._store.events.add(Event(machine.mac, now, stage, status, message=message))
            self._store.audit.add(now, who, f"machine {stage}", machine.mac, f"{message} ({status})")


def no_controller(machine: Machine) -> Problem:
    return Problem(
        f"the site names no controller of machine {machine.mac}",
        hint="[[machine]] with mac and bmc in appliance.toml does; `machine wake` needs none",
    )


def towards(
    there: tuple[Interface, ...], served: tuple[str, ...], seen: IPv4Address | None
) -> tuple[str, ...]:
    """The interfaces a machine may be behind: that of the network it was seen in, else every one."""
    up = [one for one in there if one.up and one.name != LOOPBACK and one.addresses]
    candidates = [one for one in up if not served or one.name in served]
    near = [one for one in candidates if seen and any(seen in own.network for own in one.addresses)]
    return tuple(one.name for one in near or candidates)
