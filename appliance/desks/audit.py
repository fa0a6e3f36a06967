"""The audit log of whoever acts in this process."""

from collections.abc import Callable
from dataclasses import dataclass

from appliance.account_model import Note
from appliance.store import Store


@dataclass
class AuditDesk:
    store: Store
    clock: Callable[[], float]

    @property
    def who(self) -> str:
        """Who acts when a use case is not told: `cli USER`, `farm`, `boot`; a request sets it."""
        return self.store.audit.who

    @who.setter
    def who(self, who: str) -> None:
        self.store.audit.who = who

    def note(self, who: str | None, action: str, subject: str, detail: str = "") -> None:
        """Add a line; `who` None is whoever acts here. Call it inside the change that it tells of."""
        self.store.audit.add(self.clock(), who, action, subject, detail)

    def page(
        self,
        *,
        who: str = "",
        action: str = "",
        subject: str = "",
        before: int | None = None,
        limit: int = 100,
    ) -> list[Note]:
        """The newest lines first. `before`: the number of a line, for those older than it."""
        return self.store.audit.page(who=who, action=action, subject=subject, before=before, limit=limit)

    def actions(self) -> list[str]:
        return self.store.audit.actions()
