"""When the next synchronisation is due."""

from datetime import datetime, timedelta, tzinfo

from appliance.farm_model import RepositoryState
from appliance.site_model import Schedule

RETRY_SECONDS = 3600.0
"""A failure is usually the network's and over within the hour."""


def is_due(schedule: Schedule, state: RepositoryState | None, now: float, zone: tzinfo | None = None) -> bool:
    """Should a remote repository be synchronised? `zone`: that of `at`, the host's own when None.

    A time of the last try that lies in the future means that the clock was set back: waiting for it to pass
    again could take years.
    """
    if state is None or (not state.revision and not state.problem) or state.tried_at > now:
        return True
    if state.problem:
        return now - state.tried_at >= min(RETRY_SECONDS, schedule.every_seconds)
    if schedule.at_minute is None:
        return now - state.tried_at >= schedule.every_seconds
    return state.tried_at < last_slot(schedule.at_minute, now, zone)


def last_slot(at_minute: int, now: float, zone: tzinfo | None = None) -> float:
    """The last moment before `now` that was this time of day."""
    here = datetime.fromtimestamp(now).astimezone(zone)
    slot = here.replace(hour=at_minute // 60, minute=at_minute % 60, second=0, microsecond=0)
    return (slot if slot <= here else slot - timedelta(days=1)).timestamp()
