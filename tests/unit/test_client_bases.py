"""Pristine configuration files are kept while they can be had: unchanged, or beside what was changed."""

from pathlib import Path

from buildfarm.bases import Base, write
from distserver_client import bases
from distserver_client.bases import Recorded
from distserver_client.paths import Places
from distserver_client.triples import digest

RELEASE, NEXT = "20260101-00000000000a", "20260102-00000000000b"


def lay(places: Places, release: str, files: dict[str, bytes]) -> None:
    place = places.release(release) / "bases"
    place.parent.mkdir(parents=True)
    place.write_text(write(Base(path, "app-misc/a-1-1", digest(text)) for path, text in files.items()))


def test_what_is_recorded_outlives_the_first_edit(tmp_path: Path) -> None:
    places = Places(tmp_path)
    lay(places, RELEASE, {"/etc/a b": b"one", "/etc/edited": b"two", "/etc/gone": b"three"})
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/a b").write_bytes(b"one")
    (tmp_path / "etc/edited").write_bytes(b"mine")
    (tmp_path / "etc/._cfg0000_edited").write_bytes(b"two")
    bases.record(places, RELEASE)
    (tmp_path / "etc/a b").write_bytes(b"edited later")
    recorded = Recorded(places, RELEASE, NEXT)
    assert set(recorded.installed()) == {"/etc/a b", "/etc/edited", "/etc/gone"}
    assert recorded.shipped() == {}
    contents = [recorded.content(digest(text)) for text in (b"one", b"two", b"three")]
    assert contents == [b"one", b"two", None]
    (places.bases / digest(b"one")).write_bytes(b"damaged")
    assert recorded.content(digest(b"one")) is None


def test_contents_that_no_kept_release_ships_are_forgotten(tmp_path: Path) -> None:
    places = Places(tmp_path)
    lay(places, RELEASE, {"/a": b"old", "/both": b"both"})
    lay(places, NEXT, {"/b": b"new", "/both": b"both"})
    for name, text in (("a", b"old"), ("b", b"new"), ("both", b"both")):
        (tmp_path / name).write_bytes(text)
    bases.record(places, RELEASE)
    bases.record(places, NEXT)
    bases.prune(places, NEXT)
    assert {path.read_bytes() for path in places.bases.iterdir()} == {b"new", b"both"}


def test_a_list_of_another_form_says_nothing() -> None:
    assert bases.parse("") == bases.parse("distserver-bases 2\nx y z\n") == {}
