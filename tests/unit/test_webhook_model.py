"""What webhooks are told, how it is signed, and when it is tried again."""

import hashlib
import hmac
import json

import pytest

from appliance.webhook_model import (
    PAUSES,
    SIGNATURE,
    Answer,
    Delivery,
    body,
    headers,
    pause_seconds,
    signature,
    url_fault,
)

TOLD = Delivery(7, 1, "machine.failed", "52:54:00:00:00:01", 'no disk \x1b[31m<b> é "', 1795338000.25)


def test_a_message_is_ascii_json_of_the_same_bytes_at_every_try() -> None:
    message = body(TOLD, "site")
    assert message == body(TOLD, "site")
    assert message.isascii()
    said = json.loads(message)
    assert (said["id"], said["event"], said["at"], said["site"]) == (
        7,
        "machine.failed",
        1795338000.25,
        "site",
    )
    assert said["detail"] == TOLD.detail


def test_who_knows_the_secret_can_check_who_sent_a_message() -> None:
    message = body(TOLD, "site")
    sent = headers(TOLD, message, "secret")[SIGNATURE]
    assert sent == "sha256=" + hmac.new(b"secret", message, hashlib.sha256).hexdigest()
    assert signature(message + b" ", "secret") != sent
    assert signature(message, "Secret") != sent


def test_pauses_grow_and_end_after_about_a_day() -> None:
    pauses = [pause_seconds(tries) for tries in range(1, len(PAUSES) + 2)]
    assert pauses[-1] is None
    known = [one for one in pauses if one is not None]
    assert known == sorted(known) and len(set(known)) == len(known)
    assert 12 * 3600 < sum(known) < 2 * 86400


@pytest.mark.parametrize(
    ("status", "good", "down"),
    [(200, True, False), (204, True, False), (302, False, False), (404, False, False), (410, False, False),
     (429, False, True), (500, False, True), (503, False, True), (None, False, True)],
)  # fmt: skip
def test_an_answer_is_good_or_about_this_message_or_about_the_receiver(
    status: int | None, good: bool, down: bool
) -> None:
    answer = Answer(status, "")
    assert (answer.good, answer.is_down) == (good, down)


@pytest.mark.parametrize("url", ["https://a.example/x?y=1", "http://127.0.0.1:8000/", "http://[::1]:80/h"])
def test_an_address_of_http_may_be_told(url: str) -> None:
    assert url_fault(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a.example/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "gopher://a.example",
        "https://",
        "https://ann:pw@a.example/",
        "https://a.example:99999/",
        "https://a.example/ x",
        "https://a.example/\r\nX: y",
        "https://a.example/" + "x" * 1000,
        "http://[::1/",
        "a.example",
    ],
)
def test_nothing_else_may_be_told(url: str) -> None:
    assert url_fault(url)
