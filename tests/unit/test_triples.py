"""What machine and server say to each other of configuration files."""

import json

import pytest

from distserver_client import triples
from distserver_client.triples import Answer, Choice, Item, Policy, Rule, State

HASH = "ab" * 32


def test_an_item_is_plain_json() -> None:
    item = Item("/etc/hosts", HASH, HASH, "", 0o644, False, "both changed it")
    assert json.loads(json.dumps(item.json())) == {
        "path": "/etc/hosts",
        "base": HASH,
        "ours": HASH,
        "theirs": "",
        "mode": 0o644,
        "secret": False,
        "why": "both changed it",
    }


def test_answers_are_read() -> None:
    assert triples.answer({"state": "decided", "result": HASH}) == Answer(State.DECIDED, HASH)
    assert triples.answer({"state": "asked", "wants": [HASH]}) == Answer(State.ASKED, "", (HASH,))
    assert triples.answer({"state": "keep"}) == Answer(State.KEEP)


@pytest.mark.parametrize(
    "said",
    [
        None,
        {},
        {"state": "perhaps"},
        {"state": "decided"},
        {"state": "decided", "result": "../../etc/shadow"},
        {"state": "asked", "wants": HASH},
        {"state": "asked", "wants": [7]},
    ],
)
def test_an_answer_without_sense_is_refused(said: object) -> None:
    with pytest.raises(ValueError):
        triples.answer(said)


def test_the_last_rule_that_matches_counts() -> None:
    said = [{"path": "/etc/*", "policy": "ours"}, {"path": "/etc/ssh/*", "restart": "sshd", "secret": True}]
    policy = triples.policy({"config": said, "health": "true", "window": "02:00-05:00"})
    assert policy.health == "true"
    assert policy.rule("/etc/hosts").policy is Choice.OURS
    assert policy.rule("/etc/ssh/sshd_config") == Rule("/etc/ssh/*", Choice.MERGE, True, "sshd")
    assert policy.rule("/usr/share/x").policy is Choice.MERGE


@pytest.mark.parametrize(
    "said",
    [
        {"config": {}},
        {"config": [7]},
        {"config": [{}]},
        {"config": [{"path": "/etc/x", "policy": "maybe"}]},
        {"config": [{"path": "/etc/x", "secret": "no"}]},
        {"health": 1},
    ],
)
def test_a_policy_without_sense_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        triples.policy(said)


def test_no_policy_is_the_usual_one() -> None:
    assert triples.policy({}) == Policy()
