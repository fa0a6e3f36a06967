"""Releases and their channels: publish, promote, roll back, pin, and never move to a bad one."""

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from appliance.channels import CANARY, NAMES, STABLE
from appliance.client_order import RolloutState
from appliance.desks.catalogue import Catalogue
from appliance.errors import Problem
from appliance.farm_model import Move, Origin, Pin, Release
from appliance.model import MachineState
from appliance.store.machines import Search
from appliance.store.releases import DONE
from buildfarm.collect import Collector, Fate, Keep

log = logging.getLogger(__name__)

NAMED = 10
"""So many machines that failed are named in the log."""


@dataclass(frozen=True)
class Publication:
    """What publishing a release did."""

    release: Release
    moved: tuple[str, ...]
    """Channels that name it now and named another one before."""
    held: tuple[str, ...] = ()
    """Sentences: why a channel stayed where it was."""


class ReleaseDesk(Catalogue):
    """All that moves a channel verifies the release first: signature, manifest, every byte."""

    def publish(
        self, release: Release, *, origins: Iterable[Origin] = (), who: str = "farm", why: str = "built"
    ) -> Publication:
        """Remember a sealed release and move the channels that new ones of its profile go to.

        A pinned channel stays, and so does one that was rolled back from this release or a newer one.
        """
        origins = [self._known_origin(one) for one in origins]
        moved, held = [], []
        with self.pool.in_use(), self.channels.lock():
            self._must_be_sound(release.id)
            self.store.releases.add(release, origins)
            for channel in self._targets(release.profile):
                said = self.channels.get(release.profile, channel)
                if said and said.release == release.id:
                    continue
                if reason := self._holds(release, channel):
                    held.append(reason)
                    continue
                self.mover.move(release.profile, channel, release.id, kind="publish", who=who, why=why)
                moved.append(channel)
        for reason in held:
            log.warning("%s", reason)
        return Publication(release, tuple(moved), tuple(held))

    def promote(self, profile: str, release: str | None = None, *, who: str, why: str = "") -> Publication:
        """Move stable to what canary names, or to a release of the profile."""
        if release is None:
            said = self.channels.get(profile, CANARY)
            if said is None:
                raise Problem(
                    f"profile {profile} has no canary release",
                    hint=f"name one: distserver release promote {profile} ID",
                )
            release = said.release
        return self._move(self._of(profile, release), STABLE, kind="promote", who=who, why=why)

    def promote_due(self) -> list[Publication]:
        """Promote what was long enough on canary, unless a machine failed with it or a person went back."""
        done = []
        for profile in self.live.now().profiles.values():
            canary = self.channels.get(profile.name, CANARY)
            release = self.store.releases.get(canary.release) if canary else None
            if profile.channel != CANARY or profile.promote_after_seconds is None or release is None:
                continue
            stable = self.channels.get(profile.name, STABLE)
            if (stable and stable.release == release.id) or self._holds(release, STABLE):
                continue
            moves = self.store.releases.moves(profile.name, CANARY)
            since = next((one.at for one in moves if one.state == DONE), self.clock())
            search = Search(state=MachineState.FAILED.value, release=release.id)
            failed = [one.mac for one in self.store.machines.find(search, limit=NAMED)]
            rollout = self.store.rollouts.get(profile.name, CANARY)
            if failed:
                log.warning("release %s stays on canary: %s failed", release.id, ", ".join(failed))
            elif rollout and rollout.release == release.id and rollout.state is RolloutState.STOPPED:
                log.warning("release %s stays on canary: %s", release.id, rollout.why)
            elif self.clock() - since >= profile.promote_after_seconds:
                why = f"{profile.promote_after_seconds / 3600:g} h on canary"
                done.append(self._move(release, STABLE, kind="promote", who="farm", why=why))
        return done

    def rollback(
        self, profile: str, to: str | None = None, *, channel: str = STABLE, who: str, why: str = ""
    ) -> Publication:
        """Move a channel to the release it named before, or to any one of the profile that is still whole."""
        said = self.channels.get(profile, check_channel(channel))
        if said is None:
            raise Problem(f"channel {profile}/{channel} names no release", hint="`distserver release list`")
        target = self._of(profile, to) if to else self._before(said.release, profile, channel)
        if target.id == said.release:
            raise Problem(f"channel {profile}/{channel} names {target.id} already")
        return self._move(target, channel, kind="rollback", who=who, why=why)

    def pin(self, profile: str, release: str, *, channel: str = STABLE, who: str, why: str = "") -> Pin:
        """Move a channel to a release and leave it there, whatever is published."""
        known = self._of(profile, release)
        with self.pool.in_use(), self.channels.lock():
            said = self.channels.get(profile, check_channel(channel))
            self._must_be_sound(release)
            if said is None or said.release != release:
                self.mover.move(profile, channel, known.id, kind="pin", who=who, why=why)
            pin = Pin(profile, channel, release, self.clock(), who, why)
            with self.store.database.change():
                self.store.releases.pin(pin)
                detail = f"{release} {why}".rstrip()
                self.store.audit.add(pin.at, who, "release hold", f"{profile}/{channel}", detail)
        return pin

    def unpin(self, profile: str, *, channel: str = STABLE, who: str) -> Pin:
        """Let a channel move again; it moves with the next publication."""
        with self.channels.lock():
            pin = self.store.releases.pinned(profile, check_channel(channel))
            if pin is None:
                raise Problem(f"channel {profile}/{channel} is not pinned")
            with self.store.database.change():
                self.store.releases.unpin(profile, channel)
                self.store.audit.add(self.clock(), who, "release unpin", f"{profile}/{channel}", pin.release)
        return pin

    def _move(self, release: Release, channel: str, *, kind: str, who: str, why: str) -> Publication:
        profile = release.profile
        with self.pool.in_use(), self.channels.lock():
            if pin := self.store.releases.pinned(profile, channel):
                raise Problem(
                    f"channel {profile}/{channel} is pinned to {pin.release}: {pin.why or 'no reason given'}",
                    hint=f"distserver release unpin {profile} --channel {channel}",
                )
            self._must_be_sound(release.id)
            self.mover.move(profile, channel, release.id, kind=kind, who=who, why=why)
        return Publication(release, (channel,))

    def _targets(self, profile: str) -> list[str]:
        """Where a new release goes; canary never stays behind stable."""
        known = self.live.now().profiles.get(profile)
        if known and known.channel == CANARY:
            return [CANARY]
        return [STABLE, CANARY] if self.channels.get(profile, CANARY) else [STABLE]

    def _holds(self, release: Release, channel: str) -> str:
        """Why a channel must not move to a release without a person's word; empty when it may."""
        where = f"channel {release.profile}/{channel}"
        if pin := self.store.releases.pinned(release.profile, channel):
            return f"{where} is pinned to {pin.release} and does not move to {release.id}"
        last = self._last_move(release.profile, channel)
        if last and last.kind == "rollback" and last.release_before:
            left = self.store.releases.get(last.release_before)
            if release.id == last.release_before or (left and release.created_at <= left.created_at):
                return f"{where} was rolled back by {last.who} and does not move to {release.id} by itself"
        return ""

    def _last_move(self, profile: str, channel: str) -> Move | None:
        kinds = ("restore", "found")
        moves = self.store.releases.moves(profile, channel)
        return next((one for one in moves if one.state == DONE and one.kind not in kinds), None)

    def _before(self, release: str, profile: str, channel: str) -> Release:
        """The newest release older than this one that the channel ever named and that verified last time."""
        current = self.store.releases.get(release)
        moves = self.store.releases.moves(profile, channel)
        named = {one.release for one in moves if one.state == DONE}
        for one in self.store.releases.all(profile):
            older = current is None or (one.created_at, one.id) < (current.created_at, current.id)
            if one.id in named and one.id != release and older and not self.store.releases.fault(one.id):
                return one
        raise Problem(
            f"channel {profile}/{channel} named no release before {release}",
            hint="`distserver release list` shows what there is; --to ID takes any of them",
        )

    def _of(self, profile: str, release: str) -> Release:
        found = self.release(release)
        if found.profile != profile:
            raise Problem(f"release {release} is of profile {found.profile}, not of {profile}")
        return found

    def _must_be_sound(self, release: str) -> None:
        """Every byte, each time: between sealing and now lie a disk and perhaps a person."""
        reason = "; ".join(self.inspector(deep=True).reasons(self.place(release)))
        self.store.releases.set_fault(release, reason, now=self.clock())
        if reason:
            raise Problem(
                f"release {release} does not verify: {reason}",
                hint="no channel was moved; build the profile again or go to another release",
            )

    def _known_origin(self, one: Origin) -> Origin:
        """A reused package's profile is the one whose release it was built for."""
        if one.origin == "reused" and not one.profile:
            return replace(one, profile=self.store.releases.builder(one.sha256))
        return one

    def collect(self, *, dry_run: bool) -> list[Fate]:
        """Remove what nothing names; everything with the reasons why it stays."""
        site = self.live.now()
        keep = Keep(site.keep_releases, site.keep_seconds)
        fates = Collector(self.tree, self.store, self.channels, keep, self.clock).collect(dry_run=dry_run)
        gone = Counter(fate.kind for fate in fates if fate.goes)
        if gone and not dry_run:
            said = ", ".join(f"{count} {kind}" for kind, count in sorted(gone.items()))
            self.store.audit.add(self.clock(), None, "gc", "state", said)
        return fates

    def start(self, *, deep: bool) -> list[str]:
        """What every start does: verify, then make history and files agree. Sentences on what was wrong."""
        found = self.verify(deep=deep)
        with self.pool.in_use(), self.channels.lock():
            for profile, channel in self._known_channels():
                self.mover.heal(profile, channel)
                lost = self.mover.lost(profile, channel)
                if lost and self.store.releases.get(lost.release):
                    found += self._restore(lost)
        for sentence in found:
            log.error("%s", sentence)
        return found

    def _known_channels(self) -> list[tuple[str, str]]:
        moved = {(one.profile, one.channel) for one in self.store.releases.moves()}
        return sorted(moved | set(self.channels.names()))

    def _restore(self, lost: Move) -> list[str]:
        where = f"channel {lost.profile}/{lost.channel}"
        why = "its file was gone, or not signed with the key of this server"
        try:
            self._must_be_sound(lost.release)
        except Problem as problem:
            return [f"{where} names nothing, {why}, and cannot be restored: {problem}"]
        self.mover.move(lost.profile, lost.channel, lost.release, kind="restore", who="start-up", why=why)
        return [f"{where} names {lost.release} again: {why}"]


def check_channel(channel: str) -> str:
    """Raises Problem for a name that is no channel's."""
    if channel not in NAMES:
        raise Problem(f"there is no channel {channel}, expected {' or '.join(NAMES)}")
    return channel
