"""What a build was foreseen to take."""

STEP: tuple[str, ...] = (
    """CREATE TABLE plan (
            profile TEXT PRIMARY KEY,
            inputs TEXT NOT NULL,
            seconds REAL NOT NULL,
            peak_bytes INTEGER NOT NULL
        )""",
)
