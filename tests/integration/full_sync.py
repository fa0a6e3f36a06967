"""Synchronises on a file system that is full, and then on one that is not any more.

Run as `full_sync.py DIRECTORY` in a mount namespace of its own; prints `held` when all of it did.
"""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from appliance.desks.sync import SyncDesk
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import run
from appliance.store import Store
from buildfarm.survey import CACHE, md5, survey
from tests.integration.mirrors import TINY

SITE = 'name = "test"\n[[repository]]\nname = "tiny"\nsync = "git"\nuri = "file://{source}"\n'
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]


def commit(source: Path) -> None:
    """A change that does not shrink, with the metadata cache that goes with the tree."""
    (source / "noise").write_bytes(os.urandom(300_000))
    run([*GIT, "-C", source, "add", "--all"])
    run([*GIT, "-C", source, "commit", "--quiet", "-m", "state"])


def make_source(source: Path) -> None:
    shutil.copytree(TINY, source)
    used = "\t".join(word for pair in survey(source).eclasses.items() for word in pair)
    for ebuild in source.glob("*/*/*.ebuild"):
        entry = source / CACHE / ebuild.parent.parent.name / ebuild.stem
        entry.parent.mkdir(parents=True, exist_ok=True)
        entry.write_text(f"EAPI=8\n_eclasses_={used}\n_md5_={md5(ebuild)}\n")
    run([*GIT, "init", "--quiet", source])
    commit(source)


def main(place: Path) -> None:
    source, state = place / "source", place / "state"
    make_source(source)
    site = Path(shutil.copytree(example_site(), place / "site"))
    (site / "appliance.toml").write_text(SITE.format(source=source))
    state.mkdir()
    run(["mount", "-n", "-t", "tmpfs", "-o", "size=4m", "tmpfs", state])
    # The store may be on another disk; what a full one does to SQLite is not asked here.
    desk = SyncDesk(LiveSite(site), Tree(state), Store(place / "store.sqlite"), lambda: 1000.0)
    assert [one.problem for one in desk.sync()] == [""]
    before = desk.snapshots(desk.live.now())
    for room in (0, 200_000, 400_000):
        commit(source)
        with suppress(OSError), (state / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        os.truncate(state / "filler", max(0, (state / "filler").stat().st_size - room))
        (outcome,) = desk.sync()
        assert outcome.problem, room
        assert desk.snapshots(desk.live.now()) == before
        run(["unsquashfs", "-l", before[0].image])
        (state / "filler").unlink()
        assert [one.problem for one in desk.sync()] == [""]
        after = desk.snapshots(desk.live.now())
        assert after != before
        before[0].image.unlink()
        before = after
    print("held")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
