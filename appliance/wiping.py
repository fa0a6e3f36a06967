"""A machine that is retired with its disk wiped: the plan its installer gets, and what is left of it then."""

from collections.abc import Callable, Sequence

from appliance.arrivals import end_images
from appliance.disk_choice import Refused, choose_disks, size_text
from appliance.model import Disk, Event, Facts, Machine, MachineState
from appliance.profile_model import Profile
from appliance.store import Store

REPORT_SECONDS = 7 * 24 * 3600.0
"""A large disk takes long to overwrite and to read."""


def render_wipe(disks: Sequence[Disk], *, report: str) -> str:
    """The plan text of a machine whose disks are wiped; `report` is its secret for events."""
    lines = [f"disk {disk.path}\nwipe {disk.path}\n" for disk in disks]
    return f"plan 1\nreport {report}\n{''.join(lines)}finish\n"


def about(disk: Disk) -> str:
    """`/dev/sda 8.0 GiB ACME SSD S123`"""
    words = disk.path, size_text(disk.size_bytes), disk.transport, disk.model, disk.serial
    return " ".join(word for word in words if word)


class Wiping:
    """The boot server's side; a person's permission is MachineDesk.wipe. Each call is inside a change."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def plan(self, machine: Machine, facts: Facts, profile: Profile) -> str:
        """The plan for the disks that match the profile, or `refused` and why: then nothing is wiped."""
        mac, now = machine.mac, self._clock()
        self._store.machines.set_facts(mac, facts)
        try:
            disks = choose_disks(facts.disks, profile.disk, profile.name)
        except Refused as refusal:
            self._store.events.add(Event(mac, now, "plan", "failed", message=str(refusal)))
            self._store.machines.move(mac, MachineState.FAILED, problem=str(refusal))
            return "refused " + str(refusal).replace("\n", " ")
        self._store.machines.move(mac, MachineState.INSTALLING)
        secret = self._store.tokens.issue(mac, "report", now=now, lifetime_seconds=REPORT_SECONDS)
        self._store.events.add(Event(mac, now, "plan", message=f"wipe {' and '.join(map(about, disks))}"))
        return render_wipe(disks, report=secret)

    def done(self, machine: Machine) -> None:
        """Its disk is wiped: it is forgotten, and the audit log keeps what was wiped."""
        said = self._store.events.messages(machine.mac, "plan", limit=1)
        forget(self._store, machine, "after its disk was wiped", now=self._clock())
        detail = f"{machine.name} {said[0] if said else ''}".strip()
        self._store.audit.add(self._clock(), None, "machine retire", machine.mac, detail)


def forget(store: Store, machine: Machine, why: str, *, now: float) -> None:
    """A machine is no more, with its timeline; its tokens, images and addresses end with it."""
    end_images(store, machine.mac, f"it was retired {why}".strip(), now=now)
    store.tokens.revoke_all(machine.mac)
    store.machines.remove(machine.mac)
    store.events.forget(machine.mac)
    store.consoles.forget(machine.mac)
