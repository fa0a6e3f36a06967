"""Readers during publications and rollbacks, over real HTTP: nobody sees parts of two releases."""

import itertools
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance import statement
from appliance.channels import STABLE
from appliance.model import Tree
from appliance.overlays import example_site
from buildfarm.signing import Signer
from tests.fake_notary import FakeNotary
from tests.press import Press
from tests.readers import Links, Seen, fetch, link_server, read_links, read_release, release_server, serving

MOVES = 50


@pytest.fixture
def press(tmp_path: Path) -> Press:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Press(Tree(tmp_path / "state"), site, Signer(tmp_path / "state" / "keys"))


def moves(press: Press) -> Iterator[Callable[[], object]]:
    """Publications and, after each two, a rollback."""
    for number in itertools.count():
        if number % 3 == 2:
            yield lambda: press.desk().rollback("vm", who="ann")
        else:
            yield lambda number=number: press.published(f"own {number}".encode(), b"all")  # type: ignore[misc]


def test_a_move_between_any_two_requests_of_a_client_mixes_nothing(press: Press, tmp_path: Path) -> None:
    """The channel moves after every single request of the client."""
    press.published(b"first", b"all")
    upcoming, moved, seen = moves(press), [0], Seen()

    def move() -> None:
        if moved[0] < MOVES:
            moved[0] += 1
            next(upcoming)()

    with serving(release_server(press)) as url:
        while moved[0] < MOVES:
            read_release(url, press.notary, seen, move, tmp_path)
    assert seen.mixed == []
    assert moved[0] == MOVES
    assert len(seen.releases) > 5


def test_links_that_are_switched_one_by_one_do_mix(tmp_path: Path) -> None:
    """The contrast, so that the reader is known to see it."""
    links, moved, seen = Links(tmp_path), [0], Seen()
    for generation in range(MOVES + 1):
        links.make(generation)
    links.publish(0)

    def move() -> None:
        if moved[0] < MOVES:
            moved[0] += 1
            links.publish(moved[0])

    with serving(link_server(links.live)) as url:
        while moved[0] < MOVES:
            read_links(url, seen, move)
    assert len(seen.mixed) > MOVES // 8


def test_clients_that_hammer_while_it_is_published_and_rolled_back_see_whole_releases(
    press: Press, tmp_path: Path
) -> None:
    press.published(b"first", b"all")
    done = threading.Event()
    readers = [Seen() for _ in range(2)]
    rounds = threading.Condition()

    def hammer(number: int, seen: Seen) -> None:
        scratch = tmp_path / f"reader{number}"
        scratch.mkdir()
        while not done.is_set():
            read_release(url, press.notary, seen, lambda: None, scratch)
            with rounds:
                rounds.notify_all()

    upcoming = moves(press)
    with serving(release_server(press)) as url:
        threads = [threading.Thread(target=hammer, args=one) for one in enumerate(readers)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(MOVES):
                before = sum(seen.rounds for seen in readers)
                next(upcoming)()
                with rounds:
                    assert rounds.wait_for(lambda: sum(seen.rounds for seen in readers) > before, timeout=60)  # noqa: B023
        finally:
            done.set()
            for thread in threads:
                thread.join()
    assert [seen.mixed for seen in readers] == [[], []]
    assert len(set().union(*(seen.releases for seen in readers))) > MOVES // 4
    said = press.channels().get("vm", STABLE)
    assert said is not None
    assert said.serial == MOVES + 1


def test_a_release_that_is_being_sealed_cannot_be_reached_by_any_url(press: Press, tmp_path: Path) -> None:
    sealed = press.published(b"first")
    releases = press.tree.room("releases")
    shutil.copytree(releases / sealed.id, releases / f"{sealed.id}.partial")
    with serving(release_server(press)) as url:
        assert fetch(f"{url}/r/{sealed.id}/manifest")
        for path in (
            f"/r/{sealed.id}.partial/manifest",
            f"/r/{sealed.id}%2epartial/manifest",
            f"/r/{sealed.id}/../{sealed.id}.partial/manifest",
            f"/r/{sealed.id}.partial/pool/ab/x.gpkg.tar",
            f"/r/.//{sealed.id}.partial//manifest",
        ):
            with pytest.raises(OSError, match="404"):
                fetch(url + path)


def test_a_release_with_an_altered_manifest_is_not_served_any_more(press: Press) -> None:
    one, two = press.published(b"first"), press.published(b"second")
    file = press.tree.room("releases") / two.id / "manifest"
    text = file.read_bytes()
    file.write_bytes(text.replace(b"arch amd64", b"arch amd65"))
    (found,) = press.desk().start(deep=False)
    assert f"release {two.id} does not verify and is not served: its manifest cannot be believed" in found
    with serving(release_server(press)) as url:
        assert fetch(f"{url}/r/{one.id}/kernel")
        for name in ("manifest", "kernel", "Packages"):
            with pytest.raises(OSError, match="404"):
                fetch(f"{url}/r/{two.id}/{name}")


def test_what_a_stranger_signed_is_served_by_nobody(press: Press) -> None:
    press.published(b"first")
    file = press.tree.path / "channels/vm/stable"
    said = press.channels().get("vm", STABLE)
    assert said is not None
    with serving(release_server(press)) as url:
        assert fetch(f"{url}/c/vm/stable") == file.read_bytes()
        file.write_bytes(FakeNotary().clearsign(statement.write(said)))
        with pytest.raises(OSError, match="404"):
            fetch(f"{url}/c/vm/stable")
