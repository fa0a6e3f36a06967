"""What is refused of a merged text before a machine sees it: markers, and what no parser reads. Pure."""

import ast
import configparser
import json
import tomllib
from collections.abc import Callable
from xml.parsers import expat

from appliance.errors import Problem

MARKS = (b"<<<<<<<", b"|||||||", b">>>>>>>")
"""`=======` alone underlines titles."""


def check(path: str, content: bytes) -> None:
    """Raises Problem with the line; machines ask the file's own program, such as `sshd -t`, besides."""
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.startswith(MARKS) and line[7:8] in (b"", b" ", b"\r"):
            raise Problem(
                f"line {number} is a marker of a conflict: {line[:60].decode(errors='replace')}",
                hint="choose what stands there, and remove the markers",
            )
    name = path.rpartition("/")[2].removesuffix(".default")
    judge = JUDGES.get(name.rpartition(".")[2]) if "." in name else None
    if judge is None:
        return
    try:
        judge(content)
    except (ValueError, SyntaxError, RecursionError, MemoryError, configparser.Error, expat.ExpatError) as no:
        said = str(no).replace("\n", " ")[:300]
        raise Problem(f"{path} would not be read by its own program: {said}") from no


def marked(content: bytes) -> bool:
    return any(line.startswith(MARKS) for line in content.split(b"\n"))


def _ini(content: bytes) -> None:
    text = content.decode()
    # A key twice, one without a value and lines before any section are usual in php.ini and its like; a
    # section whose line does not end would be such a key.
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("[") and "]" not in line:
            raise ValueError(f"line {number} begins a section and does not end it: {line[:60]!r}")
    configparser.RawConfigParser(strict=False, allow_no_value=True).read_string("[top]\n" + text)


def _xml(content: bytes) -> None:
    # expat since 2.4 bounds what entities may grow to, libexpat's CVE-2013-0340.
    expat.ParserCreate().Parse(content, True)


def _toml(content: bytes) -> None:
    tomllib.loads(content.decode())


JUDGES: dict[str, Callable[[bytes], object]] = {
    "py": ast.parse,
    "json": json.loads,
    "xml": _xml,
    "toml": _toml,
    "ini": _ini,
}
"""By the end of the name."""
