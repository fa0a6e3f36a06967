"""Live files are replaced: metadata stays, groups stand together, and nothing is half done after a kill."""

from collections.abc import Sequence
from dataclasses import replace as with_other
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.run import run
from distserver_client import places, replacing, snapshots
from distserver_client.places import Metadata
from distserver_client.replacing import Change, Refused
from distserver_client.snapshots import MOVES, Phase, Record, Step, Store
from distserver_client.threeway import LEFT_OVER
from distserver_client.triples import ABSENT, Kind, Version
from tests.replacements import (
    AFTER,
    BEFORE,
    CHANGES,
    NEW,
    OLD,
    contents,
    file,
    lay,
    nothing,
    store,
    strays,
    whole,
)

NOWHERE = Path("/nonexistent")
MARKERS = (b"<<<<<<<", b"<<<<<<< ours", b">>>>>>> x", b"||||||| base", b"<<<<<<<\r")


def test_content_changes_and_metadata_stays(tmp_path: Path) -> None:
    lay(tmp_path)
    run(["setfacl", "-m", "u:12:r,g:99:rw", tmp_path / "etc/a"])
    before = places.describe(tmp_path / "etc/a")
    assert "system.posix_acl_access" in before.attributes
    whole(tmp_path)
    assert contents(tmp_path) == AFTER
    assert places.describe(tmp_path / "etc/a") == before
    assert (tmp_path / "etc/made").stat().st_mode & 0o7777 == 0o600
    assert not (tmp_path / "etc/._cfg0000_a").exists()
    assert not strays(tmp_path)


def test_it_can_be_put_back(tmp_path: Path) -> None:
    lay(tmp_path)
    before = places.describe(tmp_path / "etc/a")
    whole(tmp_path)
    (record,) = store(tmp_path).records()
    assert record.phase is Phase.FINISHED
    assert replacing.revert(tmp_path, store(tmp_path), record) == []
    assert contents(tmp_path) == BEFORE
    assert places.describe(tmp_path / "etc/a") == before


def test_what_somebody_changed_since_is_not_put_back(tmp_path: Path) -> None:
    lay(tmp_path)
    whole(tmp_path)
    (tmp_path / "etc/b").write_bytes(b"by hand\n")
    (record,) = store(tmp_path).records()
    assert replacing.revert(tmp_path, store(tmp_path), record) == ["/etc/b"]
    assert contents(tmp_path) == {**BEFORE, "b": b"by hand\n"}


def test_what_changed_since_it_was_decided_is_left_alone(tmp_path: Path) -> None:
    lay(tmp_path)
    (tmp_path / "etc/b").write_bytes(b"by hand\n")
    with pytest.raises(Refused, match="changed while"):
        replacing.replace(tmp_path, store(tmp_path), CHANGES)
    assert contents(tmp_path) == {**BEFORE, "b": b"by hand\n"}


@pytest.mark.parametrize("change", CHANGES[:3], ids=["a", "b", "gone"])
def test_what_changes_while_it_is_replaced_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """Somebody saves the file after it was looked at, and before the new one takes its name."""
    lay(tmp_path)
    begin = Store.begin

    def late(self: Store, steps: Sequence[Step], service: str = "") -> Record:
        (tmp_path / change.path.lstrip("/")).write_bytes(b"by hand\n")
        return begin(self, steps, service)

    monkeypatch.setattr(Store, "begin", late)
    with pytest.raises(Refused, match="changed at the last moment"):
        replacing.replace(tmp_path, store(tmp_path), CHANGES)
    assert contents(tmp_path) == {**BEFORE, Path(change.path).name: b"by hand\n"}
    assert not strays(tmp_path)


@given(
    st.sampled_from([b"<<<<<<<", b"<<<<<<< ours", b">>>>>>> x", b"||||||| base", b"<<<<<<<\r"]), st.binary()
)
@settings(deadline=None, max_examples=50)
def test_a_conflict_marker_never_reaches_a_live_path(marker: bytes, around: bytes) -> None:
    content = around + b"\n" + marker + b"\n" + around
    assert LEFT_OVER.search(content)
    with pytest.raises(Refused, match="conflict marker"):
        replacing.replace(
            Path("/nonexistent"), Store(Path("/nonexistent")), [Change("/etc/x", ABSENT, file(content))]
        )


