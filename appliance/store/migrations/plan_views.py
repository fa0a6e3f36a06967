"""Plans that persons asked for, to be shown until the next."""

STEP: tuple[str, ...] = (
    """CREATE TABLE plan_view (
            profile TEXT PRIMARY KEY,
            inputs TEXT NOT NULL,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            seconds REAL NOT NULL,
            document BLOB NOT NULL
        )""",
)
