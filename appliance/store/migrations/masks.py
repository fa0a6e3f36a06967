"""Versions that a person masks in a profile, and builds that a person wants."""

STEP: tuple[str, ...] = (
    """CREATE TABLE mask (
            profile TEXT NOT NULL,
            subject TEXT NOT NULL,
            kind TEXT NOT NULL,
            atoms TEXT NOT NULL,
            stays TEXT NOT NULL,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL,
            PRIMARY KEY (profile, subject)
        )""",
    """CREATE TABLE build_request (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            profile TEXT NOT NULL UNIQUE,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            why TEXT NOT NULL
        )""",
)
