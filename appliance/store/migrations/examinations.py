"""Examinations of the LAN that the web page asks for and the farm makes."""

STEP: tuple[str, ...] = (
    """CREATE TABLE examination (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            state TEXT NOT NULL,
            who TEXT NOT NULL,
            wanted_at REAL NOT NULL,
            begun_at REAL,
            ended_at REAL,
            owner TEXT NOT NULL DEFAULT '',
            tries INTEGER NOT NULL DEFAULT 0,
            said TEXT NOT NULL DEFAULT '',
            passed_seconds REAL NOT NULL DEFAULT 0,
            all_seconds REAL NOT NULL DEFAULT 0,
            found TEXT NOT NULL DEFAULT '[]'
        )""",
    "CREATE INDEX examination_state ON examination (state, id)",
)
