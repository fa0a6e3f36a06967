"""Packages that failed, and those held at an older version."""

STEP: tuple[str, ...] = ()
