"""Adds packages and publishes releases on a file system that is full, then less and less so.

Run as `small_disk.py DIRECTORY` in a mount namespace of its own; prints a line for each part that held.
"""

import errno
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.model import Tree
from appliance.overlays import HOME, example_site
from appliance.run import run
from appliance.statement import RELEASE_ID
from buildfarm.inspection import Inspector
from buildfarm.pool import sums
from tests.fake_notary import FakeNotary
from tests.press import HOUR, Press

WITNESS = HOME / "tests/data/portage/witness-1-1.gpkg.tar"
DISK_BYTES = 2 * 2**20
STEP = 16 * 1024
BLOCK = 1024
PATIENCE = 4


def small_disk(image: Path, target: Path) -> None:
    with image.open("wb") as file:
        file.truncate(DISK_BYTES)
    run(["mkfs.ext4", "-q", "-b", str(BLOCK), "-m", "0", "-O", "^has_journal", image])
    target.mkdir(parents=True)
    run(["mount", "-n", "-o", "loop", image, target])


def fill(place: Path, left: int) -> None:
    """Use up all but about `left` bytes."""
    empty(place)
    for number in range(PATIENCE):
        # One file leaves a block or two that the next one takes.
        filler = place / f".filler{number}"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            with suppress(OSError):
                while file.write(bytes(BLOCK)):
                    pass
            os.fsync(file.fileno())
        if number == 0:
            os.truncate(filler, max(0, filler.stat().st_size - left))
            if left:
                return


def empty(place: Path) -> None:
    for filler in place.glob(".filler*"):
        filler.unlink()


def until_it_fits(place: Path, attempt: Callable[[], bool]) -> int:
    """Try with nothing left, then with more and more; how often it did not fit."""
    left = 0
    while True:
        fill(place, left)
        if attempt():
            empty(place)
            return left // STEP
        left += STEP
        assert left < DISK_BYTES


def main() -> None:
    place = Path(sys.argv[1])
    site = Path(shutil.copytree(example_site(), place / "site"))
    press = Press(Tree(place / "state"), site, FakeNotary())
    for room in ("pool", "releases", "channels"):
        small_disk(place / f"{room}.image", place / "state" / room)
    print(f"pool: {fill_pool(press, place)} times too small")
    print(f"release: {fill_releases(press)} times too small")
    print(f"channel: {fill_channels(press)} times too small")


def fill_pool(press: Press, place: Path) -> int:
    built = place / "built.gpkg.tar"
    shutil.copyfile(WITNESS, built)
    sha256 = sums(WITNESS).sha256

    def add() -> bool:
        try:
            press.pool().add(built)
        except OSError as full:
            assert full.errno == errno.ENOSPC
            assert not list(press.pool().path.glob("*/*")), "something half was left"
            assert built.read_bytes() == WITNESS.read_bytes()
            return False
        return True

    failed = until_it_fits(press.pool().path, add)
    assert failed
    assert sums(press.pool().file(sha256)).sha256 == sha256
    return failed


def fill_releases(press: Press) -> int:
    room = press.tree.room("releases")
    content = press.content((press.package("app-misc/a-1", b"a"),), kernel=os.urandom(100_000))

    def seal() -> bool:
        try:
            press.desk().publish(press.seal(content))
        except Problem as full:
            assert "does not fit on the disk" in full.message
            assert [one for one in room.iterdir() if one.is_dir() and one.name != "lost+found"] == []
            assert press.channels().all() == []
            return False
        return True

    failed = until_it_fits(room, seal)
    assert failed
    (sealed,) = (one for one in room.iterdir() if RELEASE_ID.fullmatch(one.name))
    assert Inspector(press.pool(), press.notary).reasons(sealed) == []
    assert [said.release for said in press.channels().all()] == [sealed.name]
    return failed


def fill_channels(press: Press) -> int:
    """The statement is smaller than a block: only a disk without any block left is too small for it."""
    before = press.channels().all()
    press.clock.now += HOUR
    newer: Release = press.release(b"another")

    def publish() -> bool:
        try:
            press.desk().publish(newer)
        except Problem as full:
            assert "stays where it is" in full.message
            assert press.channels().all() == before
            assert [path.name for path in (press.channels().path / "vm").iterdir()] == ["stable"]
            return False
        return True

    failed = until_it_fits(press.channels().path, publish)
    assert failed
    assert [said.release for said in press.channels().all()] == [newer.id]
    moves = press.desk().history("vm", "stable")
    assert [move.state for move in moves] == ["done", *["abandoned"] * failed, "done"]
    return failed


if __name__ == "__main__":
    main()
