"""Reads and checks a gpkg (GLEP 78) without Portage."""

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from appliance.errors import Problem
from appliance.run import run

CHUNK_BYTES = 1 << 20
HASHES = {"SHA512": "sha512", "SHA256": "sha256", "BLAKE2B": "blake2b"}


def read_metadata(path: Path, *, keys: Sequence[str]) -> dict[str, str]:
    """The named files of the metadata (CFLAGS, USE, CHOST, BUILD_TIME ...); those it has."""
    with _inner(path, "metadata") as inner, tarfile.open(inner) as archive:
        found = {}
        for member in archive:
            name = member.name.rpartition("/")[2]
            if name in keys and (content := archive.extractfile(member)):
                found[name] = content.read().decode(errors="replace").strip()
        return found


def extract(path: Path, wanted: str, target: Path) -> None:
    """Copy one installed file (absolute name) out of the image to `target`."""
    with _inner(path, "image") as inner, tarfile.open(inner) as archive:
        for member in archive:
            if "/" + member.name.partition("/")[2] == wanted and (content := archive.extractfile(member)):
                with target.open("wb") as sink:
                    while chunk := content.read(CHUNK_BYTES):
                        sink.write(chunk)
                return
    raise Problem(f"{path} has no file {wanted}")


def extract_texts(path: Path, wanted: Collection[str]) -> dict[str, str]:
    """The contents of those of the named files (absolute names) that are there, in one pass."""
    with _inner(path, "image") as inner, tarfile.open(inner) as archive:
        found = {}
        for member in archive:
            name = "/" + member.name.partition("/")[2]
            if name in wanted and (content := archive.extractfile(member)):
                found[name] = content.read().decode(errors="replace")
        return found


def read_links(path: Path) -> dict[str, str]:
    """Every file (not directory) it installs, by absolute name, with its target if it is a symbolic link."""
    with _inner(path, "image") as inner, tarfile.open(inner) as archive:
        return {
            "/" + m.name.partition("/")[2]: m.linkname if m.issym() else "" for m in archive if not m.isdir()
        }


def read_image(path: Path, *, wanted: Callable[[str], bool]) -> Iterator[tuple[str, IO[bytes]]]:
    """Installed files (absolute name, content) that are wanted, in one pass; links to files are files."""
    with _inner(path, "image") as inner, tarfile.open(inner) as archive:
        for member in archive:
            name = "/" + member.name.partition("/")[2]
            plain = (member.isfile() or member.islnk()) and wanted(name)
            if plain and (content := archive.extractfile(member)):
                yield name, content


def list_image(path: Path) -> list[str]:
    """The absolute names of the files (not directories) it installs, sorted."""
    with _inner(path, "image") as inner, tarfile.open(inner) as archive:
        return sorted("/" + m.name.partition("/")[2] for m in archive if not m.isdir())


def check(path: Path) -> str:
    """Why this is not a whole gpkg, or an empty text.

    A killed or failed build leaves 0-byte and half-written files under the final name (seen with 3.0.83).
    """
    try:
        with tarfile.open(path, "r:") as outer:
            members = {m.name.rpartition("/")[2]: m for m in outer if m.isfile()}
            if "Manifest" not in members or "gpkg-1" not in members:
                return "has no gpkg-1 or Manifest"
            listed = parse_manifest(b"".join(_chunks(outer, members["Manifest"])).decode(errors="replace"))
            return _compare(outer, members, listed)
    except (tarfile.TarError, OSError) as broken:
        return f"is not a whole tar: {broken}"


def parse_manifest(text: str) -> dict[str, tuple[int, dict[str, str]]]:
    """`DATA name size HASH hex ...` lines -> name: (size, hashes); clearsign armour is skipped."""
    listed = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[0] == "DATA" and words[2].isdigit():
            listed[words[1]] = (int(words[2]), dict(zip(words[3::2], words[4::2], strict=False)))
    return listed


def _compare(
    outer: tarfile.TarFile,
    members: Mapping[str, tarfile.TarInfo],
    listed: Mapping[str, tuple[int, Mapping[str, str]]],
) -> str:
    if not any(name.startswith("image.tar") for name in listed):
        return "has no image in its Manifest"
    for name, (size, hashes) in listed.items():
        if name not in members or members[name].size != size:
            return f"lacks {name} of {size} bytes"
        known = sorted(HASHES.keys() & hashes.keys())
        if not known:
            return f"has no hash of {name} that can be checked"
        if _digest(outer, members[name], HASHES[known[0]]) != hashes[known[0]]:
            return f"has another {name} than its Manifest says"
    return ""


def _digest(outer: tarfile.TarFile, member: tarfile.TarInfo, algorithm: str) -> str:
    digest = hashlib.new(algorithm)
    for chunk in _chunks(outer, member):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _inner(path: Path, kind: str) -> Iterator[Path]:
    """`metadata.tar.*` or `image.tar.*` of a gpkg as a file that tarfile can open."""
    with tempfile.TemporaryDirectory(prefix="gpkg-") as scratch, tarfile.open(path, "r:") as outer:
        for member in outer:
            name = member.name.rpartition("/")[2]
            if name.startswith(f"{kind}.tar") and not name.endswith(".sig"):
                place = Path(scratch) / name
                with place.open("wb") as sink:
                    for chunk in _chunks(outer, member):
                        sink.write(chunk)
                if name.endswith(".zst"):  # tarfile of Python 3.11 reads gzip, bzip2 and xz, not zstd
                    run(["zstd", "--quiet", "--decompress", place, "-o", place.with_suffix("")])
                    place = place.with_suffix("")
                yield place
                return
    raise Problem(f"{path} has no {kind}")


def _chunks(outer: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[bytes]:
    content = outer.extractfile(member) or io.BytesIO()
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
