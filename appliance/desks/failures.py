"""What did not build: noted after each build, asked before the next, shown to a person."""

from collections.abc import Callable, Collection, Mapping, Sequence

from appliance.errors import Problem
from appliance.farm_model import FailureRecord, Held
from appliance.store import Store
from buildfarm import failures
from buildfarm.failures import Failure


class FailureDesk:
    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self.store = store
        self.clock = clock

    def all(self, profile: str | None = None) -> list[FailureRecord]:
        """The last that failed first."""
        return self.store.failures.all(profile)

    def show(self, cpv: str, profile: str | None = None) -> list[FailureRecord]:
        """Failures of one package in every profile; raises Problem when there is none."""
        found = [one for one in self.all(profile) if one.cpv == cpv]
        if not found:
            raise Problem(f"{cpv} did not fail", hint="`distserver failure list` shows what did")
        return found

    def forget(self, cpv: str, profile: str | None = None) -> list[FailureRecord]:
        """Let a package be tried again at the next build."""
        found = self.show(cpv, profile)
        for one in found:
            self.store.failures.forget(one.profile, [cpv])
        return found

    def note(
        self, profile: str, failed: Sequence[Failure], *, keys: Mapping[str, str], built: Collection[str]
    ) -> None:
        """After a build: what failed is remembered under its key.

        What was built is forgotten, and what is wanted no more or under another key (`keys`: cpv -> key).
        """
        now = self.clock()
        with self.store.database.change():
            self.store.failures.keep(profile, keys)
            self.store.failures.forget(profile, built)
            for one in failed:
                if not one.remembered:
                    self.store.failures.add(_record(profile, one, now))

    def hold(self, profile: str, held: Collection[Held]) -> None:
        """After a release: what it holds at an older version."""
        self.store.failures.hold(profile, held, now=self.clock())

    def held(self, profile: str) -> list[tuple[Held, float]]:
        """What a profile holds at an older version, and since when."""
        return self.store.failures.held(profile)

    def not_due(self, profile: str, keys: Mapping[str, str]) -> list[FailureRecord]:
        """What failed under just these keys (cpv -> build key) and is not to be compiled again yet."""
        now = self.clock()
        return [one for one in self.store.failures.under(profile, keys) if not failures.due(one, now)]

    def due_at(self, record: FailureRecord) -> float:
        """When a package may be compiled again under the same key."""
        return record.last_at + failures.wait_seconds(record)


def _record(profile: str, one: Failure, now: float) -> FailureRecord:
    return FailureRecord(
        profile=profile,
        cpv=one.package,
        build_key=one.build_key,
        kind=one.kind,
        evidence=one.evidence,
        log=str(one.log or ""),
        tail=one.tail,
        count=1,
        first_at=now,
        last_at=now,
    )
