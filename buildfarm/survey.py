"""What an ebuild repository is: its name, masters, eclasses, Portage profiles, how much and how old."""

import email.utils
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from appliance.errors import Problem

CACHE = Path("metadata/md5-cache")


@dataclass(frozen=True)
class Survey:
    """Kept as JSON beside each image, so that nobody has to mount it for these questions."""

    name: str
    masters: tuple[str, ...] | None
    """None: its layout.conf says nothing, which to Portage means the main repository."""
    ebuilds: int
    made_at: float
    """Seconds since the epoch, 0.0 when the tree does not say."""
    eclasses: Mapping[str, str]
    """Name -> MD5, as md5-cache entries name them."""
    profiles: tuple[str, ...]
    """Directories below profiles/."""

    def masters_in(self, main: str) -> tuple[str, ...]:
        return masters_in(self.masters, self.name, main)


def survey(tree: Path) -> Survey:
    """Read a tree; raises Problem when it is no ebuild repository."""
    name = _text(tree, "profiles/repo_name").strip()
    if not name:
        raise Problem(
            f"{tree} has no profiles/repo_name",
            hint="an ebuild repository is a directory that holds profiles/ and metadata/",
        )
    return Survey(
        name=name,
        masters=read_masters(_text(tree, "metadata/layout.conf")),
        ebuilds=sum(1 for _ in tree.glob("*/*/*.ebuild")),
        made_at=read_timestamp(_text(tree, "metadata/timestamp.chk")),
        eclasses={path.stem: md5(path) for path in sorted(tree.glob("eclass/*.eclass")) if own(tree, path)},
        profiles=tuple(
            sorted(str(p.relative_to(tree / "profiles")) for p in tree.glob("profiles/**/") if own(tree, p))
        ),
    )


def read_masters(layout: str) -> tuple[str, ...] | None:
    """The `masters` line of a layout.conf."""
    for line in layout.splitlines():
        key, equals, value = line.partition("=")
        if equals and key.strip() == "masters":
            return tuple(value.split())
    return None


def masters_of(tree: Path, name: str, main: str) -> set[str]:
    """The masters of a tree, without looking at anything else in it."""
    named = read_masters(_text(tree, "metadata/layout.conf"))
    return set(masters_in(named, name, main))


def masters_in(named: tuple[str, ...] | None, name: str, main: str) -> tuple[str, ...]:
    """The repositories whose eclasses repository `name` may use, as Portage takes them."""
    if named is None:
        return () if name == main else (main,)
    return tuple(one for one in named if one != name)


def read_timestamp(text: str) -> float:
    """Seconds of `Sun, 22 Nov 2026 11:00:01 +0000`, as timestamp.chk has it; 0.0 for anything else."""
    try:
        return email.utils.parsedate_to_datetime(text.strip()).timestamp()
    except ValueError:
        return 0.0


def beside(image: Path) -> Path:
    return image.with_suffix(".json")


def write(found: Survey, image: Path, part: Path) -> None:
    """`part`: where it is written first, on the same file system."""
    part.write_text(json.dumps(asdict(found), sort_keys=True))
    part.rename(beside(image))


def of_image(image: Path) -> Survey:
    """The survey of an image's tree."""
    found = json.loads(beside(image).read_text())
    masters = None if found["masters"] is None else tuple(found["masters"])
    return replace(Survey(**found), masters=masters, profiles=tuple(found["profiles"]))


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def own(tree: Path, path: Path) -> bool:
    """Is this a file or directory in the tree? A foreign tree may hold a pipe, or a link to anything."""
    here = not path.is_symlink() or path.resolve().is_relative_to(tree.resolve())
    return here and (path.is_file() or path.is_dir())


def _text(tree: Path, name: str) -> str:
    path = tree / name
    return path.read_text(errors="replace") if path.is_file() and own(tree, path) else ""
