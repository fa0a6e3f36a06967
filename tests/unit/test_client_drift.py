"""Files that are not as their packages left them: read as little as needed, and everything in the end."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distserver_client import filedrift
from distserver_client.contents import Entry, Kind, Look, Seen, compare, parse
from distserver_client.filedrift import Differs, Local, Remembered, Scanned, Scanner
from distserver_client.origins import Open, Origins
from distserver_client.protection import Protection
from distserver_client.triples import Item

TIME = 1_700_000_000
PROTECTED = Protection(("/etc",), ("/etc/env.d",))
NAMES = st.text(st.characters(exclude_characters="\n\0", codec="utf-8"), min_size=1, max_size=12)
NUMBERS = st.integers(0, 2**33)
ENTRIES = st.one_of(
    st.builds(
        lambda name, md5, at: Entry(Kind.FILE, f"/usr/{name}x", md5=md5, mtime=at),
        NAMES, st.from_regex("[0-9a-f]{32}", fullmatch=True), NUMBERS,
    ),
    st.builds(lambda name: Entry(Kind.DIRECTORY, f"/usr/{name}"), NAMES),
)  # fmt: skip


def line(entry: Entry) -> str:
    """As portage.dblink.writeContents writes it."""
    if entry.kind is Kind.FILE:
        return f"obj {entry.path} {entry.md5} {entry.mtime}\n"
    return f"{entry.kind.value} {entry.path}\n"


@given(st.lists(ENTRIES, max_size=6))
def test_contents_are_read_as_portage_writes_them(entries: list[Entry]) -> None:
    assert list(parse("".join(map(line, entries)))) == entries


@given(st.text(max_size=60))
def test_any_text_is_read(text: str) -> None:
    list(parse(text))


def test_links_and_others_are_read() -> None:
    text = "sym /usr/lib/a b.so -> a.so 1 7\nfif /run/p\ndev /dev/x\nobj broken\nnew thing\nsym /x 5\n"
    assert list(parse(text)) == [
        Entry(Kind.LINK, "/usr/lib/a b.so", target="a.so 1"),
        Entry(Kind.PIPE, "/run/p"),
        Entry(Kind.DEVICE, "/dev/x"),
    ]


def test_a_directory_may_be_a_link_and_a_file_may_not() -> None:
    assert compare(Entry(Kind.DIRECTORY, "/lib"), Seen(Kind.LINK, target="usr/lib")) is Look.SAME
    assert compare(Entry(Kind.FILE, "/lib"), Seen(Kind.LINK)) == "a link is there"
    assert compare(Entry(Kind.LINK, "/a", target="b"), Seen(Kind.LINK, target="c")) == "points to c"


class Disk:
    """Packages that were merged into a root, as Portage records them."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def merge(self, name: str, files: dict[str, bytes]) -> None:
        record = self.root / "var/db/pkg" / name
        record.mkdir(parents=True)
        lines = []
        for path, content in files.items():
            self.lay(path, content)
            lines.append(line(Entry(Kind.FILE, path, md5=hashlib.md5(content).hexdigest(), mtime=TIME)))
        (record / "CONTENTS").write_text("".join(lines))

    def lay(self, path: str, content: bytes, at: int = TIME) -> None:
        place = self.root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        os.utime(place, (at, at))

    def scan(self, remembered: Remembered | None = None, **how: int | bool) -> tuple[Scanned, Remembered]:
        scanner = Scanner(self.root, PROTECTED, Origins(self.root), remembered or Remembered())
        for name, value in how.items():
            setattr(scanner, name, value)
        return scanner.scan(), scanner.remembered


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path)
    made.merge("a/one-1", {f"/usr/bin/one{number}": b"1" * 10 for number in range(5)})
    made.merge("a/two-1", {"/usr/lib/two": b"22", "/etc/two.conf": b"x\n", "/etc/env.d/02two": b"y\n"})
    return made


def test_what_was_changed_removed_or_replaced_is_drift_and_a_setting_is_not(disk: Disk) -> None:
    assert disk.scan()[0] == Scanned()
    disk.lay("/usr/bin/one1", b"other", TIME + 9)
    (disk.root / "usr/bin/one2").unlink()
    (disk.root / "usr/lib/two").unlink()
    (disk.root / "usr/lib/two").mkdir()
    disk.lay("/etc/two.conf", b"mine\n", TIME + 9)
    disk.lay("/etc/env.d/02two", b"mine\n", TIME + 9)
    found, _ = disk.scan()
    assert found.drift == (
        Differs("/etc/env.d/02two", "changed"),
        Differs("/usr/bin/one1", "changed"),
        Differs("/usr/bin/one2", "missing"),
        Differs("/usr/lib/two", "a directory is there"),
    )
    assert found.local == (Local("/etc/two.conf", "changed here"),)


