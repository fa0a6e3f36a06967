"""History: seconds, processor seconds and peak memory of every package that was built."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.store.database import Database

LATEST = 5
"""So many of the newest figures count; the middle one is expected, so that one odd build does not."""
DEFAULT_SECONDS = 60.0
DEFAULT_BYTES = 512 << 20
KEPT = 50
"""Figures of one name and flag class that are kept."""


@dataclass(frozen=True)
class Effort:
    """What one package cost, or will probably cost."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    known_by: str = ""
    """key, name and flags, name, size or nothing: how an estimate was come by."""


DEFAULT = Effort(DEFAULT_SECONDS, DEFAULT_SECONDS, DEFAULT_BYTES, "nothing")


@dataclass(frozen=True)
class Subject:
    """A package as far as it matters for how long it takes."""

    name: str
    """category/name."""
    build_key: str = ""
    flags: str = ""
    """The flag class: a text that is the same for profiles with the same compiler settings."""
    source_bytes: int = 0
    """Size of its distfiles; 0: not known."""


class History:
    def __init__(self, database: Database) -> None:
        self.database = database

    def record(self, subject: Subject, effort: Effort, *, at: float) -> None:
        with self.database.change():
            self.database.execute(
                "INSERT INTO effort"
                " (build_key, name, flags, seconds, cpu_seconds, peak_bytes, source_bytes, at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    subject.build_key,
                    subject.name,
                    subject.flags,
                    effort.seconds,
                    effort.cpu_seconds,
                    effort.peak_bytes,
                    subject.source_bytes,
                    at,
                ),
            )
            self.database.execute(
                "DELETE FROM effort WHERE name = ? AND flags = ? AND id NOT IN"
                " (SELECT id FROM effort WHERE name = ? AND flags = ? ORDER BY id DESC LIMIT ?)",
                (subject.name, subject.flags, subject.name, subject.flags, KEPT),
            )

    def seconds_of(self, name: str, *, before: float, limit: int) -> list[float]:
        """What the last builds of a `category/name` took that ended before then, the newest first."""
        rows = self.database.rows(
            "SELECT seconds FROM effort WHERE name = ? AND at < ? ORDER BY id DESC LIMIT ?",
            (name, before, limit),
        )
        return [row["seconds"] for row in rows]

    def estimate(self, subject: Subject) -> Effort:
        """From the same key; else other versions under the same flags; else under any; else from sources of
        a similar size (at most twice or half as large); else a guess."""
        name, flags, size = subject.name, subject.flags, subject.source_bytes
        near = "source_bytes BETWEEN ? AND ? AND source_bytes > 0"
        return (
            self._middle("key", "build_key = ? AND build_key != ''", (subject.build_key,))
            or self._middle("name and flags", "name = ? AND flags = ?", (name, flags))
            or self._middle("name", "name = ?", (name,))
            or self._middle("size", near, (size // 2 if size else -1, size * 2))
            or DEFAULT
        )

    def _middle(self, known_by: str, where: str, values: Sequence[object]) -> Effort | None:
        rows = self.database.rows(
            f"SELECT seconds, cpu_seconds, peak_bytes FROM effort WHERE {where} ORDER BY id DESC LIMIT ?",
            (*values, LATEST),
        )
        if not rows:
            return None
        return Effort(
            statistics.median(row["seconds"] for row in rows),
            statistics.median(row["cpu_seconds"] for row in rows),
            # Too little memory ends a build, too much only makes it wait: the largest counts.
            max(row["peak_bytes"] for row in rows),
            known_by,
        )
