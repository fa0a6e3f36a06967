"""Errands that are about a machine: to wake it, or to switch it through its controller."""

STEP: tuple[str, ...] = (
    "ALTER TABLE errand ADD COLUMN machine TEXT NOT NULL DEFAULT ''",
    "CREATE INDEX errand_machine ON errand (machine, id)",
)
