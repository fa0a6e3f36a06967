"""Which compilers this root's configuration names, and the flags it compiles with."""

from typing import Any

import portage  # type: ignore[import-not-found]

NAMES = ("CHOST", "CC", "CXX", "CFLAGS", "CXXFLAGS")


def answer(arguments: dict[str, Any]) -> dict[str, Any]:
    settings = portage.db[portage.root]["vartree"].settings
    return {name: settings.get(name, "") for name in NAMES}
