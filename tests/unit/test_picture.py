"""The picture of an installation: its bars lie on one axis, and updates of later days do not replace it."""

from appliance.model import Event
from webui.picture import LEAST, WIDTH, draw, draw_update

MAC = "52:54:00:00:00:01"
DAY = 86400.0


def event(at: float, stage: str, seconds: float, status: str = "done") -> Event:
    return Event(MAC, at, stage, status, seconds, 1_000_000)


INSTALLED = [event(10.0, "discover", 0.0), event(14.0, "stage", 4.0), event(20.0, "packages", 6.0)]


def test_bars_follow_one_another_and_the_shortest_and_last_ones_are_seen() -> None:
    picture = draw([*INSTALLED, event(20.0, "done", 0.0)], now=30.0)
    assert [bar.stage for bar in picture.bars] == ["discover", "stage", "packages", "done"]
    assert [bar.left for bar in picture.bars[:3]] == [0.0, 0.0, 400.0]
    assert all(bar.width >= LEAST and bar.left + bar.width <= WIDTH for bar in picture.bars)
    assert picture.seconds == 10.0


def test_an_update_of_another_day_leaves_the_picture_of_the_installation() -> None:
    before = draw(INSTALLED, now=30.0)
    assert draw([*INSTALLED, event(20.0 + DAY, "update", 1.0, "failed")], now=40.0 + DAY) == before


def test_the_last_update_has_a_picture_of_its_own_from_where_it_began() -> None:
    day = [
        event(100.0, "update", 0.0, "begin"),
        event(110.0, "update emerge", 5.0),
        event(DAY, "update", 0.0, "begin"),
        event(DAY + 4, "update packages", 4.0),
        event(DAY + 9, "update emerge", 0.0, "begin"),
    ]
    picture = draw_update([*INSTALLED, *day], now=DAY + 20)
    assert [(bar.stage, bar.state) for bar in picture.bars] == [
        ("update", "running"),
        ("packages", "done"),
        ("emerge", "running"),
    ]
    assert picture.seconds == 20.0 and draw([*INSTALLED, *day], now=DAY) == draw(INSTALLED, now=30.0)
    assert draw_update(INSTALLED, now=30.0).bars == ()


def test_nothing_that_happened_is_no_picture() -> None:
    assert draw([], now=1.0).bars == ()
