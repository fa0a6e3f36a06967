"""Why a build was not published, reason by reason."""

STEP: tuple[str, ...] = ("ALTER TABLE job ADD COLUMN reasons TEXT NOT NULL DEFAULT '[]'",)
