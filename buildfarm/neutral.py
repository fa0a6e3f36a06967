"""Decides whether a package holds anything of compiler and flags; without, it is the same for all of them."""

import bz2
import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

from appliance.errors import Problem
from appliance.run import CommandFailed
from buildfarm import gpkg
from buildfarm.key import KERNEL, Recipe

COMPILED = (
    (b"\x7fELF", "an ELF file"),
    (b"!<arch>\n", "an archive of objects"),
    (b"!<thin>\n", "an archive of objects"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"MZ", "a PE program"),
    (b"\xfe\xed\xfa", "a Mach-O file"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O file"),
    (b"\0asm", "WebAssembly"),
    (b"gpch", "a precompiled header"),
    (b"CPCH", "a precompiled header"),
)
# What compilers and build systems leave behind, whatever is in it: objects, interfaces, answers of configure.
COMPILED_NAMES = re.compile(
    r".*\.(o|obj|lo|a|la|gch|pch|cm[aiox]|cmx[as]|hi|dyn_hi|rlib|rmeta|mod|eln)|(.*[-_])?config\.h"
)
# Packed things nobody looks into: what they hold is not known.
OPAQUE = (b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"hsqs", b"\x04\x22\x4d\x18", b"LZIP", b"Rar!")
PACKED: Mapping[bytes, Callable[[IO[bytes]], object]] = {
    b"\x1f\x8b": lambda packed: gzip.GzipFile(fileobj=packed),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
UNREADABLE = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error, Problem, CommandFailed)
HEAD_BYTES = 16
CHUNK_BYTES = 1 << 20
OVERLAP_BYTES = 4096
TOKEN_LENGTH = 3
TOOLS = ("CC", "CXX", "CPP", "FC", "LD", "AR")


def why_not(path: Path, recipe: Recipe) -> str:
    """Why a package depends on compiler or flags: the first file that shows it; empty when nothing does."""
    if KERNEL in recipe.parts:
        return "it is a kernel"
    marks = traces(recipe.parts)
    try:
        for name, content in gpkg.read_image(path, wanted=lambda name: True):
            if why := _why(name.rpartition("/")[2], content, marks):
                return f"{name} is {why}"
    except UNREADABLE as failure:
        return f"its image cannot be read: {failure}"
    return ""


def traces(parts: Mapping[str, str]) -> re.Pattern[bytes]:
    """What a file would hold that was made with these flags and tools: whole values and single flags."""
    words = {"-march=native"}
    for name, value in parts.items():
        variable = name.removeprefix("variable ")
        if name == variable or not (variable.endswith("FLAGS") or "FLAGS_" in variable or variable in TOOLS):
            continue
        words |= {value} | {word for word in value.split() if len(word) >= TOKEN_LENGTH}
    host = parts.get("variable CHOST", "")
    words |= {f"{host}-{tool}" for tool in ("gcc", "g++", "clang")} if host else set()
    known = b"|".join(re.escape(word.encode(errors="surrogateescape")) for word in sorted(words, key=len))
    return re.compile(rb"(?<![\w-])(" + known + rb")(?![\w-])")


def _why(name: str, content: IO[bytes], marks: re.Pattern[bytes]) -> str:
    if COMPILED_NAMES.fullmatch(name):
        return "left by a compiler"
    head = content.read(HEAD_BYTES)
    for magic, what in COMPILED:
        if head.startswith(magic):
            return what
    if head.startswith(OPAQUE):
        return "packed in a way that hides what it holds"
    content.seek(0)
    for magic, opener in PACKED.items():
        if head.startswith(magic):
            return _why(re.sub(r"\.(gz|bz2|xz)$", "", name), cast(IO[bytes], opener(content)), marks)
    return _search(_chunks(content), marks)


def _search(chunks: Iterable[bytes], marks: re.Pattern[bytes]) -> str:
    tail = b""
    for chunk in chunks:
        if found := marks.search(tail + chunk):
            return f"a file that says {found[1].decode(errors='replace')}"
        tail = (tail + chunk)[-OVERLAP_BYTES:]
    return ""


def _chunks(content: IO[bytes]) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        yield chunk
