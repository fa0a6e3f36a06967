"""How often what decides a boot was changed, by whichever process: counted by the store itself."""

_TOPICS = {"boot": ("machine", "release", "release_fault"), "strategy": ("strategy",)}

STEP: tuple[str, ...] = (
    "CREATE TABLE revision (topic TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    *(f"INSERT INTO revision VALUES ('{topic}', 0)" for topic in _TOPICS),
    *(
        f"CREATE TRIGGER {table}_{event.lower()}_counts AFTER {event} ON {table}"
        f" BEGIN UPDATE revision SET number = number + 1 WHERE topic = '{topic}'; END"
        for topic, tables in _TOPICS.items()
        for table in tables
        for event in ("INSERT", "UPDATE", "DELETE")
    ),
)
