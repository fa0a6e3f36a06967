"""Packages that failed, and those held at an older version."""

STEP: tuple[str, ...] = (
    """CREATE TABLE failure (
            profile TEXT NOT NULL,
            cpv TEXT NOT NULL,
            build_key TEXT NOT NULL,
            kind TEXT NOT NULL,
            evidence TEXT NOT NULL,
            log TEXT NOT NULL,
            tail TEXT NOT NULL,
            count INTEGER NOT NULL,
            first_at REAL NOT NULL,
            last_at REAL NOT NULL,
            PRIMARY KEY (profile, cpv, build_key)
        )""",
    """CREATE TABLE hold (
            profile TEXT NOT NULL,
            cpv TEXT NOT NULL,
            at TEXT NOT NULL,
            since REAL NOT NULL,
            PRIMARY KEY (profile, cpv)
        )""",
)
