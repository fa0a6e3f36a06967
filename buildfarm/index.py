"""Reads and writes Packages, the index of a binary package repository."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from appliance.errors import Problem
from appliance.farm_model import Package

# What Portage leaves out of a paragraph when the header says the same (bintree.py, _pkgindex_inherited_keys).
INHERITED = ("CHOST", "REPO")


@dataclass(frozen=True)
class Index:
    """The header and one paragraph per package, whole: nothing is inherited from the header any more."""

    header: Mapping[str, str] = field(default_factory=dict)
    paragraphs: tuple[Mapping[str, str], ...] = ()


def parse(text: str) -> Index:
    """Read an index; raises Problem when a paragraph has no CPV."""
    blocks = [parse_paragraph(block) for block in text.split("\n\n") if block.strip()]
    header = blocks[0] if blocks else {}
    inherited = {key: header[key] for key in INHERITED if header.get(key)}
    paragraphs = []
    for number, block in enumerate(blocks[1:], start=1):
        if "CPV" not in block:
            raise Problem(f"paragraph {number} of the package index has no CPV line")
        paragraphs.append({**inherited, **block})
    return Index(header, tuple(paragraphs))


def parse_paragraph(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {key: value.removeprefix(" ") for key, _, value in pairs}


def write_paragraph(fields: Mapping[str, str]) -> str:
    """Sorted `KEY: value` lines; empty values are left out, as Portage does."""
    return "".join(f"{key}: {fields[key]}\n" for key in sorted(fields) if fields[key])


def write(index: Index) -> str:
    """The text of an index; the same index always gives the same text."""
    paragraphs = sorted(index.paragraphs, key=lambda p: (p["CPV"], int(p.get("BUILD_ID") or 0)))
    return "\n".join([write_paragraph(index.header), *(write_paragraph(p) for p in paragraphs), ""])


def pool_path(sha256: str) -> str:
    """Where a package is served, relative to the URI of the index."""
    return f"pool/{sha256[:2]}/{sha256}.gpkg.tar"


def slot(fields: Mapping[str, str]) -> tuple[str, str]:
    """What only one instance of may be installed: (category/name, slot without its sub-slot)."""
    return split_cpv(fields["CPV"])[0], fields.get("SLOT", "0").partition("/")[0]


def split_cpv(cpv: str) -> tuple[str, str]:
    """`sys-apps/sed-4.9-r1` -> (`sys-apps/sed`, `4.9-r1`); a name never ends like a version (PMS 3.1.2)."""
    words = cpv.split("-")
    at = len(words) - 1
    if at > 1 and words[at][:1] == "r" and words[at][1:].isdigit() and words[at - 1][:1].isdigit():
        at -= 1
    return "-".join(words[:at]), "-".join(words[at:])


def make(header: Mapping[str, str], packages: Iterable[Package], *, uri: str = "") -> str:
    """The index of a release: every package once, at its place in the pool.

    MTIME must be there: without it emerge 3.0.83 dies of a KeyError in download_required() and hangs.
    It is the time a client gives its copy, so BUILD_TIME does.

    TIMESTAMP is the newest BUILD_TIME, so that the same packages give the same bytes. Raises Problem when two
    packages share a slot: a client would install whichever its resolver likes better.
    """
    paragraphs = []
    owners: dict[tuple[str, str], str] = {}
    newest = 0
    for package in packages:
        fields = parse_paragraph(package.index_entry)
        place = slot(fields)
        if place in owners:
            name = f"{place[0]}:{place[1]}"
            raise Problem(f"the index would hold two packages for {name}: {owners[place]} and {package.cpv}")
        owners[place] = package.cpv
        newest = max(newest, int(package.built_at))
        place_and_time = {"PATH": pool_path(package.sha256), "MTIME": str(int(package.built_at))}
        paragraphs.append({**fields, **place_and_time})
    own = {"VERSION": "0", "PACKAGES": str(len(paragraphs)), "TIMESTAMP": str(newest)}
    if uri:
        own["URI"] = uri
    return write(Index({**header, **own}, tuple(paragraphs)))


def make_local(chost: str, packages: Mapping[str, Package]) -> str:
    """The index of a PKGDIR that holds `packages` under the given relative names."""
    paragraphs = tuple(
        {**parse_paragraph(package.index_entry), "PATH": name} for name, package in packages.items()
    )
    header = {"VERSION": "0", "PACKAGES": str(len(paragraphs)), "TIMESTAMP": "0", "CHOST": chost}
    return write(Index(header, paragraphs))


def without_path(fields: Mapping[str, str], sums: Mapping[str, str]) -> str:
    """A paragraph as the ledger keeps it: no place, our own sums, no time of a file that was moved."""
    kept = {key: value for key, value in fields.items() if key not in ("PATH", "MTIME")}
    return write_paragraph({**kept, **sums})
