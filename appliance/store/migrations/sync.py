"""Snapshots of repositories, and how each last synchronisation went."""

STEP: tuple[str, ...] = ()
