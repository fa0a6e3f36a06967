"""Images that were made for media, reports that came from media, and images that the web page wants."""

STEP: tuple[str, ...] = (
    """CREATE TABLE medium (
            id TEXT PRIMARY KEY,
            made_at REAL NOT NULL,
            who TEXT NOT NULL,
            server TEXT NOT NULL,
            offline INTEGER NOT NULL,
            releases TEXT NOT NULL,
            mac TEXT NOT NULL DEFAULT '',
            name TEXT NOT NULL DEFAULT '',
            token TEXT NOT NULL DEFAULT '',
            expires_at REAL,
            used_at REAL,
            revoked_at REAL
        )""",
    "CREATE INDEX medium_mac ON medium (mac) WHERE mac != ''",
    """CREATE TABLE first_report (
            nonce TEXT PRIMARY KEY,
            medium TEXT NOT NULL,
            mac TEXT NOT NULL,
            at REAL NOT NULL
        )""",
    """CREATE TABLE image (
            release TEXT NOT NULL,
            offline INTEGER NOT NULL,
            state TEXT NOT NULL,
            wanted_at REAL NOT NULL,
            begun_at REAL,
            ended_at REAL,
            tries INTEGER NOT NULL DEFAULT 0,
            owner TEXT NOT NULL DEFAULT '',
            said TEXT NOT NULL DEFAULT '',
            done_bytes INTEGER NOT NULL DEFAULT 0,
            all_bytes INTEGER NOT NULL DEFAULT 0,
            file TEXT NOT NULL DEFAULT '',
            size_bytes INTEGER NOT NULL DEFAULT 0,
            sha256 TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (release, offline)
        )""",
)
