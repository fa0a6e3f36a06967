"""What an installed machine is to have, and when it may begin; how a release reaches all of them. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from appliance.channels import CANARY
from appliance.client_settings import ClientPolicy, Following, policy_to_json
from appliance.statement import Statement

AGAIN_SECONDS = 1800.0
"""A machine that has nothing to do asks again after so long, and a part of it more."""
SOON_SECONDS = 300.0
NAMED = 5


class RolloutState(Enum):
    CANARY = "canary"
    """Some machines try the release; the others wait for them."""
    SPREADING = "spreading"
    """Every machine gets it, each at its own time."""
    STOPPED = "stopped"
    """No machine begins: a person says how it goes on."""


@dataclass(frozen=True)
class Rollout:
    """How far a channel's release is on its way to the machines."""

    profile: str
    channel: str
    release: str
    serial: int
    state: RolloutState
    began_at: float
    """Seconds since the epoch, as all times here."""
    spread_at: float = 0.0
    """When every machine was allowed to; 0: not yet."""
    canaries: tuple[str, ...] = ()
    """MACs of those that go first."""
    why: str = ""
    """Why it is what it is, for a person."""
    who: str = ""
    """Who let it go on; empty: it went by itself."""


@dataclass(frozen=True)
class Standing:
    """What is known of an installed machine that has a client."""

    mac: str
    channel: str
    seen_at: float
    """When it last asked or reported, or got its first certificate."""
    reported_at: float = 0.0
    release: str = ""
    """What it says that it has."""
    target: str = ""
    """What it tried or tries to get."""
    failed: bool = False
    """The update or its health check failed."""
    current: bool = False
    """It says that it has its release whole."""
    updating: bool = False
    """It began an update and did not end it."""
    said: str = ""
    """Why it failed."""

    def fails(self, release: str, since: float) -> bool:
        about = self.target or self.release
        return self.failed and about == release and self.reported_at >= since

    def runs(self, release: str, since: float) -> bool:
        done = self.current and not self.failed and self.release == release
        return done and self.reported_at >= since


@dataclass(frozen=True)
class Order:
    """The answer to the one question of an update."""

    mac: str
    profile: str
    release: str
    channel: str
    serial: int
    go: bool
    why: str
    again_seconds: float
    policy: ClientPolicy = field(default_factory=ClientPolicy)


def begin(
    said: Statement,
    machines: Sequence[Standing],
    following: Following,
    *,
    older: bool,
    silent_seconds: float,
    now: float,
) -> Rollout:
    """How a channel's new release sets out. `machines`: all of its profile; `older`: the channel went back.

    Machines that went back wait for nobody: what they leave is what a person does not want.
    """
    made = Rollout(said.profile, said.channel, said.release, said.serial, RolloutState.SPREADING, now, now)
    if older:
        return replace(made, why="the channel went back")
    first = first_ones(said, machines, following, silent_seconds=silent_seconds, now=now)
    if not first or said.channel == CANARY:
        return replace(made, canaries=first if said.channel == CANARY else ())
    names = f"{len(first)} machine{'s' if len(first) > 1 else ''}"
    why = f"{names} went first"
    return replace(made, state=RolloutState.CANARY, spread_at=0.0, canaries=first, why=why)


def first_ones(
    said: Statement,
    machines: Sequence[Standing],
    following: Following,
    *,
    silent_seconds: float,
    now: float,
) -> tuple[str, ...]:
    """The machines that go first: those on the channel canary, else as many as the profile says.

    One that is switched off tells nothing: only those that were seen lately are taken. Chosen by a hash of
    release and MAC: always the same for one release, and not always the same machines.
    """
    awake = [one for one in machines if now - one.seen_at <= silent_seconds]
    chosen = [one.mac for one in awake if one.channel == CANARY]
    if chosen or said.channel == CANARY:
        return tuple(sorted(chosen))
    followers = [one.mac for one in awake if one.channel == said.channel]
    followers.sort(key=lambda mac: _hash(said.release, mac))
    return tuple(sorted(followers[: following.canaries.of(len(followers))]))


