"""What only a person can decide."""

STEP: tuple[str, ...] = (
    """CREATE TABLE question (
            id INTEGER PRIMARY KEY,
            profile TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            text TEXT NOT NULL,
            suggestion TEXT NOT NULL,
            first_at REAL NOT NULL,
            last_at REAL NOT NULL,
            closed_at REAL
        )""",
    "CREATE UNIQUE INDEX question_open ON question (profile, kind, subject) WHERE closed_at IS NULL",
)
