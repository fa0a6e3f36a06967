"""Reads a release's package index and writes it as the machine's Portage needs it; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Listed:
    """A package of the index, by what an installed one is recognised."""

    cpv: str
    build_id: str
    md5: str
    slot: str

    @property
    def name(self) -> str:
        """category/PF-BUILDID, as the manifest names it."""
        return f"{self.cpv}-{self.build_id}" if self.build_id else self.cpv


def header(text: str) -> dict[str, str]:
    """What stands before the first package."""
    return dict(next(_paragraphs(text)))


def read(text: str) -> tuple[Listed, ...]:
    """All packages of an index."""
    found = []
    for fields in _paragraphs(text):
        if "CPV" in fields:
            slot = fields.get("SLOT", "0").partition("/")[0]
            found.append(Listed(fields["CPV"], fields.get("BUILD_ID", ""), fields.get("MD5", ""), slot))
    return tuple(found)


def at(text: str, uri: str) -> str:
    """The index with its packages at `uri`.

    A package that is there already makes Portage 3.0.83 look for MTIME without asking whether the index has
    it (bintree.py, download_required).
    """
    lines = [f"URI: {uri}"]
    for line in text.splitlines():
        if line.startswith(("URI: ", "MTIME: ")):
            continue
        lines.append(line)
        if line.startswith("CPV: "):
            lines.append("MTIME: 1")
    return "\n".join([*lines, ""])


def _paragraphs(text: str) -> Iterator[Mapping[str, str]]:
    for paragraph in text.split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines())
        yield {key: value for key, _, value in lines}
