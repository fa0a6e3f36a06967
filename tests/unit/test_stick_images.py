"""Images for sticks are judged before the first write: what they are, whether they are whole."""

import hashlib
import os
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.desks.usb import expected
from appliance.errors import Problem
from iso.image_file import examine, read_medium, reading, verify
from iso.iso9660 import DIRECTORY, MORE_EXTENTS, Node, content, entries, read_volume, walk
from tests.hybrid_image import LABEL, hybrid_image, medium_files


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hybrid_image(tmp_path_factory.mktemp("image"), medium_files())


@pytest.fixture
def copy(image: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(image, tmp_path / "copy.iso"))


def check(path: Path) -> int:
    found = examine(path)
    return verify(found, expected(found), lambda done, total: None)


def change(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def test_a_medium_is_recognised_with_its_label_its_id_and_every_file(image: Path) -> None:
    found = examine(image)
    assert found.label == LABEL
    assert found.medium is not None
    assert f"distserver/id-{found.medium.id}" in found.files
    assert [profile for _, profile in found.medium.releases] == ["vm"]
    assert check(image) == sum(
        len(data) for name, data in medium_files().items() if not name.endswith(("manifest", "/medium"))
    )


def test_files_are_read_as_another_author_wrote_them(tmp_path: Path) -> None:
    """Long names continue elsewhere (CE), directories are longer than a block, Rock Ridge keeps the case."""
    many = {
        f"Directory {number % 3}/{'Long' * 30} name {number}.tar.gz": b"%d" % number for number in range(99)
    }
    files = {"a/b/c/d/e/deep": b"x" * 5000, "empty": b"", **many}
    path = hybrid_image(tmp_path, files)
    with reading(path) as (read, _):
        volume = read_volume(read)
        assert volume is not None
        found = {name: content(read, node) for name, node in walk(read, volume.root)}
    assert {name: data for name, data in found.items() if not name.startswith("boot.")} == files


def test_a_file_of_more_than_4_gib_is_read_in_all_its_pieces() -> None:
    """Records of one name with MORE_EXTENTS are pieces of one file (ECMA-119, 6.5.1)."""

    def record(block: int, size: int, flags: int) -> bytes:
        both = struct.pack("<I", block) + struct.pack(">I", block) + struct.pack("<I", size)
        body = both + struct.pack(">I", size) + bytes(7) + bytes((flags, 0, 0)) + bytes(4) + b"\5BIG;1"
        return bytes((len(body) + 2, 0)) + body

    directory = record(30, 2**32 - 2048, MORE_EXTENTS) + record(2**21 + 29, 12, 0) + record(99, 1, 0)
    root = Node("", True, ((0, len(directory)),))
    found = entries(lambda offset, size: directory[offset : offset + size], root)
    pieces = ((30 * 2048, 2**32 - 2048), ((2**21 + 29) * 2048, 12))
    assert found == [Node("big", False, pieces), Node("big", False, ((99 * 2048, 1),))]
    assert found[0].size_bytes == 2**32 - 2048 + 12


def test_directories_that_lie_in_themselves_are_read_once() -> None:
    def record(name: bytes, block: int, flags: int) -> bytes:
        body = struct.pack("<I4xI4x", block, 2048) + bytes(7) + bytes((flags,)) + bytes(6) + b"\1" + name
        return bytes((len(body) + 2, 0)) + body

    inside = b"".join(record(name, 0, DIRECTORY) for name in (b"A", b"B", b"C")) + record(b"F", 9, 0)
    root = Node("", True, ((0, 2048),))
    found = list(walk(lambda offset, size: inside.ljust(2048, b"\0")[offset : offset + size], root))
    assert found == [("f", Node("f", False, ((9 * 2048, 2048),)))]


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    for name, data in (("empty", b""), ("text", b"hello" * 9000), ("zeros", bytes(100_000))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Problem, match=f"{name} is no ISO image"):
            examine(tmp_path / name)
    with pytest.raises(Problem, match="is no file"):
        examine(tmp_path)


def test_an_image_for_cds_only_is_refused(tmp_path: Path) -> None:
    path = hybrid_image(tmp_path, medium_files(1000), hybrid=False)
    with pytest.raises(Problem, match="for CDs only"):
        examine(path)
    size = path.stat().st_size
    os.truncate(path, size - 100 * 1024)
    with pytest.raises(Problem, match=f"is cut short: it has {size - 100 * 1024} bytes, expected {size}"):
        examine(path)


@pytest.mark.parametrize("lost", [1, 511, 512, 2048, 100_000, 2_000_000, 4_000_000])
def test_an_image_that_is_cut_short_is_refused(copy: Path, lost: int) -> None:
    os.truncate(copy, copy.stat().st_size - lost)
    with pytest.raises(Problem, match="cut short"):
        examine(copy)


def test_one_flipped_byte_of_any_file_is_found_and_the_file_is_named(copy: Path) -> None:
    found = examine(copy)
    for path in expected(found):
        offset, size = found.files[path].pieces[0]
        before = copy.read_bytes()[offset + size - 1]
        change(copy, offset + size - 1, bytes((before ^ 1,)))
        with pytest.raises(Problem, match=f"damaged: {path} has another SHA-256"):
            check(copy)
        change(copy, offset + size - 1, bytes((before,)))
    assert check(copy)


def test_a_damaged_description_or_partition_table_is_refused(copy: Path, image: Path) -> None:
    found = examine(copy)
    offset, _ = found.files["distserver/medium"].pieces[0]
    for place, said in ((offset + 30, "description"), (512 + 60, "partition table"), (-500, "copy of its")):
        where = place if place > 0 else copy.stat().st_size + place
        before = image.read_bytes()[where]
        change(copy, where, bytes((before ^ 1,)))
        with pytest.raises(Problem, match=said):
            examine(copy)
        change(copy, where, bytes((before,)))


def test_a_file_that_a_manifest_names_and_the_image_lacks_is_named(tmp_path: Path) -> None:
    files = medium_files(1000)
    (package,) = (name for name in files if name.startswith("pool/"))
    del files[package]
    with pytest.raises(Problem, match=f"{package} is missing"):
        check(hybrid_image(tmp_path, files))


def test_equal_files_are_read_once(image: Path, tmp_path: Path) -> None:
    files = medium_files(1000)
    twice = hashlib.sha256(files["distserver/planner.sqfs"]).hexdigest()
    path = hybrid_image(tmp_path, files)
    found = examine(path)
    same = {"distserver/planner.sqfs": (9, twice)}
    assert verify(found, same, lambda done, total: None) == 9


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_image_is_a_problem_and_never_a_crash(image: Path, data: st.DataObject) -> None:
    """Directories, descriptors, description: any byte of them may be any other."""
    whole = bytearray(image.read_bytes()[: 200 * 2048])
    for _ in range(data.draw(st.integers(1, 20))):
        place = data.draw(st.integers(16 * 2048, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    frozen = bytes(whole)

    def read(offset: int, size: int) -> bytes:
        return frozen[offset : offset + size] if offset >= 0 else b""

    try:
        read_medium(read)
        volume = read_volume(read)
        if volume:
            assert len(list(walk(read, volume.root))) < 10_000
    except Problem:
        pass
