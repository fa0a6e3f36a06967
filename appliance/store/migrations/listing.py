"""Indexes for lists that are counted, searched and paged without reading what is listed."""

STEP: tuple[str, ...] = (
    # All that a list of machines counts and searches by, so that no row with its facts is read for it.
    "CREATE INDEX machine_listed ON machine (state, profile, channel, release, name, mac, lends)",
    "CREATE INDEX machine_release ON machine (release, mac)",
    "CREATE INDEX release_created ON release (created_at, id)",
    "CREATE INDEX release_profile ON release (profile, created_at, id)",
    "CREATE INDEX package_built ON package (built_at, seconds, remote_share)",
    "CREATE INDEX failure_last ON failure (last_at)",
)
