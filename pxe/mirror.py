"""Where Portage looks for a distfile on a mirror: layout.conf, hashed directories, and flat."""

import hashlib
import re
from collections.abc import Sequence

LAYOUT = "[structure]\n0=filename-hash BLAKE2B 8\n1=flat\n"
"""GLEP 75. The first line is what clients use; older ones know only the second."""
# Upstream gives the names: foo@1.tgz, libfoo_1.2~rc.tar.xz. What begins with a dot is ours, and what Portage
# is just downloading ends like this.
NAME = re.compile(r"(?!\.)[^/\x00-\x1f\x7f]{1,255}(?<!\.__download__)")
DIRECTORY_DIGITS = 2


def directory(name: str) -> str:
    """The first 8 bits of the hash of a file's name."""
    return hashlib.blake2b(name.encode()).hexdigest()[:DIRECTORY_DIGITS]


def distfile(parts: Sequence[str]) -> str | None:
    """The distfile that `NAME` or `ab/NAME` stands for; None when it can be none."""
    name = parts[-1] if parts else ""
    if not NAME.fullmatch(name) or list(parts[:-1]) not in ([], [directory(name)]):
        return None
    return name
