"""Where machines were seen on the network."""

STEP: tuple[str, ...] = (
    """CREATE TABLE seen_address (
            mac TEXT PRIMARY KEY REFERENCES machine (mac) ON DELETE CASCADE,
            address TEXT NOT NULL,
            at REAL NOT NULL
        )""",
)
