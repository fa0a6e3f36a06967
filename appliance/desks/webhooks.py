"""Webhooks: who is told what happens; the telling waits in the store and holds up nobody."""

import secrets
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from appliance.desks.audit import AuditDesk
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.webhook_model import (
    TEST,
    Answer,
    Delivery,
    DeliveryState,
    Happening,
    Webhook,
    body,
    headers,
    pause_seconds,
    url_fault,
)

MOST = 20
"""Webhooks of a site."""
AT_ONCE = 8
"""Receivers that are told at the same time."""
SECRET_BYTES = 32
PREFIX = "dsw_"
Post = Callable[[str, bytes, Mapping[str, str]], Answer]


@dataclass
class WebhookDesk:
    live: LiveSite
    audit: AuditDesk
    clock: Callable[[], float]

    # what a person does

    def all(self) -> list[Webhook]:
        return self.audit.store.webhooks.all()

    def get(self, number: int) -> Webhook:
        """Raises Problem when there is none with this number."""
        found = self.audit.store.webhooks.get(number)
        if found is None:
            raise Problem(f"there is no webhook {number}", hint="`distserver webhook list` shows them")
        return found

    def deliveries(self, number: int, before: int | None = None, *, limit: int = 10) -> list[Delivery]:
        """The newest first."""
        return self.audit.store.webhooks.deliveries(self.get(number).id, before, limit=limit)

    def add(self, url: str, events: Collection[str], *, who: str | None = None) -> tuple[Webhook, str]:
        """A new webhook, and the secret that signs what it is told, which nobody can ask for again."""
        if fault := url_fault(url):
            raise Problem(fault)
        known = [one.value for one in Happening]
        if odd := sorted(set(events) - set(known)):
            raise Problem(f"{odd[0]!r} is nothing to be told of", hint=f"there is {', '.join(known)}")
        if not events:
            raise Problem("a webhook is told of something", hint=f"there is {', '.join(known)}")
        rows, secret = self.audit.store.webhooks, PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        with self.audit.store.database.change():
            if len(self.all()) >= MOST:
                raise Problem(f"there are {MOST} webhooks already", hint="remove one first")
            chosen = [name for name in known if name in events]
            number = rows.add(url, chosen, secret, who=who or self.audit.who, now=self.clock())
            self.audit.note(who, "webhook add", url, " ".join(chosen))
        return self.get(number), secret

    def remove(self, number: int, *, who: str | None = None) -> None:
        with self.audit.store.database.change():
            known = self.get(number)
            self.audit.store.webhooks.remove(number)
            self.audit.note(who, "webhook remove", known.url)

    def switch(self, number: int, on: bool, *, who: str | None = None) -> Webhook:
        """Tell it again, or nothing more: what happens meanwhile it never learns."""
        with self.audit.store.database.change():
            known = self.get(number)
            self.audit.store.webhooks.set_active(number, on)
            self.audit.note(who, f"webhook {'resume' if on else 'pause'}", known.url)
        return self.get(number)

    def test(self, number: int, *, who: str | None = None) -> None:
        """Let the farm send a message that says that it is a test."""
        with self.audit.store.database.change():
            known = self.get(number)
            if not known.active:
                raise Problem("this webhook is paused and is told nothing", hint="resume it first")
            acts = who or self.audit.who
            self.audit.store.webhooks.want(number, TEST, "webhook", f"asked for by {acts}", now=self.clock())
            self.audit.note(who, "webhook test", known.url)

    # the farm's side

    def waits(self) -> bool:
        return self.audit.store.webhooks.waits(now=self.clock())

    def send_due(self, post: Post) -> int:
        """Send all whose time has come, one at a time to each receiver; how many were sent.

        What a process that was killed meanwhile did not write down is sent again: its number is the same.
        """
        sent, under_way = 0, dict[Future[Answer], Delivery]()
        with ThreadPoolExecutor(AT_ONCE) as threads:
            while True:
                busy = {one.webhook for one in under_way.values()}
                for one in self.audit.store.webhooks.due(now=self.clock()):
                    if one.webhook not in busy:
                        under_way[threads.submit(self._send(one, post))] = one
                if not under_way:
                    return sent
                for ended in wait(under_way, return_when=FIRST_COMPLETED).done:
                    self._note(under_way.pop(ended), ended.result())
                    sent += 1

    def _send(self, one: Delivery, post: Post) -> Callable[[], Answer]:
        """The work of a thread: the store is not asked there."""
        url, secret = self.get(one.webhook).url, self.audit.store.webhooks.secret(one.webhook)
        message = body(one, self.live.now().name)
        return lambda: post(url, message, headers(one, message, secret))

    def _note(self, one: Delivery, answer: Answer) -> None:
        rows, now = self.audit.store.webhooks, self.clock()
        pause = pause_seconds(one.tries + 1)
        with self.audit.store.database.change():
            if answer.good:
                rows.end(one.id, DeliveryState.DELIVERED, answer.said, now=now)
            elif pause is None:
                rows.end(one.id, DeliveryState.GIVEN_UP, answer.said, now=now)
            else:
                rows.try_again(one, answer.said, at=now + pause, whole=answer.is_down)
