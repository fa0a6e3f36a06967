"""Build keys in parts, and where a package came from."""

STEP: tuple[str, ...] = (
    "ALTER TABLE package ADD COLUMN neutral_key TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE package ADD COLUMN profile TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE package ADD COLUMN seconds REAL NOT NULL DEFAULT 0",
    "ALTER TABLE package ADD COLUMN cpu_seconds REAL NOT NULL DEFAULT 0",
    "ALTER TABLE package ADD COLUMN peak_bytes INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE package ADD COLUMN hosts TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE package ADD COLUMN remote_share REAL NOT NULL DEFAULT 0",
    "ALTER TABLE package ADD COLUMN recipe BLOB",
    "CREATE INDEX package_neutral ON package (neutral_key) WHERE neutral_key != ''",
    "CREATE INDEX package_cpv ON package (cpv)",
)
