"""Whose world the machine has: the release's, with what was added here and the release can install; pure."""

from collections.abc import Iterable


def merge(
    before: Iterable[str], here: Iterable[str], after: Iterable[str], names: Iterable[str]
) -> list[str]:
    """The atoms of the next world file, in order.

    `before` and `after` are the worlds of the two releases, `here` is the machine's, `names` are the
    category/PN of what the next release has. What a person added here stays as long as it can be
    installed; sets are files of /etc/portage and therefore the release's alone.
    """
    known = set(names)
    added = set(here) - set(before)
    return sorted(set(after) | {atom for atom in added if name(atom) in known})


def name(atom: str) -> str:
    """category/PN of an atom as Portage writes it into the world file: no operator, perhaps a slot."""
    return atom.lstrip("<>=~").partition(":")[0]


def files(text: str) -> dict[str, list[str]]:
    """Path -> lines, of what `tail -v -n +1 PATH...` prints: `==> PATH <==` before each file."""
    found: dict[str, list[str]] = {}
    path = ""
    for line in text.splitlines():
        if line.startswith("==> ") and line.endswith(" <=="):
            path = line[4:-4]
            found[path] = []
        elif path:
            found[path] += lines(line)
    return found


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
