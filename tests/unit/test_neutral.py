"""Which packages are the same for every compiler and all flags."""

import bz2
import gzip
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from appliance.run import run
from buildfarm import neutral
from buildfarm.key import KERNEL, Recipe

RECIPE = Recipe(
    "app-misc/a-1",
    {
        "variable CFLAGS": "-O2 -march=x86-64-v3 -pipe",
        "variable LDFLAGS": "-Wl,-O1",
        "variable CHOST": "x86_64-pc-linux-gnu",
        "variable CC": "gcc-11",
        "variable LC_TIME": "de_DE",
    },
)


def make_package(tmp_path: Path, files: dict[str, bytes]) -> Path:
    """A gpkg with this image, as Portage would lay it out."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as archive:
        for name, data in files.items():
            about = tarfile.TarInfo(f"image/{name}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    plain = tmp_path / "image.tar"
    plain.write_bytes(image.getvalue())
    run(["zstd", "-q", "-f", plain])
    packed = plain.with_suffix(".tar.zst").read_bytes()
    listed = f"DATA image.tar.zst {len(packed)} SHA512 {hashlib.sha512(packed).hexdigest()}\n".encode()
    package = tmp_path / "a-1-1.gpkg.tar"
    with tarfile.open(package, "w") as archive:
        for name, data in (("gpkg-1", b""), ("image.tar.zst", packed), ("Manifest", listed)):
            about = tarfile.TarInfo(f"a-1-1/{name}")
            about.size = len(data)
            archive.addfile(about, io.BytesIO(data))
    return package


def zipped(data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("native.so", data)
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("usr/bin/script", b"#!/bin/sh\nls -O2x --march=x86-64-v3x\n"),
        ("usr/lib/python3.12/site-packages/a.pyc", b"\xcb\x0d\x0d\x0a code"),
        ("usr/share/fonts/a.ttf", b"\0\1\0\0 outlines"),
        ("usr/share/man/man1/a.1.bz2", bz2.compress(b".TH A 1\nan ELF file\n")),
        ("usr/lib/sysusers.d/a.conf", b"u a 1 - -\n"),
        ("usr/lib64/pkgconfig/a.pc", b"Libs: -L${libdir} -la\n"),
        ("usr/share/locale/a.txt", b"LC_TIME=de_DE\n"),
        ("usr/share/empty", b""),
    ],
)
def test_what_no_compiler_made_is_neutral(tmp_path: Path, name: str, data: bytes) -> None:
    assert neutral.why_not(make_package(tmp_path, {"etc/first": b"x\n", name: data}), RECIPE) == ""


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("usr/bin/a", b"\x7fELF\2\1\1", "an ELF file"),
        ("usr/lib64/liba.data", b"!<arch>\nx", "an archive of objects"),
        ("usr/lib64/a.o", b"whatever", "left by a compiler"),
        ("usr/lib64/liba.la", b"# libtool", "left by a compiler"),
        ("usr/include/a/config.h", b"#define HAVE_A 1", "left by a compiler"),
        ("boot/a.efi", b"MZ\x90", "a PE program"),
        ("usr/lib64/pkgconfig/a.pc", b"Cflags: -march=x86-64-v3\n", "a file that says -march=x86-64-v3"),
        ("usr/bin/a-config", b'echo "-Wl,-O1"\n', "a file that says -Wl,-O1"),
        ("usr/bin/b-config", b"CC=gcc-11\n", "a file that says gcc-11"),
        ("usr/bin/c-config", b"x86_64-pc-linux-gnu-gcc\n", "a file that says x86_64-pc-linux-gnu-gcc"),
        (
            "usr/share/doc/a.gz",
            gzip.compress(b"built with -march=x86-64-v3", mtime=0),
            "a file that says -march=",
        ),
        ("usr/share/java/a.jar", zipped(b"\x7fELF"), "hides what it holds"),
    ],
)
def test_what_a_compiler_or_its_flags_left_is_not(tmp_path: Path, name: str, data: bytes, why: str) -> None:
    said = neutral.why_not(make_package(tmp_path, {"etc/first": b"x\n", name: data}), RECIPE)
    assert said.startswith(f"/{name} is ")
    assert why in said


def test_a_flag_across_the_border_of_two_reads_is_found(tmp_path: Path) -> None:
    padding = b"x\n" * (neutral.CHUNK_BYTES // 2 - 4)
    package = make_package(tmp_path, {"usr/share/a": padding + b"-march=x86-64-v3\n"})
    assert "-march=x86-64-v3" in neutral.why_not(package, RECIPE)


def test_a_kernel_never_is_and_neither_is_what_cannot_be_read(tmp_path: Path) -> None:
    package = make_package(tmp_path, {"boot/vmlinuz": b"text"})
    assert neutral.why_not(package, RECIPE.with_parts({KERNEL: ""})) == "it is a kernel"
    package.write_bytes(package.read_bytes()[:1060])
    assert "cannot be read" in neutral.why_not(package, RECIPE)
