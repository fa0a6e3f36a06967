"""Strategies: the wording of an OFFER that a machine, or one of its kind, followed last."""

from appliance.store.database import Database
from appliance.strategies import Strategy

MOST = 20000
"""Subjects that are remembered: a stranger that makes up machines must not fill the disk."""


class Strategies:
    """By subject: a kind of machine, or a MAC and a kind."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def put(self, subject: str, strategy: Strategy, *, now: float) -> None:
        with self.database.change():
            self.database.execute(
                "INSERT INTO strategy (subject, strategy, at) VALUES (?,?,?) ON CONFLICT (subject)"
                " DO UPDATE SET strategy = excluded.strategy, at = excluded.at",
                (subject, strategy.value, now),
            )
            self.database.execute(
                "DELETE FROM strategy WHERE subject IN"
                " (SELECT subject FROM strategy ORDER BY at DESC, subject LIMIT -1 OFFSET ?)",
                (MOST,),
            )

    def subjects(self) -> list[str]:
        return [row["subject"] for row in self.database.rows("SELECT subject FROM strategy")]

    def get(self, subject: str) -> Strategy | None:
        row = self.database.row("SELECT strategy FROM strategy WHERE subject = ?", (subject,))
        return Strategy(row["strategy"]) if row else None
