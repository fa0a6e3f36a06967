"""Keys of encrypted containers: sealed, each with who may ask for it and when it was given out."""

STEP: tuple[str, ...] = (
    # `enrolled` is the key of the machine that handed it over: another enrolment gets nothing.
    """CREATE TABLE disk_key (
            uuid TEXT PRIMARY KEY,
            mac TEXT NOT NULL REFERENCES machine (mac) ON DELETE CASCADE,
            name TEXT NOT NULL,
            enrolled TEXT NOT NULL,
            ask TEXT NOT NULL,
            sealed TEXT NOT NULL,
            recovery TEXT NOT NULL,
            made_at REAL NOT NULL,
            released_at REAL NOT NULL DEFAULT 0,
            releases INTEGER NOT NULL DEFAULT 0,
            shown_at REAL NOT NULL DEFAULT 0,
            revoked INTEGER NOT NULL DEFAULT 0
        )""",
    "CREATE INDEX disk_key_mac ON disk_key (mac)",
)
