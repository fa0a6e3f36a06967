"""Says of a release which packages were built for it and which it got from whom."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from appliance.model import Package


@dataclass(frozen=True)
class Origin:
    """Where one package of a release is from."""

    cpv: str
    sha256: str
    how: str
    """built, kept (the profile's own, of an earlier build) or reused (another profile's)."""
    profile: str
    """Who it was built for; empty when nobody noted it."""
    flags_differ: bool
    """Shared although it was built with another compiler or other flags: nothing of them is in it."""
    saved_seconds: float
    """What its build took when it was built."""


@dataclass(frozen=True)
class Reuse:
    """The origins of all packages of a release."""

    origins: tuple[Origin, ...]

    def count(self, how: str) -> int:
        return sum(origin.how == how for origin in self.origins)

    @property
    def saved_seconds(self) -> float:
        return sum(origin.saved_seconds for origin in self.origins if origin.how != "built")

    def __str__(self) -> str:
        """`3 built, 12 kept, 40 reused (server 38, desktop 2)`."""
        lenders = Counter(one.profile or "unknown" for one in self.origins if one.how == "reused")
        whom = ", ".join(f"{name} {count}" for name, count in sorted(lenders.items()))
        return f"{self.count('built')} built, {self.count('kept')} kept, {self.count('reused')} reused" + (
            f" ({whom})" if whom else ""
        )


def report(
    profile: str, packages: Iterable[Package], *, built: Collection[str], keys: Collection[str]
) -> Reuse:
    """`built`: sha256 of what this build made; `keys`: the build keys of the profile as it is now."""
    return Reuse(
        tuple(
            Origin(
                cpv=package.cpv,
                sha256=package.sha256,
                how=_how(profile, package, built),
                profile=package.profile,
                flags_differ=package.build_key not in keys,
                saved_seconds=package.seconds,
            )
            for package in sorted(packages, key=lambda one: one.cpv)
        )
    )


def _how(profile: str, package: Package, built: Collection[str]) -> str:
    if package.sha256 in built:
        return "built"
    return "kept" if package.profile == profile else "reused"
