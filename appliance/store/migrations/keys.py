"""Build keys in parts, and where a package came from."""

STEP: tuple[str, ...] = ()
