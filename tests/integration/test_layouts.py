"""Disk layouts that the real installer makes in a virtual machine, which then starts from its disks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildfarm.installer import decompress
from tests.layouts.__main__ import make_key
from tests.layouts.catalogue import RAID_LVM, XFS_HOME, Layout
from tests.layouts.installing import Yard, go_through, yard


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    place = tmp_path_factory.mktemp("layouts")
    make_key(place / "keys")
    with yard(place, place / "keys") as made:
        yield made


def test_the_programs_of_a_release_come_with_their_own_loader(there: Yard) -> None:
    archive = decompress((there.place / "storage").read_bytes())
    for name in (b"bin/mdadm", b"bin/lvm", b"bin/cryptsetup", b"lib/ld-linux-x86-64.so.2", b"init"):
        assert b"usr/lib/storage/" + name + b"\0" in archive


@pytest.mark.parametrize("layout", [RAID_LVM, XFS_HOME], ids=lambda one: one.name)
def test_a_layout_is_installed_and_starts_from_its_disks(there: Yard, layout: Layout, tmp_path: Path) -> None:
    """`make layouts` does this with all of them."""
    assert list(go_through(there, layout, tmp_path))
