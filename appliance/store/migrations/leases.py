"""The addresses that full DHCP gave out."""

STEP: tuple[str, ...] = (
    """CREATE TABLE lease (
            address TEXT PRIMARY KEY,
            mac TEXT NOT NULL,
            state TEXT NOT NULL,
            since REAL NOT NULL,
            expires REAL NOT NULL,
            known INTEGER NOT NULL,
            port TEXT NOT NULL,
            host TEXT NOT NULL
        )""",
    "CREATE INDEX lease_by_mac ON lease (mac)",
)
