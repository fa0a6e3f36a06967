"""Distfiles by a real emerge from our own mirror, and what is said of those that cannot be had."""

import asyncio
import hashlib
import shutil
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiohttp import web

from appliance.farm_model import Snapshot
from appliance.run import Finished, run
from appliance.site_model import FarmSettings, Repository
from buildfarm import fetching, root, snapshot
from buildfarm.distfiles import Dist
from buildfarm.fetching import Need, Place
from buildfarm.key import Recipe
from buildfarm.stage import Stage
from pxe import http
from pxe.mirror import directory
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector
from tests.integration.farmyard import TINY, Farmyard

EBUILD = """EAPI=8
inherit tiny
DESCRIPTION="Made from a distfile"
SRC_URI="http://127.0.0.1:1/{name}-1.bin"
{more}
src_install() {{
	insinto /usr/share
	doins "${{DISTDIR}}/{name}-1.bin"
}}
"""
RESTRICTED = 'RESTRICT="fetch"\nHOMEPAGE="https://example.org/restricted"'


def no_cache(name: str, tree: Path, masters: Sequence[Snapshot]) -> None:
    """Portage reads the few ebuilds themselves."""


@contextmanager
def serving(director: FakeDirector) -> Iterator[str]:
    """The boot server's HTTP part on loopback, in a thread."""
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = http.application(director, Path("/nonexistent"), Sightings())

    async def start() -> web.AppRunner:
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield url
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Scene:
    place: Place
    mirror: Path
    """What the mirror has."""
    settings: FarmSettings

    def need(self, name: str) -> Need:
        content = content_of(name)
        hashes = {"BLAKE2B": hashlib.blake2b(content).hexdigest()}
        return Need(f"app-misc/{name}-1", "tiny", (Dist(f"{name}-1.bin", len(content), hashes),))

    def fetch(self, *names: str) -> list[str]:
        wanted = [self.need(name) for name in names]
        return [str(one) for one in fetching.fetch(self.place, wanted, self.settings, say=print)]

    def fetched(self) -> list[str]:
        return sorted(path.name for path in self.place.distfiles.glob("[!.]*"))


def content_of(name: str) -> bytes:
    return name.encode() * 1000


def add_package(repository: Path, name: str, more: str = "") -> None:
    place = repository / "app-misc" / name
    place.mkdir()
    (place / f"{name}-1.ebuild").write_text(EBUILD.format(name=name, more=more))
    content = content_of(name)
    digest = hashlib.blake2b(content).hexdigest()
    (place / "Manifest").write_text(f"DIST {name}-1.bin {len(content)} BLAKE2B {digest}\n")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, build_stage: Stage, install_stage: Stage) -> Place:
    """A snapshot with packages that have distfiles, and the root that fetches them."""
    path = tmp_path_factory.mktemp("fetching")
    tree = Path(shutil.copytree(TINY, path / "tree"))
    for number in range(5):
        add_package(tree, f"fetched{number}")
    add_package(tree, "restricted", RESTRICTED)
    (path / "snapshots").mkdir()
    repository = Repository("tiny", tree)
    taken = snapshot.take(repository, path / "snapshots", regenerate=no_cache)
    profile = Farmyard(path, build_stage, install_stage).profile()
    return Place(
        layers=(build_stage.root,),
        snapshots=(taken,),
        configuration=root.configuration(profile, [repository], [taken]),
        distfiles=path / "nowhere",
        logs=path,
    )


@pytest.fixture
def scene(base: Place, tmp_path: Path) -> Iterator[Scene]:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name in (*(f"fetched{number}" for number in range(5)), "restricted"):
        (mirror / f"{name}-1.bin").write_bytes(content_of(name))
    with serving(FakeDirector(distfiles=mirror)) as url:
        place = replace(base, distfiles=tmp_path / "distfiles", logs=tmp_path)
        yield Scene(place, mirror, FarmSettings(mirrors=(url,)))


def test_emerge_fetches_from_our_mirror_by_its_layout(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="aiohttp.access"):
        assert scene.fetch(*(f"fetched{number}" for number in range(5))) == []
    assert scene.fetched() == [f"fetched{number}-1.bin" for number in range(5)]
    asked = " ".join(record.getMessage() for record in caplog.records)
    assert "GET /distfiles/layout.conf" in asked
    assert f"GET /distfiles/{directory('fetched0-1.bin')}/fetched0-1.bin" in asked
    assert (scene.place.distfiles / "fetched0-1.bin").read_bytes() == content_of("fetched0")


