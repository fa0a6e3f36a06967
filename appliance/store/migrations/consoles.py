"""Serial consoles that somebody watches on the web page, and the last that each of them said."""

STEP: tuple[str, ...] = (
    """CREATE TABLE console_watch (
        mac TEXT PRIMARY KEY,
        until REAL NOT NULL,
        who TEXT NOT NULL,
        state TEXT NOT NULL,
        said TEXT NOT NULL DEFAULT '',
        size_bytes INTEGER NOT NULL DEFAULT 0,
        tail BLOB NOT NULL DEFAULT x''
    )""",
)
