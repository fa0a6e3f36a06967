"""Compile hosts, the toolchains that are wanted on them, and which machines lend their processors."""

STEP: tuple[str, ...] = (
    """CREATE TABLE compile_host (
            name TEXT PRIMARY KEY,
            address TEXT NOT NULL,
            state TEXT NOT NULL,
            origin TEXT NOT NULL,
            arch TEXT NOT NULL DEFAULT '',
            slots INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            seen_at REAL NOT NULL DEFAULT 0,
            until REAL NOT NULL DEFAULT 0,
            strikes INTEGER NOT NULL DEFAULT 0,
            report TEXT
        )""",
    """CREATE TABLE compile_order (
            host TEXT NOT NULL REFERENCES compile_host (name) ON DELETE CASCADE,
            toolchain TEXT NOT NULL,
            port INTEGER NOT NULL,
            probed_at REAL NOT NULL DEFAULT 0,
            PRIMARY KEY (host, toolchain)
        )""",
    "CREATE TABLE compile_serial (host TEXT PRIMARY KEY, serial INTEGER NOT NULL)",
    """CREATE TABLE wanted_toolchain (
            hash TEXT PRIMARY KEY,
            until REAL NOT NULL
        )""",
    "ALTER TABLE machine ADD COLUMN lends INTEGER NOT NULL DEFAULT 0",
)
