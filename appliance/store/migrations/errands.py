"""What the web page asks the farm to do, since only the farm may."""

STEP = (
    """CREATE TABLE errand (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        profile TEXT NOT NULL,
        channel TEXT NOT NULL DEFAULT '',
        release TEXT NOT NULL DEFAULT '',
        who TEXT NOT NULL,
        why TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL,
        wanted_at REAL NOT NULL,
        begun_at REAL,
        ended_at REAL,
        owner TEXT NOT NULL DEFAULT '',
        said TEXT NOT NULL DEFAULT '',
        result TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX errand_state ON errand (state, id)",
    "CREATE INDEX errand_profile ON errand (profile, kind, id)",
)
