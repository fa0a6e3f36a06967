"""Decisions of merges as files of the site, `merges/KEY.toml`: kept in git, read at every start."""

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.merge_checks import check
from appliance.merge_model import HASH, MOST_FILE_BYTES, Choice, Triple, is_secret, read_path, result_of

DIRECTORY = "merges"
KEY_DIGITS = 16
WORDS = ("path", "base", "ours", "theirs", "choice", "who", "at", "why")


@dataclass(frozen=True)
class KeptDecision:
    """`at` in seconds since the epoch."""

    triple: Triple
    choice: Choice
    content: bytes | None
    """Of Choice.TEXT."""
    who: str
    at: float
    why: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content or b"").hexdigest()

    @property
    def result(self) -> str:
        return result_of(self.choice, self.triple, self.sha256)

    @property
    def name(self) -> str:
        return self.triple.key[:KEY_DIGITS]


def read_all(directory: Path) -> tuple[list[KeptDecision], list[Problem]]:
    """Those that are right, and what is wrong with the others."""
    kept, wrong = [], []
    for file in sorted(directory.glob("*.toml")):
        try:
            kept.append(read(file))
        except Problem as problem:
            wrong.append(problem)
    return kept, wrong


def read(file: Path) -> KeptDecision:
    """Raises Problem naming the file."""
    try:
        return _read(file)
    except Problem as problem:
        raise Problem(f"{file}: {problem.message}", hint=problem.hint) from problem
    except (OSError, ValueError) as odd:
        raise Problem(f"{file}: {odd}") from odd


def write(directory: Path, kept: Sequence[KeptDecision]) -> list[Path]:
    """A file for each, and a second one with its text; only what is another one is written."""
    directory.mkdir(exist_ok=True)
    written = []
    for one in kept:
        files = {f"{one.name}.toml": _document(one)}
        if one.content is not None:
            files[f"{one.name}.result"] = one.content
        for name, content in sorted(files.items()):
            place = directory / name
            if not place.exists() or place.read_bytes() != content:
                _place(place, content)
                written.append(place)
    return written


def remove(directory: Path, key: str) -> bool:
    """Take the files of a decision away; False when there were none."""
    file = directory / f"{key[:KEY_DIGITS]}.toml"
    was_there = file.exists()
    file.unlink(missing_ok=True)
    file.with_suffix(".result").unlink(missing_ok=True)
    return was_there


def _read(file: Path) -> KeptDecision:
    said = tomllib.loads(file.read_text())
    if odd := sorted(said.keys() - set(WORDS)):
        raise Problem(f"{odd[0]} is not known here, expected {', '.join(WORDS)}")
    path = read_path(0, said.get("path"))
    hashes = [said.get(name, "") for name in ("base", "ours", "theirs")]
    if not all(isinstance(one, str) and (not one or HASH.fullmatch(one)) for one in hashes):
        raise Problem("base, ours and theirs are SHA-256 in hex, or empty")
    if is_secret(path):
        raise Problem(f"{path} is secret: it is decided on its machine")
    choice, at = Choice(said.get("choice")), said.get("at", 0.0)
    if not isinstance(at, int | float):
        raise Problem("at is seconds since the epoch")
    content = None
    if choice is Choice.TEXT:
        content = file.with_suffix(".result").read_bytes()
        if len(content) > MOST_FILE_BYTES:
            raise Problem(f"its result has {len(content)} bytes, at most {MOST_FILE_BYTES} are kept")
        check(path, content)
    words = str(said.get("who", "")), float(at), str(said.get("why", ""))
    return KeptDecision(Triple(path, *hashes), choice, content, *words)


def _document(one: KeptDecision) -> bytes:
    triple = one.triple
    words = {
        "path": triple.path, "base": triple.base, "ours": triple.ours, "theirs": triple.theirs,
        "choice": one.choice.value, "who": one.who, "why": one.why,
    }  # fmt: skip
    # A JSON string is a basic string of TOML, except that TOML wants DEL escaped.
    lines = [
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
        for name, value in words.items()
    ]
    return "\n".join([*lines, f"at = {one.at!r}", ""]).encode()


def _place(place: Path, content: bytes) -> None:
    part = place.with_name(f".{place.name}.part")
    part.write_bytes(content)
    part.replace(place)
