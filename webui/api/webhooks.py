"""Webhooks in the API: what it takes, answers and does."""

from dataclasses import dataclass
from typing import Annotated, Any

from appliance import webhook_model
from appliance.account_model import Role
from appliance.services import Services
from appliance.webhook_model import DeliveryState, Happening
from webui.api.operation import Absent, Operation, Page, cut, looking
from webui.api.schema import Rule
from webui.api.shapes import NumberQuery

EVENTS = f"words with spaces between, of {', '.join(one.value for one in Happening)}; empty: all"


@dataclass(frozen=True)
class NewWebhook:
    """An address that is to be told what happens."""

    url: Annotated[str, Rule("http or https", pattern=r"https?://[!-~]{1,900}")]
    events: Annotated[str, Rule(EVENTS)] = ""


@dataclass(frozen=True)
class Webhook:
    """An address that is told what happens; times are seconds since the epoch."""

    id: int
    url: str
    events: tuple[str, ...]
    active: bool
    made_at: float
    who: str
    dropped: int


@dataclass(frozen=True)
class WebhookWithSecret:
    """A new webhook, and what signs its messages, which nobody can ask for again."""

    webhook: Webhook
    secret: str


@dataclass(frozen=True)
class WebhookDelivery:
    """One message to a webhook; times are seconds since the epoch."""

    id: int
    event: str
    subject: str
    detail: str
    at: float
    state: DeliveryState
    tries: int
    due_at: float
    ended_at: float | None
    said: str


def list_webhooks(desk: Services) -> Page:
    return Page(tuple(shape(one) for one in desk.webhooks.all()), None)


def add_webhook(desk: Services, body: NewWebhook) -> WebhookWithSecret:
    made, secret = desk.webhooks.add(body.url, body.events.split() or [one.value for one in Happening])
    return WebhookWithSecret(shape(made), secret)


def remove_webhook(desk: Services, webhook: str) -> Webhook:
    known = find(desk, webhook)
    desk.webhooks.remove(known.id)
    return shape(known)


def pause_webhook(desk: Services, webhook: str) -> Webhook:
    return shape(desk.webhooks.switch(find(desk, webhook).id, False))


def resume_webhook(desk: Services, webhook: str) -> Webhook:
    return shape(desk.webhooks.switch(find(desk, webhook).id, True))


def test_webhook(desk: Services, webhook: str) -> Webhook:
    known = find(desk, webhook)
    desk.webhooks.test(known.id)
    return shape(known)


def list_deliveries(desk: Services, webhook: str, query: NumberQuery) -> Page:
    known, before = find(desk, webhook), int(query.cursor) if query.cursor else None
    found = desk.webhooks.deliveries(known.id, before, limit=query.limit + 1)
    return cut([delivery(one) for one in found], query.limit, lambda one: str(one.id))


def find(desk: Services, number: str) -> webhook_model.Webhook:
    if not (number.isascii() and number.isdecimal() and len(number) < 18):
        raise Absent(f"{number[:40]!r} is no number of a webhook")
    with looking():
        return desk.webhooks.get(int(number))


def shape(one: webhook_model.Webhook) -> Webhook:
    return Webhook(one.id, one.url, one.events, one.active, one.made_at, one.who, one.dropped)


def delivery(one: webhook_model.Delivery) -> WebhookDelivery:
    told = one.id, one.event, one.subject, one.detail, one.at
    return WebhookDelivery(*told, one.state, one.tries, one.due_at, one.ended_at, one.said)


def change(name: str, run: Any, text: str) -> Operation:
    path = f"/webhooks/{{webhook}}/{name}"
    return Operation(f"{name}Webhook", "POST", path, Role.ADMIN, text, run, Webhook)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "listWebhooks", "GET", "/webhooks", Role.ADMIN, "Who is told what happens.", list_webhooks,
        Webhook, listed=True,
    ),
    Operation(
        "addWebhook", "POST", "/webhooks", Role.ADMIN, "Tell an address what happens.", add_webhook,
        WebhookWithSecret, body=NewWebhook, status=201,
    ),
    change("remove", remove_webhook, "Tell it nothing more."),
    change("pause", pause_webhook, "Tell it nothing for now."),
    change("resume", resume_webhook, "Tell it again."),
    change("test", test_webhook, "Let the farm send it a test."),
    Operation(
        "listDeliveries", "GET", "/webhooks/{webhook}/deliveries", Role.ADMIN,
        "What a webhook was told, the newest first.", list_deliveries, WebhookDelivery,
        listed=True, query=NumberQuery,
    ),
)  # fmt: skip
