"""Numbers for a monitoring system: families of samples with labels. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One number under every set of labels it has."""

    name: str
    """Without the prefix of the program; a unit stands at its end."""
    text: str
    labels: Sequence[str]
    samples: Mapping[tuple[str, ...], float]
    """Values of the labels, in their order -> the number."""