def test_emerge_may_open_its_own_log_again_wherever_the_kernel_protects_files(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # fs.protected_regular is the whole host's: what it looks at is looked at instead.
    looked = []

    def look(argv: Sequence[str], *, prefix: Sequence[str], **options: object) -> Finished:
        mode = run(["sh", "-c", 'stat --format=%a "$EMERGE_LOG_DIR"'], prefix=prefix)
        looked.append(mode.stdout.strip())
        return Finished(0, "")

    monkeypatch.setattr(fetching, "run", look)
    scene.fetch("fetched0")
    assert looked == ["755"]


def test_what_is_there_needs_neither_portage_nor_a_network(scene: Scene) -> None:
    assert scene.fetch("fetched0") == []
    # A root that does not exist: anything that started in it would fail.
    scene.place = replace(scene.place, layers=(Path("/nonexistent"),))
    assert scene.fetch("fetched0") == []


def test_a_changed_file_is_fetched_again(scene: Scene) -> None:
    assert scene.fetch("fetched0") == []
    file = scene.place.distfiles / "fetched0-1.bin"
    file.write_bytes(b"#" * file.stat().st_size)
    assert scene.fetch("fetched0") == []
    assert file.read_bytes() == content_of("fetched0")


def test_each_package_that_cannot_be_had_is_named_and_the_others_come(scene: Scene) -> None:
    (scene.mirror / "fetched0-1.bin").unlink()
    (scene.mirror / "fetched1-1.bin").write_bytes(b"something else")
    first, second = scene.fetch("fetched0", "fetched1", "fetched2")
    assert first.startswith("app-misc/fetched0-1: fetched0-1.bin could not be fetched")
    assert second.startswith("app-misc/fetched1-1: fetched1-1.bin could not be fetched")
    assert f"put it into {scene.place.distfiles}" in first
    assert "fetched2-1.bin" in scene.fetched()
    assert "fetched0-1.bin" not in scene.fetched()
    (scene.mirror / "fetched0-1.bin").write_bytes(content_of("fetched0"))
    assert scene.fetch("fetched0") == []


def test_a_restricted_file_is_a_sentence_for_a_person(scene: Scene) -> None:
    scene.settings = replace(scene.settings, mirrors=("http://127.0.0.1:1",))
    (said,) = scene.fetch("restricted")
    assert "restricted-1.bin may only be fetched by a person" in said
    assert "get it from https://example.org/restricted and put it into" in said
    shutil.copy(scene.mirror / "restricted-1.bin", scene.place.distfiles)
    assert scene.fetch("restricted") == []


def test_a_farm_that_may_not_fetch_says_what_it_lacks(scene: Scene) -> None:
    scene.settings = replace(scene.settings, fetch=False)
    (said,) = scene.fetch("fetched0")
    assert "fetched0-1.bin is not there, and the site says farm.fetch = false" in said
    assert scene.fetched() == []


def test_a_link_is_no_distfile(scene: Scene) -> None:
    scene.place.distfiles.mkdir()
    (scene.place.distfiles / "fetched0-1.bin").symlink_to(scene.mirror / "fetched0-1.bin")
    need = scene.need("fetched0")
    assert not fetching.is_there(scene.place.distfiles, need.dists[0])


def test_a_recipe_names_its_distfiles() -> None:
    recipe = Recipe("a/b-1", {"distfile b-1.tar": "3 BLAKE2B aa SHA512 bb", "USE": "x"})
    known = Recipe("a/c-1", {})
    (need,) = fetching.needs({"a/b-1": recipe, "a/c-1": known}, {"a/b-1": "tiny"}, {"a/c-1"})
    assert need.atom == "=a/b-1::tiny"
    assert need.dists == (Dist("b-1.tar", 3, {"BLAKE2B": "aa", "SHA512": "bb"}),)


def test_a_build_gets_what_it_compiles_and_says_what_it_lacks(
    tmp_path: Path, scene: Scene, build_stage: Stage, install_stage: Stage
) -> None:
    farm = Farmyard.make(tmp_path / "farm", build_stage, install_stage)
    for name in ("fetched0", "fetched1"):
        add_package(farm.repository, name)
    farm.settings = scene.settings
    farm.world = ("app-misc/fetched0", "app-misc/fetched1", "sys-kernel/tiny-kernel")
    (scene.mirror / "fetched1-1.bin").unlink()
    first = farm.build()
    assert first.release is None
    assert "app-misc/fetched0-1" in first.built
    (failure,) = first.failed
    assert failure.package == "app-misc/fetched1-1"
    said = [str(one) for one in farm.seen if one.step == "distfiles" and one.status == "failed"]
    assert len(said) == 1
    assert "fetched1-1.bin could not be fetched" in said[0]
