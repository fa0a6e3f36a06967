"""Builds that a person asks for: now, and with another try for what failed."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.desks.failures import FailureDesk
from appliance.desks.holds import shorten
from appliance.farm_model import BuildRequest, FailureRecord
from appliance.live import LiveSite
from appliance.site import find_profile
from appliance.store import Store


@dataclass(frozen=True)
class Asked:
    """What asking for a build did."""

    forgotten: tuple[FailureRecord, ...]
    """Failures that do not keep their packages from being tried any more."""
    running: bool
    """It is being built; the build that was asked for follows."""


@dataclass(frozen=True)
class BuildRequestDesk:
    """Only the store is written: the farm looks there every second."""

    live: LiveSite
    store: Store
    failures: FailureDesk
    clock: Callable[[], float]

    def build(self, profile: str, package: str = "", *, who: str | None = None, why: str = "") -> Asked:
        """Build a profile as soon as a worker is free, and try again what failed.

        `package`: the only one (`category/name-version`) to try again. Raises Problem when it did not fail.
        """
        find_profile(self.live.now(), profile)
        who, why, now = who or self.store.audit.who, shorten(why), self.clock()
        with self.store.database.change():
            failed = self.failures.all(profile)
            forgotten = self.failures.forget(package, profile) if package else failed
            self.store.failures.forget(profile, [one.cpv for one in forgotten])
            self.store.build_requests.put(BuildRequest(profile, now, who, why))
            self.store.audit.add(now, who, "build want", profile, f"{package} {why}".strip())
            for one in forgotten:
                self.store.audit.add(now, who, "failure forget", one.cpv, profile)
        running = any(job.kind == "build" and job.profile == profile for job in self.store.jobs.running())
        return Asked(tuple(forgotten), running)

    def waiting(self, profile: str) -> BuildRequest | None:
        """What was asked for and has not begun."""
        return self.store.build_requests.get(profile)
