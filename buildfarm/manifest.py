"""The text that says what a release is, byte for byte; signed, and all a machine has to trust."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from appliance.errors import Problem

FIRST_LINE = "distserver-release 1"
ID = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
HEX = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+./-]*")


@dataclass(frozen=True, order=True)
class Item:
    """A file or package of the release."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    profile: str
    arch: str
    created: str
    """ISO 8601, UTC."""
    snapshot: str
    files: tuple[Item, ...] = ()
    packages: tuple[Item, ...] = field(default=())
    """Named category/PF-BUILDID."""
    id: str = ""

    @property
    def content(self) -> str:
        """12 hexadecimal digits of the hash of everything but the time and the id."""
        text = "\n".join(_body(replace(self, created="", id="")))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def identify(manifest: Manifest) -> Manifest:
    """The manifest with its id: the day it was made and the hash of its content."""
    day = manifest.created[:10].replace("-", "")
    return replace(manifest, id=f"{day}-{manifest.content}")


def created_at(manifest: Manifest) -> float:
    """Seconds since the epoch."""
    return datetime.strptime(manifest.created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()


def write(manifest: Manifest) -> str:
    return "\n".join([FIRST_LINE, *_body(manifest), ""])


def parse(text: str) -> Manifest:
    """Read what write() wrote; raises Problem naming the line that is wrong."""
    lines = text.splitlines()
    if not lines or lines[0] != FIRST_LINE:
        first = lines[0] if lines else ""
        raise Problem(f"the manifest starts with {first!r}, expected {FIRST_LINE!r}")
    single: dict[str, str] = {}
    items: dict[str, list[Item]] = {"FILE": [], "PACKAGE": []}
    for number, line in enumerate(lines[1:], start=2):
        key, _, rest = line.partition(" ")
        if key in items:
            items[key].append(_parse_item(rest, number))
        elif key in ("id", "profile", "arch", "created", "snapshot") and key not in single:
            single[key] = rest
        else:
            raise Problem(f"line {number} of the manifest is not understood: {line!r}")
    missing = sorted({"id", "profile", "arch", "created", "snapshot"} - single.keys())
    if missing:
        raise Problem(f"the manifest does not say: {', '.join(missing)}")
    if not ID.fullmatch(single["id"]):
        raise Problem(f"the manifest's id is {single['id']!r}, expected a date and 12 hexadecimal digits")
    return Manifest(files=tuple(items["FILE"]), packages=tuple(items["PACKAGE"]), **single)


def _body(manifest: Manifest) -> Iterator[str]:
    for key in ("id", "profile", "arch", "created", "snapshot"):
        yield f"{key} {getattr(manifest, key)}"
    for kind, items in (("FILE", manifest.files), ("PACKAGE", manifest.packages)):
        for item in sorted(items):
            yield f"{kind} {item.name} {item.size_bytes} SHA256 {item.sha256}"


def _parse_item(rest: str, number: int) -> Item:
    words = rest.split(" ")
    if len(words) != 4 or words[2] != "SHA256" or not words[1].isdigit() or not HEX.fullmatch(words[3]):
        raise Problem(f"line {number} of the manifest is not NAME SIZE SHA256 HEX: {rest!r}")
    if not NAME.fullmatch(words[0]) or ".." in words[0].split("/"):
        raise Problem(f"line {number} of the manifest has a name that is not allowed: {words[0]!r}")
    return Item(words[0], int(words[1]), words[3])
