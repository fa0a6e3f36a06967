"""Machines that somebody wants to start into the rescue shell once."""

STEP: tuple[str, ...] = ("ALTER TABLE machine ADD COLUMN rescue INTEGER NOT NULL DEFAULT 0",)
