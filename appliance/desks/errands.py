"""What the web page asks for and only the farm can do: who may sign and write channels."""

from collections.abc import Callable, Collection, Mapping

from appliance.channels import STABLE
from appliance.desks.mishaps import sentence_of
from appliance.desks.releases import ReleaseDesk, check_channel
from appliance.desks.switching import SWITCHES
from appliance.errors import Problem
from appliance.store.errands import Errand, ErrandKind, ErrandState

MOVES = frozenset({ErrandKind.PROMOTE, ErrandKind.ROLLBACK, ErrandKind.PIN, ErrandKind.UNPIN})
PLANS = frozenset({ErrandKind.PLAN})
LONG = frozenset(ErrandKind) - MOVES - SWITCHES - PLANS
"""Those that may take minutes; nobody who rolls back waits for them."""
LANES = {"moves": MOVES, "long": LONG, "switches": SWITCHES, "plans": PLANS}
SHOWN = 8
LONGEST_WHY = 200
GONE = "the process that did it ended; look at the channels and ask again"


class ErrandDesk:
    def __init__(
        self,
        releases: ReleaseDesk,
        clock: Callable[[], float],
        others: Mapping[ErrandKind, Callable[[Errand], str]] | None = None,
    ) -> None:
        """`others`: who does the kinds that are not about releases; what they return is what came of it."""
        self.others = others or {}
        self.releases = releases
        self.store = releases.store
        self.clock = clock

    # the web page's side: it may only read files and write the store

    def want(
        self,
        kind: ErrandKind,
        profile: str,
        *,
        channel: str = STABLE,
        release: str = "",
        who: str,
        why: str = "",
    ) -> Errand:
        """Let the farm do it. Raises Problem for what is known to be wrong before anything is done."""
        why = " ".join(why.split())[:LONGEST_WHY]
        self._must_make_sense(kind, profile, channel, release)
        with self.store.database.change():
            number = self.store.errands.want(
                kind, profile, channel=channel, release=release, who=who, why=why, now=self.clock()
            )
            subject = f"{profile}/{channel}" if kind in MOVES else release
            detail = f"{release} {why}".strip() if kind in MOVES else why
            self.store.audit.add(self.clock(), who, f"release want {kind.value}", subject, detail)
        found = self.store.errands.get(number)
        assert found
        return found

    def knows(self, profile: str) -> bool:
        """Whether the site has this profile, or had it when a release was made of it."""
        return profile in self.releases.live.now().profiles or bool(self.releases.count(profile))

    def last(self, profile: str) -> list[Errand]:
        """The newest first."""
        return self.store.errands.last(profile, limit=SHOWN)

    def _must_make_sense(self, kind: ErrandKind, profile: str, channel: str, release: str) -> None:
        check_channel(channel)
        if not release and kind in (ErrandKind.PIN, ErrandKind.VERIFY):
            raise Problem(f"nobody said which release to {kind.value}")
        if release:
            known = self.releases.release(release)
            if known.profile != profile:
                raise Problem(f"release {release} is of profile {known.profile}, not of {profile}")
        elif not self.knows(profile):
            raise Problem(f"there is no profile {profile}, and no release of it")
        pin = self.store.releases.pinned(profile, channel)
        if kind is ErrandKind.UNPIN and pin is None:
            raise Problem(f"channel {profile}/{channel} is not pinned")
        if kind in (ErrandKind.PROMOTE, ErrandKind.ROLLBACK) and pin:
            raise Problem(
                f"channel {profile}/{channel} is pinned to {pin.release}: {pin.why or 'no reason given'}",
                hint="unpin it first",
            )

    # the farm's side

    def recover(self) -> None:
        """What a killed process was doing is not done again: a person looks first."""
        self.store.errands.interrupt(GONE, now=self.clock())

    def waits(self, kinds: Collection[ErrandKind]) -> bool:
        return self.store.errands.waits(kinds)

    def do_next(self, kinds: Collection[ErrandKind]) -> Errand | None:
        """Do what was asked for first; None when nothing waits. Whatever goes wrong is said by its row."""
        errand = self.store.errands.begin(kinds, now=self.clock())
        if errand is None:
            return None
        try:
            said, state = self._do(errand), ErrandState.DONE
        except Exception as failed:
            doing = f"errand {errand.id}, {errand.kind.value} of {errand.profile or errand.machine}"
            said, state = sentence_of(failed, doing), ErrandState.FAILED
        self.store.errands.end(errand.id, state, said, now=self.clock())
        return self.store.errands.get(errand.id)

    def _do(self, errand: Errand) -> str:
        desk, profile, channel = self.releases, errand.profile, errand.channel
        who, why, release = errand.who, errand.why, errand.release
        match errand.kind:
            case ErrandKind.PROMOTE:
                named = desk.promote(profile, release or None, who=who, why=why).release.id
                return f"channel {profile}/{STABLE} names {named}"
            case ErrandKind.ROLLBACK:
                named = desk.rollback(profile, release or None, channel=channel, who=who, why=why).release.id
                return f"channel {profile}/{channel} names {named}"
            case ErrandKind.PIN:
                desk.pin(profile, release, channel=channel, who=who, why=why)
                return f"channel {profile}/{channel} stays at {release}, whatever is published"
            case ErrandKind.UNPIN:
                desk.unpin(profile, channel=channel, who=who)
                return f"channel {profile}/{channel} moves with the next publication"
            case ErrandKind.VERIFY:
                found = desk.verify(release, deep=True)
                if found:
                    raise Problem("; ".join(found))
                return f"every signature, file and package of {release} is what it should be"
            case _:
                return self.others[errand.kind](errand)
