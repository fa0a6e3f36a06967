"""What goes through the queue: signed numbers, and nothing a stranger wrote."""

import pickle
from pathlib import Path

import pytest
from huey.registry import Message

from appliance.errors import Problem
from appliance.model import Tree
from appliance.queue import Queue, Tickets, farm_secret, open_huey, read_secret

SECRET = b"a secret of the farm that nobody else has"


class Bomb:
    """A pickle of this would write a file."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/tmp/exploded"),))  # type: ignore[return-value]


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(open_huey("sqlite", Tree(tmp_path), SECRET), "builds", lambda job, jobs: None)


def test_a_message_comes_back_as_it_was() -> None:
    message = Message("1", "appliance.builds", priority=-3, args=(7, 2), kwargs={})
    back = Tickets(SECRET).deserialize(Tickets(SECRET).serialize(message))
    assert (back.id, back.name, back.priority, back.args, back.kwargs) == (
        "1",
        "appliance.builds",
        -3,
        (7, 2),
        {},
    )


@pytest.mark.parametrize("raw", [b"", b"x", b"x" * 200, pickle.dumps(Bomb())])
def test_what_a_stranger_wrote_is_refused_and_never_run(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not signed"):
        Tickets(SECRET).deserialize(raw)
    assert not Path("/tmp/exploded").exists()


def test_another_farms_message_is_refused() -> None:
    raw = Tickets(b"another secret, of another farm altogether").serialize(Message("1", "x", args=(1,)))
    with pytest.raises(ValueError, match="not signed"):
        Tickets(SECRET).deserialize(raw)


def test_the_highest_priority_comes_first_and_strangers_are_skipped(queue: Queue) -> None:
    for place, job in enumerate([11, 12, 13]):
        queue.put(job, 2, priority=place)
    queue.huey.storage.enqueue(b"rubbish", 99)
    assert queue.pending() == {11, 12, 13}
    with pytest.raises(ValueError, match="not signed"):
        queue.huey.dequeue()
    assert [queue.huey.dequeue().args for _ in range(3)] == [(13, 2), (12, 2), (11, 2)]
    assert queue.pending() == set()


def test_the_secret_is_made_once_and_for_root_alone(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    first = farm_secret(tree)
    assert farm_secret(tree) == first
    assert (tmp_path / "keys/farm.secret").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in (tmp_path / "keys").iterdir()] == ["farm.secret"]


def test_a_missing_or_short_secret_is_explained(tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"farm\.secret of the server"):
        read_secret(tmp_path / "none")
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(Problem, match="3 characters"):
        read_secret(tmp_path / "short")
