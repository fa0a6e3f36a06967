"""What waits to be built, and how long packages took."""

STEP: tuple[str, ...] = ()