def test_a_link_and_a_file_change_places(tmp_path: Path) -> None:
    lay(tmp_path)
    (tmp_path / "etc/link").symlink_to("a")
    changes = [
        Change("/etc/link", Version(Kind.LINK, b"a"), file(NEW, 0o644), like=Metadata(0o600, 1, 2)),
        Change("/etc/b", file(OLD), Version(Kind.LINK, b"../x")),
    ]
    record = replacing.replace(tmp_path, store(tmp_path), changes)
    assert places.describe(tmp_path / "etc/link") == Metadata(0o600, 1, 2)
    assert (tmp_path / "etc/b").readlink() == Path("../x")
    replacing.revert(tmp_path, store(tmp_path), record)
    assert (tmp_path / "etc/link").readlink() == Path("a")
    assert contents(tmp_path) == BEFORE


def test_an_immutable_file_keeps_the_whole_group(tmp_path: Path) -> None:
    lay(tmp_path)
    run(["chattr", "+i", tmp_path / "etc/b"])
    try:
        with pytest.raises(Refused, match="lsattr") as refused:
            replacing.replace(tmp_path, store(tmp_path), CHANGES)
    finally:
        run(["chattr", "-i", tmp_path / "etc/b"])
    assert refused.value.path == "/etc/b"
    assert contents(tmp_path) == BEFORE
    assert not strays(tmp_path)


def mounted(root: Path, options: str) -> None:
    """A small file system of its own at etc."""
    (root / "etc").mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", root / "etc"])


def test_a_read_only_file_system_changes_nothing(tmp_path: Path) -> None:
    mounted(tmp_path, "size=1m")
    try:
        (tmp_path / "etc/a").write_bytes(OLD)
        run(["mount", "-o", "remount,ro", tmp_path / "etc"])
        with pytest.raises(Refused, match="read-only"):
            replacing.replace(tmp_path, store(tmp_path), CHANGES[:1])
        assert (tmp_path / "etc/a").read_bytes() == OLD
    finally:
        run(["umount", tmp_path / "etc"])


def test_a_full_file_system_changes_nothing(tmp_path: Path) -> None:
    mounted(tmp_path, "size=64k")
    try:
        for name in ("a", "b"):
            (tmp_path / f"etc/{name}").write_bytes(OLD)
        # The first fits, the second does not: both are old.
        big = (b"x" * 99 + b"\n") * 500
        changes = [CHANGES[0], Change("/etc/b", file(OLD), file(big))]
        with pytest.raises(Refused, match="full"):
            replacing.replace(tmp_path, store(tmp_path), changes)
        assert contents(tmp_path) == {"a": OLD, "b": OLD}
        assert not strays(tmp_path)
    finally:
        run(["umount", tmp_path / "etc"])


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "etc/a").mkdir(parents=True)
    with pytest.raises(Refused, match="directory"):
        replacing.replace(tmp_path, store(tmp_path), [Change("/etc/a", Version(Kind.DIRECTORY), file(NEW))])


def test_illegal_moves_of_a_record(tmp_path: Path) -> None:
    lay(tmp_path)
    record = replacing.replace(tmp_path, store(tmp_path), CHANGES)
    for old in Phase:
        for new in Phase:
            if (old, new) not in MOVES:
                with pytest.raises(ValueError, match="cannot become"):
                    store(tmp_path).move(with_other(record, phase=old), new)


def test_old_snapshots_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "KEPT", 1)
    lay(tmp_path)
    here = store(tmp_path)
    whole(tmp_path)
    (tmp_path / "etc/b").write_bytes(b"other\n")
    record = replacing.replace(tmp_path, here, [Change("/etc/b", file(b"other\n"), file(NEW))])
    needed = here.keep(b"needed\n")
    here.keep(b"not named\n")
    replacing.commit(tmp_path, here, record, nothing)
    here.prune([needed])
    assert [one.name for one in here.records()] == [record.name]
    kept = {here.content(one.name) for one in here.contents.iterdir()}
    assert kept == {b"other\n", NEW, b"needed\n"}


def test_links_are_followed_inside_the_root(tmp_path: Path) -> None:
    (tmp_path / "etc/real").mkdir(parents=True)
    (tmp_path / "etc/real/file").touch()
    (tmp_path / "etc/absolute").symlink_to("/etc/real")
    (tmp_path / "etc/up").symlink_to("../../../../etc/absolute/file")
    (tmp_path / "etc/round").symlink_to("round")
    assert places.resolve(tmp_path, "/etc/absolute/file") == "/etc/real/file"
    assert places.resolve(tmp_path, "/etc/up") == "/etc/real/file"
    assert places.resolve(tmp_path, "/etc/real/../not/there") == "/etc/not/there"
    with pytest.raises(OSError, match="symbolic"):
        places.resolve(tmp_path, "/etc/round")
