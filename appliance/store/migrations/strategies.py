"""Which strategy machines followed, and kinds of machines."""

STEP: tuple[str, ...] = (
    """CREATE TABLE strategy (
            subject TEXT PRIMARY KEY,
            strategy TEXT NOT NULL,
            at REAL NOT NULL
        )""",
)
