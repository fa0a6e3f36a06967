"""Snapshots of repositories, and how each last synchronisation went."""

STEP: tuple[str, ...] = (
    """CREATE TABLE repository (
            name TEXT PRIMARY KEY,
            source TEXT NOT NULL DEFAULT '',
            revision TEXT NOT NULL DEFAULT '',
            image TEXT NOT NULL DEFAULT '',
            validator TEXT NOT NULL DEFAULT '',
            tried_at REAL NOT NULL DEFAULT 0,
            succeeded_at REAL NOT NULL DEFAULT 0,
            changed_at REAL NOT NULL DEFAULT 0,
            problem TEXT NOT NULL DEFAULT ''
        )""",
)
