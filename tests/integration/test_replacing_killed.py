"""A replacement of live files that is killed at each of its system calls."""

import re
import shutil
from pathlib import Path

from distserver_client import origins, places, replacing
from distserver_client.places import Metadata
from distserver_client.snapshots import Phase, Store
from distserver_client.triples import digest
from tests.etc_machines import BOTH, CLASH, LIVE, MINE, NEW, OLD, Machine
from tests.killing import killed_at_each, written
from tests.replacements import AFTER, BEFORE, CHANGES, NOTE, contents, lay, nothing, store, strays, whole

STEPS = ("fchown", "fsetxattr", "fchmod", "fsync")
"""In this order: to change the owner takes capabilities and set-user-ID bits away."""
NAMES = ("rename", "unlink")
"""What changes the names that others see; all else goes on in files that have none yet."""
ASKED, STAYS = "/etc/conf.d/asked", "/etc/conf.d/stays"


def check(root: Path) -> None:
    """Each live path is wholly old or wholly new, with its metadata."""
    for name, content in contents(root).items():
        assert content in (BEFORE.get(name), AFTER.get(name))
    assert places.describe(root / "etc/a") == Metadata(0o640, 12, 34, {NOTE: b"kept"})


def test_killed_at_every_system_call_of_a_replacement(tmp_path: Path) -> None:
    ends = set()
    met: set[str] = set()
    points = 0
    for point, root in killed_at_each(lay, whole, tmp_path):
        met.add(point.partition(" ")[2])
        check(root)
        states = [one.phase for one in store(root).records()] if store(root).journal.exists() else []
        replacing.recover(root, store(root), nothing)
        forward = Phase.COMMITTED in states or Phase.FINISHED in states
        assert contents(root) == (AFTER if forward else BEFORE), point
        assert (root / "etc/._cfg0000_a").exists() is not forward, point
        assert not strays(root), point
        assert replacing.recover(root, store(root), nothing) == []
        check(root)
        ends.add(forward)
        points += 1
        shutil.rmtree(root)
    assert ends == {True, False}
    assert points > 100
    assert {*STEPS, "openat", "write", "rename", "unlink", "mkdir"} <= met


def test_what_the_disk_has_is_never_newer_than_what_it_needs(tmp_path: Path) -> None:
    """A kill leaves what the kernel was told, a power cut may not: so the order of fsync is looked at."""
    lay(tmp_path)
    said = [line for line in written(lambda: whole(tmp_path), tmp_path).splitlines() if "= -1" not in line]
    renames = [at for at, line in enumerate(said) if line.startswith("rename(") and "/etc/" in line]
    assert len(renames) == 3
    for at in renames:
        part, live = re.findall(r'"([^"]+)"', said[at])
        of_part = [line.partition("(")[0] for line in said[:at] if f"<{part}>" in line]
        # All that it is to be, in this order, and then on the disk before it has the name.
        steps = [name for name in of_part if name in STEPS]
        assert steps == (list(STEPS) if live.endswith("/a") else [one for one in STEPS if "xattr" not in one])
        assert of_part.index("write") < of_part.index("fchown") < of_part.index("fsync")
        rest = said[at + 1 :]
        journal = next(n for n, line in enumerate(rest) if line.startswith("rename(") and ".json" in line)
        assert any(line.startswith("fsync(") and f"<{tmp_path}/etc>" in line for line in rest[:journal])
    # The journal and what it names are there before the first of them.
    before = said[: renames[0]]
    kept = [line for line in before if line.startswith("rename(") and "/snapshots/" in line]
    begun = [at for at, line in enumerate(before) if line.startswith("rename(") and ".json" in line]
    assert len(kept) == 2 and len(begun) == 1
    synced = [line for line in before[begun[0] :] if line.startswith("fsync(") and "/replacements>" in line]
    assert synced


def lay_update(root: Path) -> None:
    """One file that merges, one that is asked, one of which ours stays; and what was offered before."""
    (root / "etc").mkdir()
    machine = Machine(root)
    machine.update(OLD, MINE, NEW)
    machine.update(OLD, MINE, CLASH, ASKED)
    machine.update(OLD, MINE, OLD, STAYS)
    machine.lay("/etc/conf.d/._cfg0001_thing", NEW)
    machine.shelf.contents[digest(NEW)] = NEW


def machine_of(root: Path) -> Machine:
    """The same one after a crash: of what is in memory it knows what was on its disk before."""
    machine = Machine(root)
    names = {LIVE: NEW, ASKED: CLASH, STAYS: OLD}
    machine.shelf.before = {**dict.fromkeys(names, digest(OLD)), "/etc/other": digest(b"")}
    machine.shelf.after = {path: digest(theirs) for path, theirs in names.items()}
    machine.shelf.contents = {digest(one): one for one in (OLD, NEW, CLASH)}
    return machine


def test_settling_that_is_killed_at_every_change_ends_as_if_it_was_not(tmp_path: Path) -> None:
    points = 0
    for point, root in killed_at_each(lay_update, lambda root: machine_of(root).settle(), tmp_path, NAMES):
        machine = machine_of(root)
        assert machine.read() in (MINE, BOTH), point
        assert (machine.read(ASKED), machine.read(STAYS)) == (MINE, MINE), point
        machine.settle()
        settled = machine.settle()
        assert (machine.read(), [one.path for one in settled.asked]) == (BOTH, [ASKED]), point
        assert settled.applied == settled.failed == ()
        assert machine.names("/etc/conf.d") == ["._cfg0000_asked", "asked", "stays", "thing"], point
        assert {one.phase for one in Store(machine.state).records()} <= {Phase.FINISHED, Phase.REVERTED}
        assert origins.load(machine.state).done == {LIVE: digest(NEW), STAYS: digest(OLD)}, point
        points += 1
        shutil.rmtree(root)
    assert points > 20


def half_done(root: Path) -> None:
    lay(root)
    replacing.replace(root, store(root), CHANGES[:1])


def test_killed_at_every_system_call_of_a_recovery(tmp_path: Path) -> None:
    def work(root: Path) -> None:
        replacing.recover(root, store(root), nothing)

    for point, root in killed_at_each(half_done, work, tmp_path):
        check(root)
        work(root)
        assert contents(root) == BEFORE, point
        assert not strays(root), point
        shutil.rmtree(root)
