"""Webhooks, what waits to be told to them, and the changes that are told: the store itself notices them."""

MOST_KEPT = 1000
"""Deliveries of one webhook, told or waiting."""
_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_OF_IT = "SELECT id FROM delivery WHERE webhook = NEW.webhook"
_NEWEST = f"({_OF_IT} ORDER BY id DESC LIMIT 1 OFFSET {MOST_KEPT})"


def _told(name: str, when: str, condition: str, *, event: str, subject: str, detail: str) -> str:
    """A trigger that tells of a change in the transaction that makes it, whoever that is."""
    return (
        f"CREATE TRIGGER {name}_is_told AFTER {when} WHEN {condition}"
        f" BEGIN INSERT INTO happening VALUES ({event}, {subject}, {detail}, {_NOW}); END"
    )


_MACHINE = {
    "event": "'machine.' || NEW.state",
    "subject": "NEW.mac",
    "detail": "trim(NEW.name || ' ' || CASE NEW.state WHEN 'failed' THEN NEW.problem"
    " ELSE coalesce(NEW.release, '') END)",
}
_REPOSITORY = {"event": "'repository.failed'", "subject": "NEW.name", "detail": "NEW.problem"}

STEP: tuple[str, ...] = (
    """CREATE TABLE webhook (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            url TEXT NOT NULL,
            events TEXT NOT NULL,
            secret TEXT NOT NULL,
            active INTEGER NOT NULL DEFAULT 1,
            made_at REAL NOT NULL,
            who TEXT NOT NULL,
            dropped INTEGER NOT NULL DEFAULT 0
        )""",
    """CREATE TABLE delivery (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            webhook INTEGER NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
            event TEXT NOT NULL,
            subject TEXT NOT NULL,
            detail TEXT NOT NULL,
            at REAL NOT NULL,
            state TEXT NOT NULL DEFAULT 'waiting',
            tries INTEGER NOT NULL DEFAULT 0,
            due_at REAL NOT NULL,
            ended_at REAL,
            said TEXT NOT NULL DEFAULT ''
        )""",
    "CREATE INDEX delivery_due ON delivery (state, due_at)",
    "CREATE INDEX delivery_webhook ON delivery (webhook, id)",
    # What goes in comes out as deliveries, and nothing is kept when nobody wants to be told.
    "CREATE VIEW happening (event, subject, detail, at) AS SELECT '', '', '', 0.0 WHERE 0",
    """CREATE TRIGGER happening_is_told INSTEAD OF INSERT ON happening BEGIN
            INSERT INTO delivery (webhook, event, subject, detail, at, due_at)
            SELECT id, NEW.event, NEW.subject, substr(NEW.detail, 1, 1000), NEW.at, NEW.at FROM webhook
            WHERE active AND instr(' ' || events || ' ', ' ' || NEW.event || ' ');
        END""",
    f"""CREATE TRIGGER delivery_is_bounded AFTER INSERT ON delivery BEGIN
            UPDATE webhook SET dropped = dropped + (
                SELECT count(*) FROM delivery
                WHERE webhook = NEW.webhook AND id <= {_NEWEST} AND state = 'waiting'
            ) WHERE id = NEW.webhook;
            DELETE FROM delivery WHERE webhook = NEW.webhook AND id <= {_NEWEST};
        END""",
    _told(
        "channel_move",
        "UPDATE OF state ON channel_move",
        "NEW.state = 'done' AND OLD.state <> 'done' AND NEW.kind IN ('publish', 'promote', 'rollback')",
        event="CASE NEW.kind WHEN 'rollback' THEN 'rollout.stopped' ELSE 'release.published' END",
        subject="NEW.profile || '/' || NEW.channel",
        detail="trim(NEW.release || ' ' || NEW.why)",
    ),
    _told(
        "job",
        "UPDATE OF state ON job",
        "NEW.kind = 'build' AND NEW.state = 'failed' AND OLD.state <> 'failed'",
        event="CASE NEW.failure WHEN 'gate' THEN 'release.refused' ELSE 'build.failed' END",
        subject="NEW.profile",
        detail="NEW.message",
    ),
    _told(
        "machine",
        "UPDATE OF state ON machine",
        "NEW.state IN ('installed', 'failed') AND NEW.state <> OLD.state",
        **_MACHINE,
    ),
    _told("new_machine", "INSERT ON machine", "NEW.state IN ('installed', 'failed')", **_MACHINE),
    _told(
        "question",
        "INSERT ON question",
        "NEW.closed_at IS NULL",
        event="'question.waits'",
        subject="NEW.profile || ' ' || NEW.subject",
        detail="NEW.text",
    ),
    # Told once, and not by each try that fails after it.
    _told(
        "repository",
        "UPDATE OF problem ON repository",
        "NEW.problem <> '' AND OLD.problem = ''",
        **_REPOSITORY,
    ),
    _told("new_repository", "INSERT ON repository", "NEW.problem <> ''", **_REPOSITORY),
)
