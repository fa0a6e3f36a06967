"""What waits to be built, and how long packages took."""

STEP: tuple[str, ...] = (
    "ALTER TABLE job ADD COLUMN wanted_at REAL NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN security INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN expected_seconds REAL NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN expected_bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN work TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN failure TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE job ADD COLUMN superseded_at REAL",
    "ALTER TABLE job ADD COLUMN successor INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN not_before REAL NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN max_jobs INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN peak_bytes INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX job_profile ON job (kind, profile, id)",
    "CREATE INDEX job_state ON job (state)",
    """CREATE TABLE effort (
            id INTEGER PRIMARY KEY,
            build_key TEXT NOT NULL,
            name TEXT NOT NULL,
            flags TEXT NOT NULL,
            seconds REAL NOT NULL,
            cpu_seconds REAL NOT NULL,
            peak_bytes INTEGER NOT NULL,
            source_bytes INTEGER NOT NULL,
            at REAL NOT NULL
        )""",
    "CREATE INDEX effort_key ON effort (build_key)",
    "CREATE INDEX effort_name ON effort (name, flags)",
    """CREATE TABLE claim (
            build_key TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            until REAL
        )""",
    "CREATE INDEX claim_owner ON claim (owner)",
    "ALTER TABLE job ADD COLUMN lease_until REAL",
    "CREATE TABLE worker (name TEXT PRIMARY KEY, seen_at REAL NOT NULL)",
)
