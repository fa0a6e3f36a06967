"""What each build did with each package."""

STEP: tuple[str, ...] = (
    """CREATE TABLE job_package (
            job INTEGER NOT NULL,
            cpv TEXT NOT NULL,
            reused INTEGER NOT NULL,
            state TEXT NOT NULL,
            begun_at REAL NOT NULL,
            seconds REAL,
            sha256 TEXT NOT NULL DEFAULT '',
            said TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (job, cpv)
        ) WITHOUT ROWID""",
)
