"""Releases with their packages; how channels moved and what is pinned."""

STEP: tuple[str, ...] = (
    """CREATE TABLE channel_move (
            profile TEXT NOT NULL,
            channel TEXT NOT NULL,
            serial INTEGER NOT NULL,
            release_before TEXT,
            release TEXT NOT NULL,
            kind TEXT NOT NULL,
            state TEXT NOT NULL,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL,
            PRIMARY KEY (profile, channel, serial)
        )""",
    # The truth was here; it is a file now, which is made from this at the next start.
    """INSERT INTO channel_move (profile, channel, serial, release, kind, state, at, who, why)
        SELECT profile, name, 1, release, 'publish', 'done', moved_at, 'farm', 'before channels were files'
        FROM channel""",
    "DROP TABLE channel",
    """CREATE TABLE pin (
            profile TEXT NOT NULL,
            channel TEXT NOT NULL,
            release TEXT NOT NULL,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL,
            PRIMARY KEY (profile, channel)
        )""",
    """CREATE TABLE release_package (
            release TEXT NOT NULL REFERENCES release (id) ON DELETE CASCADE,
            sha256 TEXT NOT NULL,
            cpv TEXT NOT NULL,
            origin TEXT NOT NULL,
            profile TEXT NOT NULL,
            PRIMARY KEY (release, sha256)
        )""",
    "CREATE INDEX release_package_sha256 ON release_package (sha256)",
    """CREATE TABLE release_fault (
            release TEXT PRIMARY KEY,
            at REAL NOT NULL,
            reason TEXT NOT NULL
        )""",
    "ALTER TABLE machine ADD COLUMN channel TEXT NOT NULL DEFAULT 'stable'",
)
