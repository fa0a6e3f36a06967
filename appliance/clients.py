"""What installed machines ask and report: the use cases behind their door."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from appliance.channels import Channels
from appliance.client_order import AGAIN_SECONDS, Order, Standing, order, order_to_json
from appliance.client_report import (
    Phase,
    Report,
    number_of,
    read_object,
    read_report,
    seconds_of,
    text_of,
    with_lists,
)
from appliance.client_settings import Following
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.model import Event, Machine, MachineState
from appliance.signing_request import read_request
from appliance.store import Store

log = logging.getLogger(__name__)

UPDATE = "update"
"""A whole update in the timeline; the machine tells its steps, `update emerge` and others."""
STATUSES = ("begin", "done", "failed", "note")
Reported = Callable[[str, str, str], str | None]
"""(nonce of a first report, proof, text) -> the machine that reported, when the text is proven to be its."""
LONGEST_EVENT = 16 * 1024
LONGEST_MESSAGE = 2000
SEEN_SECONDS = 60.0
"""More often than that it is not written down that a machine asked."""


class ClientDesk:
    """Answers from the store and the site; a machine is named by its MAC."""

    def __init__(self, live: LiveSite, store: Store, channels: Channels, clock: Callable[[], float]) -> None:
        self.live = live
        self.store = store
        self.channels = channels
        self.clock = clock

    def enroll(self, body: str, reported: Reported) -> str:
        """Take the key of a machine: `report SECRET`, while it is being installed, then its signing request.

        A restarted installer comes with another key, which replaces the one before. A machine that was
        installed from a medium comes afterwards, with `medium NONCE PROOF`. Raises Problem.
        """
        first, _, rest = body.partition("\n")
        words = first.split()
        if [words[:1], len(words)] not in ([["report"], 2], [["medium"], 3]):
            raise Problem(f"line 1 is {first[:80]!r}, expected `report <secret>` or `medium <nonce> <proof>`")
        request = read_request(rest)
        with self.store.database.change():
            machine = self._enrolling(words, rest, request.key, reported)
            if machine is None:
                return "stop this installation was ended on the server, or the machine has a key already"
            other = self.store.clients.with_key(request.key)
            if other and other.mac != machine.mac:
                raise Problem("another machine has this key", hint="make a new one on each machine")
            if other is None:
                self.store.clients.enrol(machine.mac, request.key, request.pem, now=self.clock())
                self._record(machine.mac, "enrol", message=f"key {request.key[:16]}")
        return f"key {request.key}"

    def _enrolling(self, words: list[str], text: str, key: str, reported: Reported) -> Machine | None:
        """Who may enrol with these words."""
        if words[0] == "report":
            mac = self.store.tokens.owner(words[1], "report", now=self.clock())
            machine = self.store.machines.get(mac) if mac else None
            return machine if machine and machine.state is MachineState.INSTALLING else None
        mac = reported(words[1], words[2], text)
        machine = self.store.machines.get(mac) if mac else None
        known = self.store.clients.key_of(mac) if mac else None
        is_free = known is None or known.key == key
        return machine if machine and machine.state is MachineState.INSTALLED and is_free else None

    def certificate(self, key: str) -> str | None:
        """The newest certificate of a public key: PEM, empty while it is not signed; None: no such key.

        Raises Problem for a request that was refused.
        """
        known = self.store.clients.with_key(key)
        if known and known.refused:
            raise Problem(known.refused)
        return known.certificate if known else None

    def machine_of(self, fingerprint: str) -> str:
        """The MAC of the machine that has a certificate now. Raises Problem for all others."""
        mac = self.store.clients.owner(fingerprint)
        machine = self.store.machines.get(mac) if mac else None
        if machine is None:
            raise Problem(
                "no machine has this certificate",
                hint="a machine that was retired or installed anew comes with the key of that installation",
            )
        return machine.mac

    def order(self, mac: str) -> Mapping[str, Any]:
        """What a machine is to have now, and how many answers about its configuration files wait for it."""
        return {**order_to_json(self._ordered(mac)), "merges": len(self.store.merges.news_for(mac))}

    def _ordered(self, mac: str) -> Order:
        now = self.clock()
        machine, standing = self._known(mac), self._seen(mac)
        profile = self.live.now().profiles.get(machine.profile or "")
        if profile is None:
            # Whatever became of the site, a machine that is installed stays as it is.
            name = machine.profile or ""
            why = f"the site has no profile {name}"
            return Order(mac, name, standing.release, machine.channel, 0, False, why, AGAIN_SECONDS)
        return self._order(standing, profile.name, machine.channel, profile.client, now)

    def report(self, mac: str, body: bytes) -> bool:
        """Keep what a machine says of itself; False: it has to come again, with its lists.

        Raises Problem when it makes no sense.
        """
        came = read_report(body)
        with self.store.database.change():
            last = self.store.clients.reports(mac, limit=1)
            report = with_lists(came, last[0].report if last else None)
            if report is None:
                return False
            before = self.store.clients.standing(mac)
            self.store.clients.add(mac, report, now=self.clock())
            self._note(self._known(mac), before, report)
        return True

    def event(self, mac: str, body: bytes) -> None:
        """A step of a machine's timeline: {"stage", "status", "message", "seconds", "bytes"}."""
        said = read_object(body, LONGEST_EVENT)
        stage, status = text_of(said, "stage", 40), said.get("status", "done")
        if not stage or status not in STATUSES:
            raise Problem(f"an event needs a stage, and as status one of {', '.join(STATUSES)}")
        seconds = seconds_of(said, "seconds") if "seconds" in said else None
        size = number_of(said, "bytes") if "bytes" in said else None
        self._record(
            mac,
            stage,
            status,
            seconds=seconds,
            size_bytes=size,
            message=text_of(said, "message", LONGEST_MESSAGE),
        )

    def _order(
        self, standing: Standing, profile: str, channel: str, following: Following, now: float
    ) -> Order:
        said = self.channels.of_machine(profile, channel)
        local = time.localtime(now)
        return order(
            standing,
            said,
            self.store.rollouts.get(profile, said.channel) if said else None,
            following,
            profile=profile,
            fault=self.store.recall.fault(said.release) if said else "",
            now=now,
            minute=local.tm_hour * 60 + local.tm_min,
        )

    def _seen(self, mac: str) -> Standing:
        """What is known of a machine that asks now; it is written down at times."""
        now, known = self.clock(), self.store.clients.standing(mac)
        if known is None or now - known.seen_at > SEEN_SECONDS:
            self.store.clients.saw(mac, now=now)
        machine = self._known(mac)
        if known is None or not known.release:
            return Standing(mac, machine.channel, now, release=machine.release or "")
        return known

    def _note(self, machine: Machine, before: Standing | None, report: Report) -> None:
        """What of a report belongs into the timeline, and into what is known of the machine."""
        mac = machine.mac
        was_updating = before is not None and before.updating
        if report.phase is Phase.UPDATING and not (
            was_updating and before and before.target == report.target
        ):
            self._record(mac, UPDATE, "begin", message=f"{report.release or 'no release'} -> {report.target}")
        sealed = self.store.releases.get(report.release) if report.release else None
        if (
            report.phase is Phase.CURRENT
            and sealed
            and sealed.profile == machine.profile
            and machine.release != sealed.id
        ):
            self.store.machines.set_release(mac, sealed.id)
            was = machine.release or "no release"
            self._record(mac, UPDATE, message=f"{was} -> {sealed.id}")
        elif was_updating and report.phase in (Phase.CURRENT, Phase.WAITING):
            self._record(mac, UPDATE, message=f"it has {report.release or 'no release'}")
        is_new = before is None or not before.failed or before.target != report.target
        if report.failed and is_new:
            about = report.target or report.release or "its release"
            why = report.said or "it failed"
            self._record(mac, UPDATE, "failed", message=f"{about}: {why}")

    def _record(
        self,
        mac: str,
        stage: str,
        status: str = "done",
        *,
        seconds: float | None = None,
        size_bytes: int | None = None,
        message: str = "",
    ) -> None:
        self.store.events.add(Event(mac, self.clock(), stage, status, seconds, size_bytes, message))

    def _known(self, mac: str) -> Machine:
        machine = self.store.machines.get(mac)
        if machine is None:
            raise Problem(f"there is no machine {mac}")
        return machine
