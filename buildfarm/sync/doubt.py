"""Whether a tree that came is believable beside the one that is there."""

from buildfarm.survey import Survey

SHRUNK = 10
"""A tree with less than one of so many ebuilds is not believed."""
SKEW_SECONDS = 3600.0
"""Clocks of those who commit differ by minutes."""


def doubt(found: Survey, before: Survey | None) -> str:
    """Why a new tree is suspicious; empty when it is not. `before`: of the same source, the current one."""
    if before is None:
        return ""
    if before.ebuilds and found.ebuilds * SHRUNK <= before.ebuilds:
        return f"it has {found.ebuilds} ebuilds, there were {before.ebuilds}"
    if found.made_at and found.made_at < before.made_at - SKEW_SECONDS:
        hours = (before.made_at - found.made_at) / 3600
        return f"it is {hours:.0f} hours older than the current one"
    return ""
