"""Installed machines as a person sees them, and what only the farm may do: sign, and lead rollouts."""

import logging
import ssl
from collections.abc import Callable, Sequence
from hashlib import sha256

from appliance.channels import NAMES, Channels
from appliance.client_keys import DAYS, ClientKeys
from appliance.client_order import Rollout, RolloutState, Standing, advance, begin, go_on
from appliance.client_report import Phase, Report
from appliance.client_view import ClientView, Fact, judge
from appliance.desks.audit import AuditDesk
from appliance.desks.releases import check_channel
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.model import Event, Machine, Tree
from appliance.statement import Statement
from appliance.store import Store
from appliance.store.clients import Client, ClientKey, Told

log = logging.getLogger(__name__)

RENEW_SECONDS = DAYS * 86400 / 3
"""So long before it ends a certificate is followed by the next one."""
HISTORY = 10
LONGEST_WHY = 200


class ClientsDesk:
    def __init__(
        self,
        live: LiveSite,
        tree: Tree,
        store: Store,
        channels: Channels,
        *,
        audit: AuditDesk,
        clock: Callable[[], float],
    ) -> None:
        self.live = live
        self.store = store
        self.channels = channels
        self.audit = audit
        self.clock = clock
        self.keys = ClientKeys.below(tree)

    # what a person sees

    def view(self, machine: Machine) -> ClientView:
        """What a machine should have, and what it says that it has."""
        said = self.channels.of_machine(machine.profile, machine.channel) if machine.profile else None
        published = said.release if said else ""
        key = self.store.clients.key_of(machine.mac)
        standing = self.store.clients.standing(machine.mac)
        seen = standing.seen_at if standing else 0.0
        has_reported = bool(standing and standing.reported_at)
        last = self.store.clients.reports(machine.mac, limit=1) if has_reported else []
        report = last[0].report if last else Report("", Phase.WAITING)
        sealed = self.store.releases.get(report.release) if report.release else None
        verdict = judge(
            has_key=key is not None,
            is_refused=bool(key and key.refused),
            has_reported=has_reported,
            is_silent=standing is not None and self._is_silent(seen),
            failed=report.failed,
            updating=report.phase is Phase.UPDATING,
            is_published=report.release == published,
            drifts=report.drifts,
        )
        return ClientView(
            verdict=verdict,
            machine=machine.mac,
            release=report.release,
            published=published,
            target=report.target,
            phase=report.phase.value if has_reported else "",
            health=report.health.value,
            said=report.said or (key.refused if key else ""),
            packages=report.packages,
            release_packages=sealed.packages if sealed else 0,
            drifts=report.drifts,
            drift=report.drift,
            unread=report.unread,
            locals=report.locals,
            local=report.local,
            reboot=report.reboot,
            reboot_for=report.reboot_for,
            stale=report.stale,
            services=report.services,
            kernel=report.kernel,
            merges=report.merges,
            questions=report.questions,
            facts=tuple(Fact(name, value) for name, value in report.facts),
            steps=report.steps,
            seen_at=seen,
            reported_at=standing.reported_at if standing else 0.0,
            certificate_ends_at=key.ends_at if key else 0.0,
            inventory=report.inventory,
        )

    def reports(self, machine: Machine) -> list[Told]:
        """The newest first."""
        return self.store.clients.reports(machine.mac, limit=HISTORY)

    def silent(self, *, limit: int) -> tuple[list[Client], int]:
        """Those that were not heard of for long, longest first, and how many there are."""
        before = self.clock() - self.live.now().clients.silent_seconds
        return self.store.clients.silent(before=before, limit=limit)

    def failed(self, *, limit: int) -> tuple[list[Client], int]:
        return self.store.clients.failed(limit=limit)

    def rollouts(self, profile: str = "") -> list[Rollout]:
        return self.store.rollouts.all(profile)

    def go_on(self, profile: str, channel: str, *, why: str = "", who: str | None = None) -> Rollout:
        """Let every machine have the release of a rollout that waits or was stopped."""
        why = " ".join(why.split())[:LONGEST_WHY]
        with self.store.database.change():
            found = self.store.rollouts.get(profile, check_channel(channel))
            if found is None:
                raise Problem(f"nothing was published on {profile}/{channel} that machines could get")
            if found.state is RolloutState.SPREADING:
                raise Problem(f"the rollout of {found.release} on {profile}/{channel} goes on already")
            by = who or self.audit.who
            made = go_on(found, who=by, why=why, now=self.clock())
            self.store.rollouts.put(made)
            self.audit.note(who, "rollout go on", f"{profile}/{channel}", f"{found.release} {why}".strip())
        return made

    def _is_silent(self, seen_at: float) -> bool:
        return self.clock() - seen_at > self.live.now().clients.silent_seconds

    # the farm's part

    def sign_next(self) -> ClientKey | None:
        """Sign the key that waits longest, or whose certificate ends soon; None when there is none."""
        now = self.clock()
        waiting = self.store.clients.to_sign(until=now + RENEW_SECONDS)
        if waiting is None:
            return None
        try:
            pem = self.keys.sign(waiting.request, waiting.mac)
        except Problem as problem:
            if not self.keys.authority.exists():
                raise
            self.store.clients.refuse(waiting, problem.message)
            self.store.events.add(Event(waiting.mac, now, "enrol", "failed", message=problem.message))
            return waiting
        fingerprint = sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
        ends_at = now + DAYS * 86400
        self.store.clients.signed(waiting, pem, fingerprint, now=now, ends_at=ends_at)
        return waiting

    def lead(self) -> list[Rollout]:
        """Let every rollout go its next step; those that became another."""
        changed = []
        for name, profile in sorted(self.live.now().profiles.items()):
            for channel in NAMES:
                said = self.channels.get(name, channel)
                before = self.store.rollouts.get(name, channel)
                if said is None:
                    continue
                if before is None or (before.release, before.serial) != (said.release, said.serial):
                    made = self._begun(said, self.store.clients.standings(name), before)
                else:
                    asked = (self.store.clients.standing(mac) for mac in before.canaries)
                    known = {one.mac: one for one in asked if one}
                    made = advance(before, known, profile.client, now=self.clock())
                if made != before:
                    self._keep(made, before)
                    changed.append(made)
        return changed

    def _begun(self, said: Statement, machines: Sequence[Standing], before: Rollout | None) -> Rollout:
        site = self.live.now()
        return begin(
            said,
            machines,
            site.profiles[said.profile].client,
            older=before is not None and self._is_older(said.release, before.release),
            silent_seconds=site.clients.silent_seconds,
            now=self.clock(),
        )

    def _is_older(self, release: str, than: str) -> bool:
        one, other = self.store.releases.get(release), self.store.releases.get(than)
        return bool(one and other and one.created_at < other.created_at)

    def _keep(self, made: Rollout, before: Rollout | None) -> None:
        where = f"{made.profile}/{made.channel}"
        with self.store.database.change():
            # A person may have let it go on meanwhile: what they said counts.
            if self.store.rollouts.get(made.profile, made.channel) != before:
                return
            self.store.rollouts.put(made)
            if made.state is RolloutState.STOPPED:
                self.store.audit.add(
                    self.clock(), "farm", "rollout stop", where, f"{made.release} {made.why}"
                )
        level = logging.ERROR if made.state is RolloutState.STOPPED else logging.INFO
        log.log(level, "rollout of %s on %s: %s, %s", made.release, where, made.state.value, made.why)
