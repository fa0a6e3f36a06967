"""Match rules tried before anything comes of them: on facts of a file, on all machines with other rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.candidate import site_with
from appliance.edit_model import Change
from appliance.facts import parse_facts
from appliance.live import LiveSite
from appliance.match import Choice, Foreseen, NoChoice, Verdict, choose, judge, turns
from appliance.model import Facts
from appliance.profile_model import Profile
from appliance.site import WrongSite, read_site
from appliance.store import Store


@dataclass(frozen=True)
class Trial:
    """What the site's rules say to facts that somebody gave."""

    facts: Facts
    choice: Choice | NoChoice
    verdicts: tuple[Verdict, ...]


class MatchDesk:
    def __init__(self, live: LiveSite, store: Store) -> None:
        self._live = live
        self._store = store

    def try_text(self, text: str) -> Trial:
        """On facts as an installer sends them; nothing is changed. Raises Problem when they are none."""
        facts, profiles = parse_facts(text), self._live.now().profiles
        return Trial(facts, choose(facts, profiles), tuple(judge(facts, profiles)))

    def foresee(self, change: Change) -> Foreseen | None:
        """With a change of a profile's file; None while the site has mistakes with it or without it."""
        try:
            after = site_with(self._live.path, change).profiles
        except WrongSite:
            return None
        return self._foresee(after)

    def foresee_site(self, site: Path) -> Foreseen:
        """With the rules of another site directory. Raises Problem when it has mistakes."""
        return self._foresee(read_site(site).profiles)

    def _foresee(self, after: Mapping[str, Profile]) -> Foreseen:
        before = self._live.now().profiles
        known = {one.mac: one for one in self._store.machines.all() if one.facts}
        # The facts' own MAC may be that of another card of the machine.
        found = {
            mac: turn for mac, one in known.items() if one.facts for turn in turns([one.facts], before, after)
        }
        return Foreseen(len(known), tuple((known[mac], turn) for mac, turn in sorted(found.items())))
