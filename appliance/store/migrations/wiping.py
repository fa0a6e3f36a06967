"""Machines that are armed to be wiped and retired, instead of to be installed."""

STEP: tuple[str, ...] = ("ALTER TABLE machine ADD COLUMN wipes INTEGER NOT NULL DEFAULT 0",)
