"""Installed machines: how many of their services run with files that were replaced since."""

STEP: tuple[str, ...] = ("ALTER TABLE client_standing ADD COLUMN stale INTEGER NOT NULL DEFAULT 0",)
