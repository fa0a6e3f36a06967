"""Webhooks and what is told to them; what happens comes into `delivery` by triggers of the store."""

import sqlite3
from collections.abc import Sequence

from appliance.store.database import Database
from appliance.webhook_model import Delivery, DeliveryState, Webhook


class Webhooks:
    def __init__(self, database: Database) -> None:
        self.database = database

    def add(self, url: str, events: Sequence[str], secret: str, *, who: str, now: float) -> int:
        made = self.database.execute(
            "INSERT INTO webhook (url, events, secret, who, made_at) VALUES (?,?,?,?,?)",
            (url, " ".join(events), secret, who, now),
        )
        return int(made.lastrowid or 0)

    def remove(self, number: int) -> None:
        """With all of its deliveries."""
        self.database.execute("DELETE FROM webhook WHERE id = ?", (number,))

    def set_active(self, number: int, active: bool) -> None:
        self.database.execute("UPDATE webhook SET active = ? WHERE id = ?", (int(active), number))

    def all(self) -> list[Webhook]:
        return [_webhook(row) for row in self.database.rows("SELECT * FROM webhook ORDER BY id")]

    def get(self, number: int) -> Webhook | None:
        row = self.database.row("SELECT * FROM webhook WHERE id = ?", (number,))
        return _webhook(row) if row else None

    def secret(self, number: int) -> str:
        row = self.database.row("SELECT secret FROM webhook WHERE id = ?", (number,))
        return str(row["secret"]) if row else ""

    def want(self, number: int, event: str, subject: str, detail: str, *, now: float) -> int:
        """A delivery to this webhook alone."""
        made = self.database.execute(
            "INSERT INTO delivery (webhook, event, subject, detail, at, due_at) VALUES (?,?,?,?,?,?)",
            (number, event, subject, detail, now, now),
        )
        return int(made.lastrowid or 0)

    def deliveries(self, number: int, before: int | None = None, *, limit: int) -> list[Delivery]:
        """The newest first; `before`: only those with a lower number."""
        rows = self.database.rows(
            "SELECT * FROM delivery WHERE webhook = ? AND (? IS NULL OR id < ?) ORDER BY id DESC LIMIT ?",
            (number, before, before, limit),
        )
        return [_delivery(row) for row in rows]

    def waits(self, *, now: float) -> bool:
        return self._first_due(now) != []

    def due(self, *, now: float) -> list[Delivery]:
        """Of each webhook that is told anything, the oldest delivery whose time has come."""
        rows = self.database.rows(
            "SELECT * FROM delivery WHERE id IN (SELECT min(delivery.id) FROM delivery"
            " JOIN webhook ON webhook.id = webhook WHERE state = 'waiting' AND due_at <= ? AND active"
            " GROUP BY webhook) ORDER BY id",
            (now,),
        )
        return [_delivery(row) for row in rows]

    def end(self, delivery: int, state: DeliveryState, said: str, *, now: float) -> None:
        self.database.execute(
            "UPDATE delivery SET state = ?, said = ?, ended_at = ?, tries = tries + 1 WHERE id = ?",
            (state.value, said, now, delivery),
        )

    def try_again(self, delivery: Delivery, said: str, *, at: float, whole: bool) -> None:
        """At a later time; `whole`: the webhook is asked nothing else until then."""
        self.database.execute(
            "UPDATE delivery SET due_at = ?, said = ?, tries = tries + 1 WHERE id = ?",
            (at, said, delivery.id),
        )
        if whole:
            self.database.execute(
                "UPDATE delivery SET due_at = max(due_at, ?) WHERE webhook = ? AND state = 'waiting'",
                (at, delivery.webhook),
            )

    def _first_due(self, now: float) -> list[sqlite3.Row]:
        return self.database.rows(
            "SELECT 1 FROM delivery JOIN webhook ON webhook.id = webhook"
            " WHERE state = 'waiting' AND due_at <= ? AND active LIMIT 1",
            (now,),
        )


def _webhook(row: sqlite3.Row) -> Webhook:
    named = row["id"], row["url"], tuple(row["events"].split()), bool(row["active"])
    return Webhook(*named, row["made_at"], row["who"], row["dropped"])


def _delivery(row: sqlite3.Row) -> Delivery:
    known = {key: row[key] for key in row.keys() if key != "state"}  # noqa: SIM118 - a Row iterates values
    return Delivery(**known, state=DeliveryState(row["state"]))
