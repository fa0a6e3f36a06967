"""The stages of a boot have one name for every protocol."""

STEP: tuple[str, ...] = (
    "UPDATE event SET stage = 'discover' WHERE stage = 'dhcp'",
    "UPDATE event SET stage = 'program' WHERE stage = 'tftp'",
)
