"""Changes of profiles' files that the web page asks for and the farm makes."""

STEP = (
    """CREATE TABLE site_edit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        profile TEXT NOT NULL,
        name TEXT NOT NULL,
        base BLOB,
        content BLOB,
        who TEXT NOT NULL,
        why TEXT NOT NULL,
        state TEXT NOT NULL,
        wanted_at REAL NOT NULL,
        ended_at REAL,
        owner TEXT NOT NULL DEFAULT '',
        tries INTEGER NOT NULL DEFAULT 0,
        said TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX site_edit_state ON site_edit (state, id)",
    "CREATE INDEX site_edit_profile ON site_edit (profile, id)",
)
