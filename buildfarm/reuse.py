"""Says of a release which packages were built for it, and which it got from whom."""

from collections import Counter
from collections.abc import Collection, Iterable

from appliance.farm_model import Origin, Package

BUILT, REUSED = "built", "reused"


def origins(profile: str, packages: Iterable[Package], *, built: Collection[str]) -> tuple[Origin, ...]:
    """`built`: sha256 of what this build made; what nobody noted a profile for has an empty one."""
    return tuple(
        Origin(one.sha256, one.cpv, BUILT, profile)
        if one.sha256 in built
        else Origin(one.sha256, one.cpv, REUSED, one.profile)
        for one in sorted(packages, key=lambda one: one.cpv)
    )


def sentence(profile: str, found: Iterable[Origin]) -> str:
    """`3 built, 12 kept, 40 reused (server 38, vm 2)`: kept is what the profile itself had built before."""
    kinds = Counter((one.origin, one.profile) for one in found)
    built = sum(count for (origin, _), count in kinds.items() if origin == BUILT)
    lent = {whom: count for (origin, whom), count in kinds.items() if origin == REUSED and whom != profile}
    whom = ", ".join(f"{name or 'unknown'} {count}" for name, count in sorted(lent.items()))
    said = f"{built} built, {kinds[REUSED, profile]} kept, {sum(lent.values())} reused"
    return f"{said} ({whom})" if whom else said


def saved_seconds(packages: Iterable[Package], *, built: Collection[str]) -> float:
    """What the packages that were not built had taken when they were."""
    return sum(one.seconds for one in packages if one.sha256 not in built)
