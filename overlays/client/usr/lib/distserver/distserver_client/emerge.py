"""What Portage is told to do: emerge's arguments and environment, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

QUIET = ("--color=n", "--nospinner", "--quiet-build=y", "--ask=n")
SETS = ("@system", "@world")
# Only the release is a source: --rebuilt-binaries follows a package that was built again under the same
# version, also back to an older build; what the release does not have is never compiled here.
UPDATE = (
    "--update", "--deep", "--usepkgonly", "--getbinpkgonly", "--with-bdeps=n", "--rebuilt-binaries=y",
    "--binpkg-respect-use=y", "--autounmask=n",
)  # fmt: skip
HOUR = 3600.0
LIMIT_SECONDS = 6 * HOUR
"""emerge is ended after so long; the next start goes on."""
CHECK_SECONDS = 600.0


@dataclass(frozen=True)
class Limits:
    """How much of the machine an update may have."""

    nice: int = 10
    seconds: float = LIMIT_SECONDS


def environment() -> Mapping[str, str]:
    """Wins over make.conf; FEATURES adds to it.

    One package's libraries are replaced by its next one's in one step, and no `@preserved-rebuild` is ever
    needed: a release is refused by its gate while anything still uses an old library.
    """
    return {
        "HOME": "/root",
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "EMERGE_DEFAULT_OPTS": "",
        "FEATURES": "-merge-sync -news -getbinpkg",
        "PORTAGE_BINHOST": "",
    }


def update(*, limits: Limits, only_fetch: bool = False) -> list[str]:
    fetch = ["--fetchonly"] if only_fetch else []
    return ["nice", "-n", str(limits.nice), "emerge", *QUIET, *UPDATE, *fetch, *SETS]


def again(cpvs: Sequence[str], *, limits: Limits) -> list[str]:
    """Merge just these, whatever is in their slots, and offer their configuration files once more."""
    options = ["--usepkgonly", "--getbinpkgonly", "--oneshot", "--nodeps", "--noconfmem", "--autounmask=n"]
    return ["nice", "-n", str(limits.nice), "emerge", *QUIET, *options, *(f"={cpv}" for cpv in cpvs)]


def depclean(*, limits: Limits) -> list[str]:
    return ["nice", "-n", str(limits.nice), "emerge", *QUIET, "--depclean", "--with-bdeps=n"]


def explain(text: str) -> str:
    """What emerge complained of, in one line of at most 300 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    start = next((n for n, line in enumerate(lines) if line.startswith(("!!!", "emerge: "))), None)
    chosen = lines[start : start + 3] if start is not None else lines[-2:]
    return " ".join(chosen)[:300] or "it said nothing"


def unsatisfied(text: str) -> Sequence[str]:
    """The lines of satisfied.py that name an atom; empty when all is well."""
    return [line.removeprefix("- ") for line in text.splitlines() if line.startswith("- ")]
