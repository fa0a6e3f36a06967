"""What changed since one looked last: for pages that follow without asking for everything again."""

from collections.abc import Mapping

from appliance.store import Store
from appliance.store.topics import Stamp


class ChangesDesk:
    """Looking costs microseconds while nothing changes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.stamp: tuple[int, int] | None = None
        self._seen: Mapping[str, Stamp] = {}

    def look(self) -> frozenset[str]:
        """Topics with changes by anybody since the last look; all of them at the first."""
        stamp = self.store.database.stamp()
        if stamp == self.stamp:
            return frozenset()
        before, self._seen, self.stamp = self._seen, self.store.topics.stamps(), stamp
        return frozenset(topic for topic, value in self._seen.items() if before.get(topic) != value)
