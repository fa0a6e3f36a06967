"""Config bases: which files are protected, and that what a package ships is kept by its content."""

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.farm_model import Package
from buildfarm import bases
from buildfarm.bases import Base, Protection, Store
from buildfarm.pool import Pool

HEADER = {
    "CONFIG_PROTECT": "/etc /usr/share/easy-rsa '/opt/my app/etc/' /etc/foo.conf",
    "CONFIG_PROTECT_MASK": "/etc/env.d /etc/ca-certificates.conf /etc/terminfo/",
}
SHADOW = b"root:*:10770:0:::::\n"


def gpkg(path: Path, files: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    """What bases read of a gpkg: an outer tar with an image."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w:xz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"image{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"image{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    with tarfile.open(path, "w") as outer:
        member = tarfile.TarInfo("a-1/image.tar.xz")
        member.size = len(image.getvalue())
        outer.addfile(member, io.BytesIO(image.getvalue()))
    return path


def put(pool: Pool, sha256: str, files: dict[str, bytes], **more: dict[str, str]) -> Package:
    pool.file(sha256).parent.mkdir(parents=True, exist_ok=True)
    gpkg(pool.file(sha256), files, **more)
    return Package(sha256, "app-misc/a-1", 3, 10, "key", 1.0, "")


@pytest.mark.parametrize(
    ("path", "covered"),
    [
        ("/etc/passwd", True),
        ("/etc/foo.conf", True),
        ("/etc", True),
        ("/etcetera/x", False),
        ("/etc/env.d/50baselayout", False),
        ("/etc/env.d.conf", True),
        ("/etc/ca-certificates.conf", False),
        ("/etc/ca-certificates.conf.d/x", True),
        ("/etc/terminfo/l/linux", False),
        ("/opt/my app/etc/x", True),
        ("/usr/share/easy-rsa/vars", True),
        ("/usr/bin/sed", False),
    ],
)
def test_protected_is_what_portage_would_protect(path: str, covered: bool) -> None:
    assert bases.protection(HEADER).covers(path) is covered


def test_the_longer_entry_wins_and_the_mask_wins_a_tie() -> None:
    assert Protection(("/etc", "/etc/env.d/keep"), ("/etc/env.d",)).covers("/etc/env.d/keep")
    assert not Protection(("/etc",), ("/etc",)).covers("/etc/x")
    assert not Protection((), ()).covers("/etc/x")


def test_only_protected_files_are_kept_and_each_content_once(tmp_path: Path) -> None:
    pool, store = Pool(tmp_path / "pool"), Store(tmp_path / "etc-base")
    store.path.mkdir()
    files = {"/etc/shadow": SHADOW, "/etc/copy": SHADOW, "/etc/env.d/x": b"x", "/usr/bin/a": b"a"}
    package = put(pool, "ab" * 32, files, links={"/etc/link": "shadow"})
    found = store.gather([package], pool, bases.protection(HEADER))
    assert [(base.path, base.package) for base in sorted(found)] == [
        ("/etc/copy", "app-misc/a-1-3"),
        ("/etc/shadow", "app-misc/a-1-3"),
    ]
    assert len({base.sha256 for base in found}) == 1
    assert store.file(found[0].sha256).read_bytes() == SHADOW
    assert [place.name for place in store.path.iterdir() if place.is_file()] == [found[0].sha256]


def test_a_package_is_unpacked_once_and_again_when_a_content_is_gone(tmp_path: Path) -> None:
    pool, store = Pool(tmp_path / "pool"), Store(tmp_path / "etc-base")
    store.path.mkdir()
    package = put(pool, "ab" * 32, {"/etc/shadow": SHADOW})
    protected = bases.protection(HEADER)
    first = store.gather([package], pool, protected)
    aside = pool.file(package.sha256).rename(tmp_path / "aside")
    assert store.gather([package], pool, protected) == first
    aside.rename(pool.file(package.sha256))
    store.file(first[0].sha256).unlink()
    assert store.gather([package], pool, protected) == first
    assert store.file(first[0].sha256).read_bytes() == SHADOW
    assert store.gather([package], pool, Protection(("/usr",), ())) == []


def test_what_is_written_is_what_is_read_and_a_line_that_is_wrong_is_named() -> None:
    some = [Base("/etc/a file", "app-misc/a-1-1", "ab" * 32), Base("/etc/b", "app-misc/b-1-1", "cd" * 32)]
    assert bases.parse(bases.write(some)) == some
    with pytest.raises(Problem, match="starts with"):
        bases.parse("x")
    with pytest.raises(Problem, match="line 2"):
        bases.parse(f"{bases.FIRST_LINE}\nx y\n")


@given(st.lists(st.tuples(st.text("ab/ ", min_size=1), st.sampled_from(["c/a-1-1", "c/b-2-1"]))))
def test_every_list_reads_back(pairs: list[tuple[str, str]]) -> None:
    some = [Base("/" + path, package, "ab" * 32) for path, package in pairs]
    assert bases.parse(bases.write(some)) == sorted(some)
