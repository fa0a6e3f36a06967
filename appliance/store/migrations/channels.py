"""Releases with their packages; how channels moved and what is pinned."""

STEP: tuple[str, ...] = ()
