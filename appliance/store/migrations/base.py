"""Machines, events, tokens, packages, releases, channels and jobs."""

STEP: tuple[str, ...] = (
    """CREATE TABLE machine (
            mac TEXT PRIMARY KEY,
            state TEXT NOT NULL,
            name TEXT NOT NULL DEFAULT '',
            profile TEXT,
            facts TEXT,
            release TEXT,
            problem TEXT NOT NULL DEFAULT ''
        )""",
    """CREATE TABLE event (
            id INTEGER PRIMARY KEY,
            subject TEXT NOT NULL,
            at REAL NOT NULL,
            stage TEXT NOT NULL,
            status TEXT NOT NULL,
            seconds REAL,
            size_bytes INTEGER,
            message TEXT NOT NULL DEFAULT ''
        )""",
    "CREATE INDEX event_subject ON event (subject, id)",
    """CREATE TABLE token (
            hash TEXT PRIMARY KEY,
            mac TEXT NOT NULL,
            purpose TEXT NOT NULL,
            issued_at REAL NOT NULL,
            expires_at REAL NOT NULL,
            used_at REAL
        )""",
    "CREATE INDEX token_mac ON token (mac, purpose)",
    """CREATE TABLE package (
            sha256 TEXT PRIMARY KEY,
            cpv TEXT NOT NULL,
            build_id INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL,
            build_key TEXT NOT NULL,
            built_at REAL NOT NULL,
            index_entry TEXT NOT NULL
        )""",
    "CREATE INDEX package_key ON package (build_key)",
    """CREATE TABLE release (
            id TEXT PRIMARY KEY,
            profile TEXT NOT NULL,
            created_at REAL NOT NULL,
            snapshot TEXT NOT NULL,
            packages INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL
        )""",
    """CREATE TABLE channel (
            profile TEXT NOT NULL,
            name TEXT NOT NULL,
            release TEXT NOT NULL REFERENCES release (id),
            moved_at REAL NOT NULL,
            PRIMARY KEY (profile, name)
        )""",
    """CREATE TABLE job (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,
            profile TEXT NOT NULL,
            state TEXT NOT NULL,
            started_at REAL NOT NULL,
            ended_at REAL,
            message TEXT NOT NULL DEFAULT '',
            log TEXT NOT NULL DEFAULT '',
            inputs TEXT NOT NULL DEFAULT '',
            owner TEXT NOT NULL
        )""",
)