def advance(
    rollout: Rollout, machines: Mapping[str, Standing], following: Following, *, now: float
) -> Rollout:
    """What became of it: canaries that failed or said nothing in time stop it, all well lets it go on.

    `machines`: its canaries at least.
    """
    if rollout.state is RolloutState.STOPPED or (
        rollout.state is RolloutState.SPREADING and (rollout.who or not rollout.canaries)
    ):
        return rollout
    known = [machines[mac] for mac in rollout.canaries if mac in machines]
    failed = [one for one in known if one.fails(rollout.release, rollout.began_at)]
    if failed:
        reasons = "; ".join(f"{one.mac}: {one.said or 'it failed'}" for one in failed[:NAMED])
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        return replace(rollout, state=RolloutState.STOPPED, why=f"{reasons}{more}")
    if rollout.state is RolloutState.SPREADING:
        return rollout
    left = [one.mac for one in known if not one.runs(rollout.release, rollout.began_at)]
    if not left:
        why = f"{len(known)} of {len(rollout.canaries)} that went first are well"
        return replace(rollout, state=RolloutState.SPREADING, spread_at=now, why=why)
    if now - rollout.began_at > following.canaries.report_seconds:
        hours = following.canaries.report_seconds / 3600
        why = f"{', '.join(left[:NAMED])} did not say within {hours:g} h that the release is well"
        return replace(rollout, state=RolloutState.STOPPED, why=why)
    return rollout


def go_on(rollout: Rollout, *, who: str, why: str, now: float) -> Rollout:
    """A person lets every machine have it."""
    return replace(
        rollout, state=RolloutState.SPREADING, spread_at=now, who=who, why=why or "a person said so"
    )


def order(
    machine: Standing,
    said: Statement | None,
    rollout: Rollout | None,
    following: Following,
    *,
    profile: str,
    fault: str,
    now: float,
    minute: int,
) -> Order:
    """What the machine is told. `fault`: why the release is not served; `minute`: of the day, local time."""
    policy, has = following.policy, machine.release
    again = AGAIN_SECONDS * (1 + _share("again", machine.mac) / 2)
    stays = Order(machine.mac, profile, has, machine.channel, 0, False, "", again, policy)
    if said is None:
        return replace(stays, why=f"the channel {machine.channel} of {profile} names no release yet")
    stays = replace(stays, channel=said.channel, serial=said.serial)
    if fault:
        return replace(stays, why=f"release {said.release} does not verify on the server")
    told = replace(stays, release=said.release)
    if has == said.release and machine.target in ("", said.release):
        return replace(told, go=True, why="it has it")
    if rollout is None or (rollout.release, rollout.serial) != (said.release, said.serial):
        soon = min(again, SOON_SECONDS)
        return replace(stays, why="the release was published just now", again_seconds=soon)
    if rollout.state is RolloutState.STOPPED:
        return replace(stays, why=f"the rollout was stopped: {rollout.why}"[:300])
    first = machine.mac in rollout.canaries
    if rollout.state is RolloutState.CANARY and not first:
        soon = min(again, SOON_SECONDS)
        return replace(stays, why="other machines try the release first", again_seconds=soon)
    if machine.updating and machine.target == said.release:
        # Half of an update is worse than a late one.
        return replace(told, go=True, why="it has begun")
    wait, why = _wait(machine.mac, said.release, rollout, policy, first=first, now=now, minute=minute)
    if wait > 0:
        return replace(stays, why=why, again_seconds=min(again, wait))
    return replace(told, go=True, why="it is among the first" if first else "it is its turn")


def _wait(
    mac: str, release: str, rollout: Rollout, policy: ClientPolicy, *, first: bool, now: float, minute: int
) -> tuple[float, str]:
    """Seconds until the machine's turn, and why; 0 when it is."""
    share = _share(release, mac)
    if window := policy.window:
        inside = 60.0 * ((minute - window.start) % 1440)
        length = 60.0 * ((window.end - window.start) % 1440)
        if not window.holds(minute):
            return 60.0 * ((window.start - minute) % 1440) or 60.0, f"it updates from {window}"
        # The whole day's machines would begin at once when the window opens.
        turn = 0.0 if first else share * min(policy.spread_seconds, length / 2)
        if inside < turn:
            return turn - inside, f"its turn comes in {turn - inside:.0f} s"
    turn = 0.0 if first else rollout.spread_at + share * policy.spread_seconds
    return max(turn - now, 0.0), f"its turn comes in {max(turn - now, 0.0):.0f} s"


def order_to_json(one: Order) -> dict[str, Any]:
    return {
        "machine": one.mac,
        "profile": one.profile,
        "release": one.release,
        "channel": one.channel,
        "serial": one.serial,
        "go": one.go,
        "why": one.why,
        "again_seconds": round(one.again_seconds, 1),
        "policy": policy_to_json(one.policy),
    }


def _share(salt: str, mac: str) -> float:
    """From 0 to 1, the same for the same two; evenly spread over machines."""
    return int.from_bytes(_hash(salt, mac)[:4], "big") / 2**32


def _hash(salt: str, mac: str) -> bytes:
    return hashlib.sha256(f"{salt} {mac}".encode()).digest()
