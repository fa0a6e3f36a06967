"""Installed machines: their keys and certificates, what they reported, and how releases reach them."""

STEP: tuple[str, ...] = (
    """CREATE TABLE client_key (
            mac TEXT PRIMARY KEY REFERENCES machine (mac) ON DELETE CASCADE,
            key TEXT NOT NULL,
            request TEXT NOT NULL,
            asked_at REAL NOT NULL,
            certificate TEXT NOT NULL DEFAULT '',
            issued_at REAL NOT NULL DEFAULT 0,
            ends_at REAL NOT NULL DEFAULT 0,
            refused TEXT NOT NULL DEFAULT ''
        )""",
    "CREATE UNIQUE INDEX client_key_key ON client_key (key)",
    "CREATE INDEX client_key_ends ON client_key (ends_at)",
    # A certificate counts for as long as it stands here: one that was renewed does until its own end.
    """CREATE TABLE client_certificate (
            fingerprint TEXT PRIMARY KEY,
            mac TEXT NOT NULL REFERENCES client_key (mac) ON DELETE CASCADE,
            ends_at REAL NOT NULL
        )""",
    "CREATE INDEX client_certificate_mac ON client_certificate (mac)",
    """CREATE TABLE client_report (
            id INTEGER PRIMARY KEY,
            mac TEXT NOT NULL REFERENCES machine (mac) ON DELETE CASCADE,
            at REAL NOT NULL,
            report TEXT NOT NULL
        )""",
    "CREATE INDEX client_report_mac ON client_report (mac, id)",
    # What lists and figures ask for, so that no report is read for them. One row a machine.
    """CREATE TABLE client_standing (
            mac TEXT PRIMARY KEY REFERENCES machine (mac) ON DELETE CASCADE,
            seen_at REAL NOT NULL,
            reported_at REAL NOT NULL DEFAULT 0,
            release TEXT NOT NULL DEFAULT '',
            target TEXT NOT NULL DEFAULT '',
            phase TEXT NOT NULL DEFAULT '',
            health TEXT NOT NULL DEFAULT '',
            said TEXT NOT NULL DEFAULT '',
            drift INTEGER NOT NULL DEFAULT 0,
            merges INTEGER NOT NULL DEFAULT 0,
            reboot INTEGER NOT NULL DEFAULT 0,
            kernel TEXT NOT NULL DEFAULT ''
        )""",
    "CREATE INDEX client_standing_seen ON client_standing (seen_at)",
    """CREATE TABLE rollout (
            profile TEXT NOT NULL,
            channel TEXT NOT NULL,
            release TEXT NOT NULL,
            serial INTEGER NOT NULL,
            state TEXT NOT NULL,
            began_at REAL NOT NULL,
            spread_at REAL NOT NULL DEFAULT 0,
            canaries TEXT NOT NULL DEFAULT '[]',
            why TEXT NOT NULL DEFAULT '',
            who TEXT NOT NULL DEFAULT '',
            PRIMARY KEY (profile, channel)
        )""",
)
