"""Reads a release's signed manifest, the text that all other files are compared with."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from distserver_client.errors import Problem

FIRST_LINE = "distserver-release 1"
ID = re.compile(r"[0-9]{8}-[0-9a-f]{12}")
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+./-]*")
REPOSITORY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
PORTAGE = "portage.sqfs"
SIGNED_KERNEL = "kernel.efi"
STORAGE = "storage"
"""Programs that put disks together, packed as an initramfs."""
"""The release's kernel with the site's signature, for machines with Secure Boot."""


@dataclass(frozen=True)
class Item:
    """A file or a package of a release."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    id: str
    profile: str
    repositories: tuple[str, ...]
    """Their names, the main one first; each has a file `tree-NAME.sqfs`."""
    files: Mapping[str, Item]
    packages: Mapping[str, Item]
    """By category/PF-BUILDID."""

    @property
    def kept(self) -> tuple[Item, ...]:
        """What a machine keeps of a release besides the manifest itself."""
        names = ["Packages", "bases", PORTAGE, *(tree(name) for name in self.repositories)]
        return tuple(self.files[name] for name in names)

    @property
    def sums(self) -> frozenset[str]:
        """The SHA256 of all its packages."""
        return frozenset(item.sha256 for item in self.packages.values())


def tree(repository: str) -> str:
    return f"tree-{repository}.sqfs"


def parse(text: str) -> Manifest:
    """Raises Problem when it is no manifest, or one of a release that no agent can follow."""
    first, *lines = text.splitlines() or [""]
    if first != FIRST_LINE:
        raise Problem(f"the manifest starts with {first[:80]!r}, expected {FIRST_LINE!r}")
    words: dict[str, str] = {}
    items: dict[str, dict[str, Item]] = {"FILE": {}, "PACKAGE": {}}
    for line in lines:
        key, _, rest = line.partition(" ")
        if key in items:
            one = _item(rest)
            items[key][one.name] = one
        else:
            words.setdefault(key, rest)
    if not ID.fullmatch(words.get("id", "")):
        raise Problem(f"the manifest's id is {words.get('id', '')[:80]!r}")
    repositories = tuple(word.partition(":")[0] for word in words.get("snapshot", "").split())
    found = Manifest(words["id"], words.get("profile", ""), repositories, items["FILE"], items["PACKAGE"])
    _check(found)
    return found


def _check(found: Manifest) -> None:
    wanted = ["Packages", "bases", *(tree(name) for name in found.repositories)]
    if PORTAGE not in found.files or not found.repositories:
        raise Problem(
            f"release {found.id} is of before machines kept themselves current: it has no {PORTAGE}",
            hint="build the profile again on the server",
        )
    missing = [name for name in wanted if name not in found.files]
    strange = [name for name in found.repositories if not REPOSITORY.fullmatch(name)]
    if missing or strange:
        raise Problem(f"the manifest of release {found.id} lacks or misnames {', '.join(missing + strange)}")


def _item(rest: str) -> Item:
    words = rest.split(" ")
    if len(words) != 4 or words[2] != "SHA256" or not words[1].isdigit() or not SHA256.fullmatch(words[3]):
        raise Problem(f"a line of the manifest is not NAME SIZE SHA256 HEX: {rest[:120]!r}")
    if not NAME.fullmatch(words[0]) or ".." in words[0].split("/"):
        raise Problem(f"the manifest has a name that is not allowed: {words[0][:120]!r}")
    return Item(words[0], int(words[1]), words[3])
