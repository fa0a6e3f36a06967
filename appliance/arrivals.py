"""Machines that come with a medium: a token that arms one, a report that one was installed without us."""

import logging
from collections.abc import Callable

from appliance import first_report
from appliance.errors import Problem
from appliance.first_report import FirstReport
from appliance.install import planned
from appliance.media_secret import read_media_secret
from appliance.medium import iso_time
from appliance.model import Event, Facts, Machine, MachineState, Tree
from appliance.store import Store
from appliance.store.media import TOKEN, KnownMedium
from appliance.store.tokens import hash_of

log = logging.getLogger(__name__)


class Arrivals:
    """The boot server's side of images."""

    def __init__(self, tree: Tree, store: Store, clock: Callable[[], float]) -> None:
        self.tree = tree
        self.store = store
        self.clock = clock

    def armed_by(self, token: str, facts: Facts) -> str | None:
        """The machine that the token of an image for one machine arms now; it is burnt by that.

        None when it is no such token, not good any more, or another machine came with it. Inside a change.
        """
        now = self.clock()
        mac = self.store.tokens.owner(token, TOKEN, now=now)
        medium = self.store.media.of_token(hash_of(token))
        if mac is None or medium is None:
            return None
        machine = self.store.machines.get(mac)
        profile = medium.releases[0][1]
        if facts.mac != mac:
            self._note(mac, "armed", f"medium {medium.id} was brought by {facts.mac}, it does nothing there")
            return None
        if machine is None or machine.profile != profile:
            self._note(mac, "armed", f"medium {medium.id} is for profile {profile}, which it has no more")
            return None
        self.store.tokens.use(token, TOKEN, now=now)
        self.store.media.use(medium.id, now=now)
        if machine.state is not MachineState.INSTALLING:
            self.store.machines.move(mac, MachineState.ARMED)
            self.store.audit.add(now, f"medium {medium.id}", "machine arm", mac, f"made by {medium.who}")
        self.store.events.add(
            Event(mac, now, "armed", message=f"by medium {medium.id}, made by {medium.who}")
        )
        return mac

    def why_not(self, token: str, facts: Facts) -> str:
        """Why the token of an image does not arm the machine that brings it; empty: it is no such token."""
        medium = self.store.media.of_token(hash_of(token))
        if medium is None:
            return ""
        if medium.mac != facts.mac:
            return f"this medium is for machine {medium.mac}, this one is {facts.mac}"
        if medium.used_at is not None:
            return "this medium has installed its machine once already"
        if medium.revoked_at is not None:
            return "what this medium was allowed to do was revoked"
        if medium.expires_at is not None and medium.expires_at <= self.clock():
            return f"what this medium was allowed to do ended at {iso_time(medium.expires_at)}"
        machine, profile = self.store.machines.get(medium.mac), medium.releases[0][1]
        if machine is None or machine.profile != profile:
            return f"this medium is for profile {profile}, which the machine has no more"
        return "the machine was installed after this medium was made"

    def was_installed(self, mac: str) -> None:
        """An installation ended: no image that was made before arms the machine again.

        One that installs without asking us may do so all the same, and its report counts. Inside a change.
        """
        images = [one for one in self.store.media.of_machine(mac) if not one.used_at and not one.revoked_at]
        if any(not one.offline for one in images):
            end_images(self.store, mac, "it was installed since", now=self.clock())
        self.store.tokens.revoke(mac, TOKEN)

    def installed(self, body: str) -> str:
        """What a machine says that was installed from a medium: `taken`, `known` or `refused` and why.

        Raises Problem when the text makes no sense.
        """
        told, text = first_report.split(body)
        report = first_report.parse(text)
        with self.store.database.change():
            medium = self.store.media.get(report.medium)
            why = self._refusal(report, medium, told, text)
            if medium is None or why:
                log.warning("a report of %s is refused: %s", report.facts.mac, why)
                return f"refused {why}"
            now = self.clock()
            if not self.store.media.heard(report.nonce, medium.id, report.facts.mac, now=now):
                return "known this report came before"
            self._settle(report, medium, now)
        log.info("%s was installed from medium %s", report.facts.mac, medium.id)
        return "taken"

    def reported(self, nonce: str, told: str, text: str) -> str | None:
        """The machine whose first report had this nonce, when `told` proves that the text comes from it, too.

        Once its key is known only the installer's secret replaces that: others had the same medium.
        """
        heard = self.store.media.heard_from(nonce)
        medium = self.store.media.get(heard[0]) if heard else None
        if heard is None or medium is None or medium.revoked_at is not None:
            return None
        key = first_report.credential(read_media_secret(self.tree), medium.id)
        return heard[1] if first_report.proven(told, key, text) else None

    def _refusal(self, report: FirstReport, medium: KnownMedium | None, told: str, text: str) -> str:
        """Why a report does not count; empty: it does. Nothing is said of a medium before it is proven."""
        try:
            key = first_report.credential(read_media_secret(self.tree), report.medium)
        except Problem as problem:
            log.warning("%s", problem)
            return "this server has made no media"
        if not first_report.proven(told, key, text):
            return "it is not proven to come from a medium of this server"
        if medium is None:
            return f"this server does not remember medium {report.medium}"
        if not medium.offline or (report.release, report.profile) not in medium.releases:
            return f"medium {medium.id} does not install release {report.release} of {report.profile}"
        if medium.mac and medium.mac != report.facts.mac:
            return f"medium {medium.id} is for {medium.mac}, not for {report.facts.mac}"
        if medium.revoked_at is not None:
            return f"medium {medium.id} was revoked"
        return ""

    def _settle(self, report: FirstReport, medium: KnownMedium, now: float) -> None:
        mac = report.facts.mac
        machine = self._met(report)
        release = self.store.releases.get(report.release)
        since = release.created_at if release else 0.0
        steps = first_report.placed(report, now=now, since=since)
        begun = min((one.at - (one.seconds or 0.0) for one in steps), default=now)
        plan = planned(report.release, report.facts.firmware.value, report.fingerprint)
        events = [
            Event(mac, begun, "plan", message=plan),
            *(
                Event(mac, one.at, one.stage, one.status, one.seconds, one.size_bytes, one.message)
                for one in steps
            ),
            Event(mac, now, "report", message=f"installed from medium {medium.id}, made by {medium.who}"),
        ]
        if report.token:
            events += self._burn(report, medium, now)
        self.store.events.add_all(events)
        # The key of what was installed there before is nobody's now.
        self.store.clients.forget(mac)
        self.store.machines.set_profile(mac, report.profile)
        if self._is_free(machine, report.hostname):
            self.store.machines.set_name(mac, report.hostname)
        for purpose in ("install", "report"):
            self.store.tokens.revoke(mac, purpose)
        self.was_installed(mac)
        self.store.machines.move(mac, MachineState.INSTALLED, release=report.release)
        said = f"release {report.release}, profile {report.profile}"
        self.store.audit.add(now, f"medium {medium.id}", "machine report", mac, said)

    def _met(self, report: FirstReport) -> Machine:
        mac = report.facts.mac
        machine = self.store.machines.get(mac)
        if machine is None:
            machine = Machine(mac=mac, state=MachineState.DISCOVERED, facts=report.facts)
            self.store.machines.add(machine)
        else:
            self.store.machines.set_facts(mac, report.facts)
        return machine

    def _is_free(self, machine: Machine, name: str) -> bool:
        """Whether the machine has no name yet and no other one has this."""
        names = {known for _, known in self.store.machines.names()}
        return not machine.name and "." not in name and name not in names

    def _burn(self, report: FirstReport, medium: KnownMedium, now: float) -> list[Event]:
        """The token is used up, also when its time was over by now: the machine looked at its own clock."""
        if hash_of(report.token) != self.store.media.token_of(medium.id):
            return [
                Event(
                    report.facts.mac, now, "report", "note", message="it came with a token of another medium"
                )
            ]
        again = medium.used_at is not None
        self.store.media.use(medium.id, now=now)
        self.store.tokens.use(report.token, TOKEN, now=now)
        message = f"the token of medium {medium.id} was used already"
        return [Event(report.facts.mac, now, "report", "note", message=message)] if again else []

    def _note(self, mac: str, stage: str, message: str) -> None:
        self.store.events.add(Event(mac, self.clock(), stage, "note", message=message))


def end_images(store: Store, mac: str, why: str, *, now: float) -> None:
    """No image that was made for a machine may install it any more. Inside a change."""
    store.tokens.revoke(mac, TOKEN)
    for one in store.media.revoke(mac, now=now):
        message = f"image {one} may not install it any more: {why}"
        store.events.add(Event(mac, now, "medium", message=message))
