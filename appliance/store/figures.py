"""Counts over the whole store for a monitoring system; each is one statement."""

from appliance.store.database import Database

Counts = dict[tuple[str, ...], float]


class Figures:
    def __init__(self, database: Database) -> None:
        self.database = database

    def jobs(self) -> Counts:
        """(kind, state) -> how many there are."""
        return self._counts("SELECT kind, state, count(*) FROM job GROUP BY kind, state")

    def releases(self) -> Counts:
        """(profile) -> how many are kept."""
        return self._counts("SELECT profile, count(*) FROM release GROUP BY profile")

    def newest_releases(self) -> Counts:
        """(profile) -> when its newest release was sealed, seconds since the epoch."""
        return self._counts("SELECT profile, max(created_at) FROM release GROUP BY profile")

    def failures(self) -> Counts:
        """(profile, kind) -> how many packages do not build."""
        return self._counts("SELECT profile, kind, count(*) FROM failure GROUP BY profile, kind")

    def questions(self) -> Counts:
        """(profile) -> how many questions of plans wait for a person."""
        return self._counts("SELECT profile, count(*) FROM question WHERE closed_at IS NULL GROUP BY profile")

    def synchronised(self) -> Counts:
        """(repository) -> when it was last synchronised without a problem, seconds since the epoch."""
        return self._counts("SELECT name, succeeded_at FROM repository")

    def faults(self) -> float:
        """How many releases do not verify."""
        return self._counts("SELECT count(*) FROM release_fault")[()]

    def size_bytes(self) -> float:
        """Of the store's file."""
        return self._counts("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")[()]

    def _counts(self, statement: str) -> Counts:
        """Each row: labels, then the number."""
        return {tuple(row)[:-1]: float(tuple(row)[-1]) for row in self.database.rows(statement)}
