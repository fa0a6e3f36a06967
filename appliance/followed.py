"""Says which strategy a machine is offered first: the site's word, then what was followed before."""

from collections.abc import Callable

from appliance.live import LiveSite
from appliance.net_settings import NetSettings
from appliance.store import Store
from appliance.strategies import Preference, Source, Strategy

LOOK_SECONDS = 2.0
"""To look whether the site changed means to ask for the times of all its files: not for every packet."""


class Followed:
    def __init__(self, live: LiveSite, store: Store, clock: Callable[[], float]) -> None:
        self._live = live
        self._store = store
        self._clock = clock
        self._settings = NetSettings()
        self._looked_at: float | None = None

    def settings(self) -> NetSettings:
        """The site's table [net], at most a few seconds old."""
        now = self._clock()
        if self._looked_at is None or not 0 <= now - self._looked_at < LOOK_SECONDS:
            self._settings = self._live.now().net
            self._looked_at = now
        return self._settings

    def strategy_of(self, mac: str, kind: str) -> Preference | None:
        if fixed := self.settings().strategy_of(mac):
            return Preference(fixed, Source.SITE)
        if own := self._store.recall.strategy(f"{mac} {kind}"):
            return Preference(own, Source.MACHINE)
        alike = self._store.recall.strategy(kind)
        return Preference(alike, Source.KIND) if alike else None

    def strategy_won(self, mac: str, kind: str, strategy: Strategy) -> None:
        # UEFI and BIOS of one machine are two firmwares.
        for subject in (f"{mac} {kind}", kind):
            self._store.strategies.put(subject, strategy, now=self._clock())