def test_an_open_question_and_a_merge_are_told_apart_from_a_change(disk: Disk) -> None:
    disk.lay("/etc/two.conf", b"mine\n", TIME + 9)
    known = Origins(disk.root)
    scanner = Scanner(disk.root, PROTECTED, known)
    known.wait(Item("/etc/two.conf", "", "a" * 64, "b" * 64, 0o644, False, ""), here=False)
    assert isinstance(known.open["/etc/two.conf"], Open)
    assert scanner.scan().local == (Local("/etc/two.conf", "waits for an answer"),)
    known.settle("/etc/two.conf", "b" * 64)
    assert scanner.scan().local == (Local("/etc/two.conf", "merged with what was changed here"),)
    (disk.root / "etc/two.conf").unlink()
    assert Scanner(disk.root, PROTECTED, Origins(disk.root)).scan().local == (
        Local("/etc/two.conf", "removed here"),
    )


def test_a_file_that_was_only_touched_is_read_once(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.lay("/usr/bin/one1", b"1" * 10, TIME + 9)
    found, remembered = disk.scan(round_bytes=0)
    assert found == Scanned() and list(remembered.known) == ["/usr/bin/one1"]
    monkeypatch.setattr(filedrift, "read_md5", lambda place: pytest.fail(f"{place} is read again"))
    assert disk.scan(remembered, round_bytes=0)[0] == Scanned()


def test_the_round_finds_what_set_its_time_back_whatever_its_bound(disk: Disk) -> None:
    disk.lay("/usr/bin/one4", b"other", TIME)
    assert disk.scan(round_bytes=0)[0] == Scanned()
    remembered, looks = Remembered(), 0
    while True:
        found, remembered = disk.scan(remembered, round_bytes=11)
        looks += 1
        if found.drift:
            break
        assert looks < 9
    assert looks > 1 and found.drift == (Differs("/usr/bin/one4", "changed"),)
    for _ in range(9):  # what was found stays found while the round goes on
        found, remembered = disk.scan(remembered, round_bytes=11)
        assert found.drift == (Differs("/usr/bin/one4", "changed"),)
    disk.lay("/usr/bin/one4", b"1" * 10, TIME)
    found, remembered = disk.scan(remembered, round_bytes=1000)
    found, remembered = disk.scan(remembered, round_bytes=1000)
    assert found == Scanned()


def test_what_the_bound_leaves_is_counted_and_read_in_the_next_looks(disk: Disk) -> None:
    for number in range(5):
        disk.lay(f"/usr/bin/one{number}", b"changed!!!", TIME + 9)
    found, remembered = disk.scan(changed_bytes=15, round_bytes=0)
    assert (len(found.drift), found.unread) == (2, 3)
    found, remembered = disk.scan(remembered, changed_bytes=15, round_bytes=0)
    assert (len(found.drift), found.unread) == (4, 1)
    assert len(disk.scan(whole=True)[0].drift) == 5


def test_of_two_packages_that_have_a_file_one_is_enough(disk: Disk) -> None:
    disk.merge("a/three-1", {"/usr/lib/two": b"3"})
    found, _ = disk.scan(whole=True)
    assert found == Scanned()


def test_a_cut_merge_passing_files_and_marks_are_left_aside(disk: Disk) -> None:
    disk.merge("a/-MERGING-four-1", {"/usr/lib/four": b"4"})
    disk.merge("a/five-1", {"/run/five": b"5", "/var/cache/five/x": b"", "/var/lib/five/.keep_a_five-0": b""})
    for path in ("usr/lib/four", "run/five", "var/cache/five/x", "var/lib/five/.keep_a_five-0"):
        (disk.root / path).unlink()
    assert disk.scan()[0] == Scanned()


def test_what_is_remembered_comes_back_and_what_makes_no_sense_is_nothing(disk: Disk) -> None:
    disk.lay("/usr/bin/one1", b"other", TIME + 9)
    disk.lay("/etc/two.conf", b"mine\n", TIME + 9)
    found, remembered = disk.scan(changed_bytes=1, round_bytes=25)
    filedrift.save(disk.root, remembered, found)
    assert filedrift.load(disk.root) == (remembered, found)
    assert replace(remembered).known and remembered.after != ("", -1)
    for text in ("", "{", "[]", '{"known": 1}', '{"known": {"a": [1]}, "after": ["", 1]}'):
        (disk.root / filedrift.NAME).write_text(text)
        assert filedrift.load(disk.root) == (Remembered(), Scanned())
