"""Questions of configuration merges, which machines ask them, what was decided, and contents by hash."""

_WAITS = "({0}.state IN ('asked', 'refused'))"
_OLD, _NEW = _WAITS.format("OLD"), _WAITS.format("NEW")


def _count(event: str, change: str, row: str) -> str:
    return (
        f"CREATE TRIGGER merge_asker_{event.split()[0].lower()} AFTER {event} ON merge_asker BEGIN"
        f" UPDATE merge_question SET waiting = waiting {change} WHERE id = {row}.question; END"
    )


STEP: tuple[str, ...] = (
    """CREATE TABLE merge_question (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            path TEXT NOT NULL,
            base TEXT NOT NULL,
            ours TEXT NOT NULL,
            theirs TEXT NOT NULL,
            secret INTEGER NOT NULL,
            mode INTEGER NOT NULL,
            why TEXT NOT NULL,
            first_at REAL NOT NULL,
            waiting INTEGER NOT NULL DEFAULT 0
        )""",
    """CREATE TABLE merge_asker (
            question INTEGER NOT NULL REFERENCES merge_question (id) ON DELETE CASCADE,
            machine TEXT NOT NULL REFERENCES machine (mac) ON DELETE CASCADE,
            profile TEXT NOT NULL,
            state TEXT NOT NULL,
            result TEXT NOT NULL DEFAULT '',
            said TEXT NOT NULL DEFAULT '',
            at REAL NOT NULL,
            PRIMARY KEY (question, machine)
        ) WITHOUT ROWID""",
    "CREATE INDEX merge_asker_machine ON merge_asker (machine, state)",
    "CREATE INDEX merge_asker_profile ON merge_asker (question, state, profile)",
    """CREATE TABLE merge_decision (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            question INTEGER NOT NULL REFERENCES merge_question (id) ON DELETE CASCADE,
            choice TEXT NOT NULL,
            result TEXT NOT NULL,
            who TEXT NOT NULL,
            at REAL NOT NULL,
            why TEXT NOT NULL DEFAULT '',
            ended TEXT,
            ended_at REAL,
            ended_by TEXT NOT NULL DEFAULT '',
            ended_why TEXT NOT NULL DEFAULT ''
        )""",
    "CREATE UNIQUE INDEX merge_decision_live ON merge_decision (question) WHERE ended IS NULL",
    "CREATE INDEX merge_decision_question ON merge_decision (question, id)",
    """CREATE TABLE merge_blob (
            sha256 TEXT PRIMARY KEY,
            content BLOB NOT NULL,
            machine TEXT NOT NULL,
            at REAL NOT NULL
        ) WITHOUT ROWID""",
    _count("INSERT", f"+ {_NEW}", "NEW"),
    _count("UPDATE OF state", f"+ {_NEW} - {_OLD}", "NEW"),
    _count("DELETE", f"- {_OLD}", "OLD"),
    "INSERT INTO revision VALUES ('merge', 0)",
    *(
        f"CREATE TRIGGER {table}_{event.lower()}_counts AFTER {event} ON {table}"
        " BEGIN UPDATE revision SET number = number + 1 WHERE topic = 'merge'; END"
        for table in ("merge_asker", "merge_decision")
        for event in ("INSERT", "UPDATE", "DELETE")
    ),
)
