"""What only a person can decide."""

STEP: tuple[str, ...] = ()
