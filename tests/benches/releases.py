"""Readers during publications and rollbacks, and machines that follow a rollback with real Portage."""

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from appliance.demo import cache
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.site_model import StageSource
from buildfarm import stage
from buildfarm.signing import Signer
from tests.benches.yard import Emit, say
from tests.integration.farmyard import Farmyard
from tests.portage_client import PortageClient, offered
from tests.press import Press
from tests.readers import Links, Seen, link_server, read_links, read_release, release_server, serving

MOVES = 50
CLIENTS = 3
PEER = "links switched one by one"


def run(emit: Emit) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-releases-") as name:
        mixed_generations(Path(name), emit)
        rollback(Path(name), emit)


def mixed_generations(place: Path, emit: Emit) -> None:
    """The same reader, with a move after each of its requests, against releases and against links."""
    ours, theirs = hammer_releases(place / "ours"), hammer_links(place / "theirs")
    say(f"{len(ours.mixed)} of {ours.rounds} rounds mixed; links: {len(theirs.mixed)} of {theirs.rounds}")
    emit(
        "farm",
        "mixed-generations",
        PEER,
        ours=len(ours.mixed),
        theirs=len(theirs.mixed),
        unit=f"rounds in {MOVES} publications and rollbacks",
        goal="0",
    )


def hammer_releases(place: Path) -> Seen:
    press = _press(place, Tree(place / "state"))
    press.published(b"first", b"all")
    seen, numbers = Seen(), itertools.count(1)

    def move() -> None:
        number = next(numbers)
        if number > MOVES:
            return
        if number % 3 == 0:
            press.desk().rollback("vm", who="bench")
        else:
            press.published(f"own {number}".encode(), b"all")

    with serving(release_server(press)) as url:
        _until_moved(lambda: read_release(url, press.notary, seen, move, place), press)
    return seen


def _until_moved(read: Callable[[], None], press: Press) -> None:
    while len(press.desk().history("vm", "stable")) <= MOVES:
        read()


def hammer_links(place: Path) -> Seen:
    links, seen, numbers = Links(place), Seen(), itertools.count(1)
    for generation in range(MOVES + 1):
        links.make(generation)
    links.publish(0)
    moved = [0]

    def move() -> None:
        moved[0] = next(numbers)
        if moved[0] <= MOVES:
            links.publish(moved[0])

    with serving(link_server(links.live)) as url:
        while moved[0] <= MOVES:
            read_links(url, seen, move)
    return seen


def rollback(place: Path, emit: Emit) -> None:
    """Machines update to a release, and back after a rollback: how many have the old packages again."""
    kept = Tree(cache() / "state")
    build, install = (
        stage.acquire(StageSource(f"reference:{variant}"), kept, say) for variant in ("build", "install")
    )
    farm = Farmyard.make(place / "farm", build, install)
    press = _press(place / "press", farm.tree)
    releases = farm.tree.room("releases")
    clients = [PortageClient(place / f"client{number}", install.root, releases) for number in range(CLIENTS)]

    def publish() -> str:
        result = farm.build()
        assert result.release, result.reasons
        press.desk().publish(result.release, origins=result.origins)
        return result.release.id

    def follow(url: str) -> list[bool]:
        followed = [(client, client.follow(url, farm.name, press.notary)) for client in clients]
        return [client.installed() == offered(releases, release) for client, release in followed]

    first = publish()
    with serving(release_server(press)) as url:
        follow(url)
        source = farm.repository / "app-misc/witness/files/witness.c"
        source.write_text(source.read_text().replace('"witness"', '"another witness"'))
        publish()
        follow(url)
        press.desk().rollback(farm.name, who="bench")
        back = follow(url)
        have = [client.installed() == offered(releases, first) for client in clients]
    converged = sum(one and other for one, other in zip(back, have, strict=True))
    say(f"{converged} of {CLIENTS} machines have the packages of {first} again")
    peer = "all clients that were updated before"
    emit("farm", "rollback", peer, ours=converged, theirs=CLIENTS, unit="clients converged", goal="1.0")


def _press(place: Path, tree: Tree) -> Press:
    site = Path(shutil.copytree(example_site(), place / "site"))
    return Press(tree, site, Signer(tree.room("keys")))
