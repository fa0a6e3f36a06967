"""Compile hosts and toolchains."""

STEP: tuple[str, ...] = ()
