"""The agent's files: from a real server, whole or not there; and a boot menu that always names a kernel."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from distserver_client import journal, keeping
from distserver_client.agent import Agent
from distserver_client.errors import Away, Damaged, Problem
from distserver_client.fetching import Fetcher, Throttle
from distserver_client.journal import Journal, State
from distserver_client.manifest import Item
from distserver_client.paths import Places

CONTENT = bytes(range(256)) * 1024


class Handler(SimpleHTTPRequestHandler):
    """Ranges, and the first `cut` answers end in their middle."""

    def __init__(self, cuts: list[int], seen: list[str], *args: object, **words: object) -> None:
        self.cuts, self.seen = cuts, seen
        super().__init__(*args, **words)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.seen.append(f"{self.path} {start}")
        place = Path(self.directory) / self.path.strip("/")
        if not place.is_file():
            self.send_error(404)
            return
        body = place.read_bytes()[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def serving(place: Path, cuts: list[int], seen: list[str]) -> Iterator[str]:
    handler = partial(Handler, cuts, seen, directory=str(place))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def fetcher(url: str, rate: float = 0.0, slept: list[float] | None = None) -> Fetcher:
    notes = [] if slept is None else slept
    return Fetcher(url, Throttle(rate, clock=lambda: 0.0, sleep=notes.append), sleep=lambda _: None)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a").write_bytes(CONTENT)
    return tmp_path / "served"


ITEM = Item("a", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())


def test_a_transfer_that_is_cut_off_goes_on_where_it_was(files: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    with serving(files, [1000, 5000], seen) as url:
        one = fetcher(url)
        one.item("/a", ITEM, tmp_path / "got/a")
        one.item("/a", ITEM, tmp_path / "got/a")
    assert (tmp_path / "got/a").read_bytes() == CONTENT
    assert seen == ["/a 0", "/a 1000", "/a 6000"]
    assert one.received_bytes == len(CONTENT)
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["a"]


def test_what_is_not_as_promised_is_fetched_once_more_and_then_removed(files: Path, tmp_path: Path) -> None:
    (files / "a").write_bytes(CONTENT[:-1] + b"x")
    seen: list[str] = []
    with serving(files, [], seen) as url, pytest.raises(Damaged, match="is not what the signed manifest"):
        fetcher(url).item("/a", ITEM, tmp_path / "got/a")
    assert seen == ["/a 0", "/a 0"]
    assert not list((tmp_path / "got").iterdir())


def test_a_part_of_something_else_is_not_kept(files: Path, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"y" * 100)
    with serving(files, [], []) as url:
        fetcher(url).item("/a", ITEM, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_no_more_comes_in_a_second_than_is_allowed(files: Path, tmp_path: Path) -> None:
    slept: list[float] = []
    with serving(files, [], []) as url:
        fetcher(url, rate=1000.0, slept=slept).item("/a", ITEM, tmp_path / "a")
    assert slept[-1] == pytest.approx(len(CONTENT) / 1000.0)


def test_a_server_that_is_away_and_a_file_that_is_not_there_are_two_things(
    files: Path, tmp_path: Path
) -> None:
    with serving(files, [], []) as url:
        with pytest.raises(Problem, match="404") as missing:
            fetcher(url).small("/b")
        assert not isinstance(missing.value, Away)
    with pytest.raises(Away, match="does not answer"):
        fetcher(url).small("/a")


def test_a_disk_without_room_is_said_before_anything_is_written(files: Path, tmp_path: Path) -> None:
    huge = Item("a", 1 << 60, ITEM.sha256)
    with serving(files, [], []) as url, pytest.raises(Problem, match="have to stay free"):
        fetcher(url).item("/a", huge, tmp_path / "got/a")
    assert not list((tmp_path / "got").iterdir())


def test_only_packages_of_a_kept_release_are_fetched_for_portage(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no package of a release"):
        keeping.fetch_package(
            Places(tmp_path), fetcher("http://127.0.0.1:1"), "http://x/evil", tmp_path / "f"
        )


def test_what_the_agent_remembers_is_read_again_as_it_was(tmp_path: Path) -> None:
    places = Places(tmp_path)
    with pytest.raises(Problem, match="does not know its release"):
        journal.read_state(places)
    state, under_way = State("r", 3, "s", "why"), Journal("a", "b", ("x",), "y", 2, "w", True, {"x": 1.5}, 9)
    journal.write_state(places, state)
    journal.write_journal(places, under_way)
    assert (journal.read_state(places), journal.read_journal(places)) == (state, under_way)
    assert Agent(places).is_half_done()
    journal.write_journal(places, replace(under_way, dirty=False))
    assert not Agent(places).is_half_done()
    journal.drop_journal(places)
    assert not Agent(places).is_half_done()
    assert journal.read_journal(places) is None
