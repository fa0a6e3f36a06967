"""What a person looks at before a machine is installed or taken out of service, and the latter itself."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from appliance.arrivals import end_images
from appliance.channels import Channels
from appliance.desks.audit import AuditDesk
from appliance.disk_choice import choose_disks
from appliance.errors import Problem
from appliance.install import Refused, default_name, fingerprint_in, plan_install
from appliance.live import LiveSite
from appliance.match import Choice, NoChoice, Verdict, choose, judge
from appliance.model import Disk, Event, Facts, Firmware, Machine, MachineState, check_transition
from appliance.prospect import Prospect, WipeProspect
from appliance.rescue import TOKEN, TRIES
from appliance.site import find_profile
from appliance.store import Store
from appliance.store.media import KnownMedium
from appliance.wiping import about, forget

PLANS_LOOKED_AT = 50
"""Of a machine's timeline: what stands between two plans are refusals and notes of them."""


class MachineDesk:
    def __init__(
        self,
        live: LiveSite,
        store: Store,
        channels: Channels,
        *,
        audit: AuditDesk,
        find: Callable[[str], Machine],
        clock: Callable[[], float],
    ) -> None:
        self._live = live
        self._store = store
        self._channels = channels
        self._audit = audit
        self._find = find
        self._clock = clock

    def choice(self, machine: Machine) -> Choice | NoChoice | None:
        """The profile that the site's rules choose by a machine's facts; None when it has none."""
        return choose(machine.facts, self._live.now().profiles) if machine.facts else None

    def judge(self, machine: Machine, words: Mapping[str, str]) -> tuple[Choice | NoChoice, list[Verdict]]:
        """What the site's rules say to a machine's facts, some of them replaced; nothing is changed."""
        sent = machine.facts or Facts(machine.mac, Firmware.UEFI)
        facts = replace(
            sent,
            mac=words.get("mac", sent.mac),
            vendor=words.get("vendor", sent.vendor),
            product=words.get("product", sent.product),
            serial=words.get("serial", sent.serial),
            uuid=words.get("uuid", sent.uuid),
        )
        profiles = self._live.now().profiles
        return choose(facts, profiles), judge(facts, profiles)

    def published(self, machine: Machine) -> str:
        """The release that the machine's channel names; empty when there is none."""
        said = self._channels.of_machine(machine.profile, machine.channel) if machine.profile else None
        return said.release if said else ""

    def fingerprint(self, mac: str) -> str:
        """That of its last plan, from the network or a medium; empty when it had none."""
        said = self._store.events.messages(mac, "plan", limit=PLANS_LOOKED_AT)
        return next((mark for one in said if (mark := fingerprint_in(one))), "")

    def has_controller(self, machine: Machine) -> bool:
        """Whether the site names a management controller of it."""
        settings = self._live.now().machines.get(machine.mac)
        return settings is not None and settings.bmc is not None

    def images(self, machine: Machine) -> list[KnownMedium]:
        """Those that were made for this machine alone, the newest first."""
        return self._store.media.of_machine(machine.mac)

    def rescue(self, mac: str, wanted: bool, *, who: str | None = None) -> Machine:
        """Let a machine start from the network into the rescue shell once, or no longer.

        Raises Problem when there is no release whose installer has one.
        """
        with self._store.database.change():
            machine = self._find(mac)
            if wanted and self._store.releases.newest_sound() is None:
                raise Problem(
                    "there is no release yet whose installer has a rescue shell",
                    hint="the farm makes one when its turn comes",
                )
            self._store.machines.set_rescue(machine.mac, TRIES if wanted else 0)
            self._store.tokens.revoke(machine.mac, TOKEN)
            said = "at its next start from the network" if wanted else "not wanted any more"
            self._store.events.add(Event(machine.mac, self._clock(), "rescue", "note", message=said))
            self._audit.note(who, "machine rescue", machine.mac, said)
        return self._find(machine.mac)

    def prospect(self, mac: str) -> Prospect:
        """What would be done to a machine if it were armed and started now; nothing is changed."""
        machine = self._find(mac)
        release = self.published(machine)
        try:
            return self._prospect(machine, release)
        except Problem as refusal:
            return Prospect(machine, release, refusal=refusal)

    def _prospect(self, machine: Machine, release: str) -> Prospect:
        check_transition(machine.mac, machine.state, MachineState.ARMED)
        if machine.profile is None:
            raise Refused(f"machine {machine.mac} has no profile", hint="assign one")
        profile = find_profile(self._live.now(), machine.profile)
        sealed = self._store.releases.get(release) if release else None
        if sealed is None:
            raise Refused(
                f"profile {profile.name} has no release yet", hint="the farm makes one when its turn comes"
            )
        if fault := self._store.releases.fault(release):
            raise Refused(f"release {release} is not sound: {fault}", hint="roll back to another one")
        if machine.facts is None:
            return Prospect(machine, release)
        name = machine.name or default_name(machine.mac)
        return Prospect(machine, release, plan_install(machine.facts, profile, sealed, hostname=name))

    def wipe_prospect(self, mac: str) -> WipeProspect:
        """Which disk would be wiped if the machine were armed for it now; nothing is changed."""
        machine = self._find(mac)
        try:
            return WipeProspect(machine, self._disks_to_wipe(machine))
        except Problem as refusal:
            return WipeProspect(machine, refusal=refusal)

    def _disks_to_wipe(self, machine: Machine) -> tuple[Disk, ...]:
        check_transition(machine.mac, machine.state, MachineState.ARMED)
        if machine.profile is None:
            hint = "assign one: it says which disk is meant"
            raise Refused(f"machine {machine.mac} has no profile", hint=hint)
        if machine.facts is None:
            hint = "let it start from the network once, such as into the rescue shell"
            raise Refused(f"machine {machine.mac} never said which disks it has", hint=hint)
        if self._store.releases.newest_sound() is None:
            raise Refused("there is no release yet whose installer could wipe it")
        profile = find_profile(self._live.now(), machine.profile)
        return choose_disks(machine.facts.disks, profile.disk, profile.name)

    def wipe(self, mac: str, *, typed: str, shown: str | None = None, who: str | None = None) -> Machine:
        """Allow that its one matching disk is wiped when it next starts from the network; then it is retired.

        `typed`: its name, by who knows what is lost; `shown`: the mark of the prospect they saw, if they saw
        one. Raises Problem when that is not so, and when it is not plain which disk is meant.
        """
        with self._store.database.change():
            prospect = self.wipe_prospect(mac)
            prospect.check(typed=typed, shown=prospect.mark if shown is None else shown)
            machine, now = prospect.machine, self._clock()
            said = f"to wipe {' and '.join(map(about, prospect.disks))}, then to retire it"
            for purpose in ("install", "report"):
                self._store.tokens.revoke(machine.mac, purpose)
            end_images(self._store, machine.mac, "its disk is to be wiped", now=now)
            self._store.machines.move(machine.mac, MachineState.ARMED, wipes=True)
            self._store.events.add(Event(machine.mac, now, "armed", message=said))
            self._audit.note(who, "machine wipe", machine.mac, f"{machine.name} {said}".strip())
        return self._find(machine.mac)

    def retire(self, mac: str, *, who: str | None = None) -> Machine:
        """Forget a machine with its timeline; its tokens, images and addresses end with it.

        What is on its disks stays. Raises Problem while it is being installed.
        """
        with self._store.database.change():
            machine = self._find(mac)
            if machine.state is MachineState.INSTALLING:
                raise Problem(
                    f"machine {machine.mac} is being installed", hint="disarm it first: its installer stops"
                )
            forget(self._store, machine, "", now=self._clock())
            said = f"{machine.name} {machine.state.value} profile {machine.profile or 'none'}".strip()
            self._audit.note(who, "machine retire", machine.mac, said)
        return machine
