"""What enters the pool, and what never does; the package is a real one, made by Portage 3.0.83."""

import tarfile
from pathlib import Path

import pytest

from appliance.errors import Problem
from buildfarm import gpkg
from buildfarm.pool import Pool, sums

WITNESS = Path(__file__).resolve().parent.parent / "data" / "portage" / "witness-1-1.gpkg.tar"


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    path = tmp_path / "witness-1-1.gpkg.tar"
    path.write_bytes(WITNESS.read_bytes())
    return path


def test_a_package_is_found_under_its_hash(pool: Pool, built: Path) -> None:
    added = pool.add(built)
    assert added == sums(WITNESS)
    assert pool.holds(added.sha256)
    assert pool.file(added.sha256).read_bytes() == WITNESS.read_bytes()
    assert pool.file(added.sha256).samefile(built)


def test_adding_the_same_bytes_again_changes_nothing(pool: Pool, built: Path, tmp_path: Path) -> None:
    first = pool.add(built)
    before = pool.file(first.sha256).stat().st_ino
    other = tmp_path / "other"
    other.write_bytes(built.read_bytes())
    assert pool.add(other) == first
    assert pool.file(first.sha256).stat().st_ino == before
    assert len(list(pool.path.rglob("*.gpkg.tar"))) == 1


@pytest.mark.parametrize("size", [0, 512, 5000, 9000])
def test_a_half_written_package_never_enters(pool: Pool, built: Path, size: int) -> None:
    built.write_bytes(WITNESS.read_bytes()[:size])
    with pytest.raises(Problem):
        pool.add(built)
    assert not pool.path.exists() or not list(pool.path.rglob("*"))


def test_a_package_whose_image_was_altered_never_enters(pool: Pool, built: Path) -> None:
    with tarfile.open(built) as archive:
        image = next(m for m in archive if "image.tar" in m.name)
    raw = bytearray(built.read_bytes())
    raw[image.offset_data + 10] ^= 1
    built.write_bytes(raw)
    with pytest.raises(Problem, match="another image"):
        pool.add(built)


def test_a_package_tells_how_it_was_compiled() -> None:
    found = gpkg.read_metadata(WITNESS, keys=["CFLAGS", "CHOST", "BUILD_TIME", "NOTHING"])
    assert found == {"CFLAGS": "-O2 -pipe", "CHOST": "x86_64-pc-linux-gnu", "BUILD_TIME": "1795337807"}


def test_a_file_of_the_image_can_be_taken_out(tmp_path: Path) -> None:
    assert gpkg.list_image(WITNESS) == ["/usr/bin/witness"]
    gpkg.extract(WITNESS, "/usr/bin/witness", tmp_path / "witness")
    assert (tmp_path / "witness").read_bytes()[:4] == b"\x7fELF"
    with pytest.raises(Problem, match="no file /boot/vmlinuz"):
        gpkg.extract(WITNESS, "/boot/vmlinuz", tmp_path / "x")
