"""Build keys: the hash of everything that decides what a build puts into a package."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from buildfarm.index import split_cpv

# Files of /etc/portage that only choose versions, places or repositories, never what a build makes.
CHOICES = (
    r"packages|package\.(accept_keywords|keywords|mask|unmask|license|accept_restrict|properties|deprecated)"
)
NEUTRAL = re.compile(rf"(repos\.conf|binrepos\.conf|gnupg|sets|(profile/)?({CHOICES}))(/|$)")
NEUTRAL_IN_PROFILE = re.compile(rf"[0-9]+/({CHOICES}|deprecated)(/|$)")
# Files that say `atom setting ...` line by line: only the lines about a package count for it.
BY_ATOM = re.compile(
    r"(profile/)?package\.(use|env|bashrc|use\.(force|mask|stable\.force|stable\.mask))(/|$)"
)


@dataclass(frozen=True)
class Sources:
    """What the repository says of one ebuild; files by name with their sha256."""

    cpv: str
    ebuild: str
    files: Mapping[str, str] = field(default_factory=dict)
    eclasses: Mapping[str, str] = field(default_factory=dict)
    distfiles: tuple[str, ...] = ()
    """The DIST lines of the Manifest it uses."""


@dataclass(frozen=True)
class Setting:
    """What all packages of one profile share."""

    stage: str
    """sha256 of the stage: compiler, libc and every tool that no package brings."""
    chost: str
    profile: Mapping[str, str]
    """Files of the make.profile chain with their sha256."""
    portage: Mapping[str, bytes]
    """Files of /etc/portage."""
    kernel_config: str = ""


def build_key(setting: Setting, sources: Sources) -> str:
    """sha256 in hexadecimal; equal keys mean that the package need not be built again."""
    digest = hashlib.sha256()
    for part in _parts(setting, sources):
        raw = part.encode(errors="surrogateescape")
        digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()


def _parts(setting: Setting, sources: Sources) -> Iterator[str]:
    category_name = split_cpv(sources.cpv)[0]
    yield from ("distserver build key 1", sources.cpv, setting.stage, setting.chost)
    deciding = {name: sum_ for name, sum_ in setting.profile.items() if not NEUTRAL_IN_PROFILE.match(name)}
    yield from _table("profile", deciding)
    yield from ("ebuild", sources.ebuild)
    yield from _table("files", sources.files)
    yield from _table("eclasses", sources.eclasses)
    yield from ("distfiles", *sorted(sources.distfiles))
    for name, content in sorted(setting.portage.items()):
        text = relevant(name, content, category_name)
        if text:
            yield from ("portage", name, text)
    if category_name.startswith("sys-kernel/"):
        yield from ("kernel", setting.kernel_config)


def _table(title: str, table: Mapping[str, str]) -> Iterator[str]:
    yield title
    for name in sorted(table):
        yield from (name, table[name])


def relevant(name: str, content: bytes, category_name: str) -> str:
    """The part of a file of /etc/portage that concerns `category/name`; empty: nothing of it does."""
    if NEUTRAL.match(name) or name == "make.profile":
        return ""
    if name.startswith("patches/"):
        # patches/category/name[-version[:slot]]/*.patch (portage(5)); a longer name is only too careful.
        return _text(content) if name.startswith(f"patches/{category_name}") else ""
    lines = [line.strip() for line in _text(content).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if BY_ATOM.match(name):
        # `*/*`, `cat/*` and a line that only starts with our name count too: too careful costs a rebuild,
        # too careless publishes a wrong package.
        lines = [line for line in lines if "*" in line.split()[0] or category_name in line.split()[0]]
    return "\n".join(lines)


def _text(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
