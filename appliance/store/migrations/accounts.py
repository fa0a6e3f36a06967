"""Accounts with their sessions and API tokens, attempts to sign in, and the audit log."""

STEP: tuple[str, ...] = (
    """CREATE TABLE account (
            name TEXT PRIMARY KEY,
            role TEXT NOT NULL,
            password TEXT NOT NULL DEFAULT '',
            disabled INTEGER NOT NULL DEFAULT 0,
            created_at REAL NOT NULL
        )""",
    """CREATE TABLE web_session (
            hash TEXT PRIMARY KEY,
            account TEXT NOT NULL REFERENCES account (name),
            started_at REAL NOT NULL,
            seen_at REAL NOT NULL,
            address TEXT NOT NULL,
            browser TEXT NOT NULL
        )""",
    "CREATE INDEX web_session_account ON web_session (account)",
    """CREATE TABLE api_token (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            hash TEXT NOT NULL UNIQUE,
            account TEXT NOT NULL REFERENCES account (name),
            label TEXT NOT NULL,
            scope TEXT NOT NULL,
            created_at REAL NOT NULL,
            expires_at REAL NOT NULL,
            used_at REAL
        )""",
    "CREATE INDEX api_token_account ON api_token (account)",
    """CREATE TABLE attempt (
            key TEXT PRIMARY KEY,
            failures INTEGER NOT NULL,
            last_at REAL NOT NULL,
            closed_until REAL NOT NULL
        )""",
    """CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            who TEXT NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL
        )""",
    "CREATE INDEX audit_who ON audit (who, id)",
    "CREATE INDEX audit_action ON audit (action, id)",
    "CREATE INDEX audit_subject ON audit (subject, id)",
    """CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END""",
    """CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END""",
    # INSERT OR REPLACE deletes without asking the trigger above.
    """CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)
        BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END""",
)
