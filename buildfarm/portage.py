"""Runs emerge in a root: its arguments, its environment, and what its output means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.sandbox import Sandbox
from buildfarm import inside, root

QUIET = ("--color=n", "--nospinner", "--quiet-build=y", "--ask=n")
SETS = ("@system", "@world")
# --usepkg turns build-time dependencies off (create_depgraph_params.py), hence --with-bdeps=y.
# --rebuilt-binaries lets the root follow a package that was built again under the same version.
RESOLVE = (
    "--update", "--deep", "--newuse", "--changed-deps=y", "--with-bdeps=y", "--autounmask=n",
    "--backtrack=100",
)  # fmt: skip
FROM_BINARIES = (
    "--usepkg=y", "--rebuilt-binaries=y", "--binpkg-respect-use=y", "--binpkg-changed-deps=y",
)  # fmt: skip
# -buildpkg-proactive: which installed packages have no package any more is found by build keys, in whatever
# version of Portage, and said by --reinstall-atoms.
FEATURES = (
    "buildpkg -buildpkg-proactive binpkg-multi-instance observability split-log fail-clean -merge-sync "
    "-merge-wait -news -binpkg-signing -getbinpkg"
)
ATOMS_PER_OPTION = 500
"""One argument may have 128 KiB (MAX_ARG_STRLEN)."""
CLIENT_SECONDS = 7200
STARTED = re.compile(r">>> (Emerging|Emerging binary|Installing|Completed) \((\d+) of (\d+)\) ([^\s:]+)")
FAILED = re.compile(r"\*  \(([^\s:,]+):[^,)]*(, binary)?[^)]*\), Log file:")
BUILD_ID = re.compile(r"-[0-9]+$")
FAILED_EARLY = re.compile(r">>> Failed to (?:emerge|install) ([^\s:,]+)")
LOG_LINE = re.compile(r"(?:\*|>>>)\s+'(/[^']+)'")
EXITING = re.compile(r"\*\*\* exiting (successfully|unsuccessfully)")


def environment(processors: int) -> dict[str, str]:
    """Variables for the build root; they win over make.conf (FEATURES adds to it)."""
    return {
        "FEATURES": FEATURES,
        "BINPKG_FORMAT": "gpkg",
        "DISTDIR": str(root.DISTFILES),
        "PKGDIR": str(root.PKGDIR),
        "PORTAGE_TMPDIR": str(root.TMPDIR),
        "PORTAGE_LOGDIR": str(root.LOGS),
        "EMERGE_LOG_DIR": str(root.LOGS),
        "PORTAGE_ELOG_SYSTEM": "save save_summary",
        "PORTAGE_TRUST_HELPER": "/bin/true",
        "EMERGE_DEFAULT_OPTS": "",
        # Most of a build is configure scripts, which use one processor: packages run side by side, and the
        # one that really compiles (the kernel) may use all.
        "MAKEOPTS": f"-j{processors}",
        "GENTOO_MIRRORS": "",
    }


def wanted_plan() -> list[str]:
    """What the resolver is asked first: what would there be if nothing were known but sources?"""
    return [*RESOLVE, "--usepkg=n", *SETS]


def update(jobs: int, again: Sequence[str] = ()) -> list[str]:
    """`again`: atoms of what is installed but has to be built again."""
    parts = [again[n : n + ATOMS_PER_OPTION] for n in range(0, len(again), ATOMS_PER_OPTION)]
    reinstall = [f"--reinstall-atoms={' '.join(part)}" for part in parts]
    options = [*RESOLVE, *FROM_BINARIES, *reinstall, "--keep-going=y", f"--jobs={jobs}"]
    return ["emerge", *QUIET, *options, *SETS]


def only(jobs: int, cpvs: Sequence[str]) -> list[str]:
    """Merge these versions before all else; they do not become part of the world."""
    options = [*RESOLVE, *FROM_BINARIES, "--oneshot", "--keep-going=y", f"--jobs={jobs}"]
    return ["emerge", *QUIET, *options, *(f"={cpv}" for cpv in cpvs)]


def remaining_plan() -> list[str]:
    """What the resolver is asked after the update; nothing may be left."""
    return [*RESOLVE, *FROM_BINARIES, *SETS]


def rebuild_preserved(jobs: int) -> list[str]:
    """Rebuild what still uses an old library; binaries would use it too."""
    return ["emerge", *QUIET, "--usepkg=n", "--autounmask=n", f"--jobs={jobs}", "@preserved-rebuild"]


def depclean() -> list[str]:
    return ["emerge", *QUIET, "--depclean", "--with-bdeps=y"]


def client_install() -> list[str]:
    """What a machine runs to install or update, the index in its binrepos.conf; one that hangs is ended."""
    options = [
        "--usepkgonly",
        "--getbinpkgonly",
        "--update",
        "--deep",
        "--rebuilt-binaries=y",
        "--autounmask=n",
    ]
    return ["timeout", "--kill-after=10", str(CLIENT_SECONDS), "emerge", *QUIET, *options, *SETS]


@dataclass(frozen=True)
class Step:
    """A progress line: `>>> Emerging (3 of 16) sys-apps/sed-4.9::repo`."""

    verb: str
    """Emerging, Emerging binary, Installing or Completed."""
    number: int
    total: int
    cpv: str


def parse_step(line: str) -> Step | None:
    found = STARTED.match(line)
    return Step(found[1], int(found[2]), int(found[3]), found[4]) if found else None


def parse_failures(text: str) -> dict[str, str]:
    """Failed package -> its log inside the root (empty when none is named).

    The summary at the end names them all; `>>> Failed to emerge` stands between other jobs' lines.
    """
    failures = {found[1]: "" for found in FAILED_EARLY.finditer(text)}
    lines = text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if found := FAILED.search(line):
            log = LOG_LINE.search(after)
            # The build id of a binary is shown like one more part of the version.
            package = BUILD_ID.sub("", found[1]) if found[2] else found[1]
            failures[package] = log[1] if log else ""
    return failures


def ended_well(emerge_log: str) -> bool:
    """Does the last run in emerge.log end with `*** exiting successfully.`?"""
    verdicts = EXITING.findall(emerge_log)
    return bool(verdicts) and verdicts[-1] == "successfully"


@dataclass(frozen=True)
class Installed:
    cpv: str
    build_id: int
    build_time: int
    slot: str


@dataclass(frozen=True)
class State:
    """What Portage in a root says of it."""

    header: Mapping[str, str]
    installed: tuple[Installed, ...]
    world: Mapping[str, str]
    """atom -> installed, provided, available, masked, absent or invalid."""
    system: Mapping[str, str]
    preserved: tuple[str, ...] = ()
    """Old libraries that are only kept because something still uses them."""


def read_state(sandbox: Sandbox, world: Sequence[str]) -> State:
    return parse_state(inside.ask(sandbox, {"state": state_question(world)})["state"])


def state_question(world: Sequence[str]) -> dict[str, list[str]]:
    """Arguments of the question `state` of inside.ask()."""
    return {"world": [atom for atom in world if not atom.startswith("@")]}


def parse_state(answer: Mapping[str, Any]) -> State:
    """The answer to state_question()."""
    rows = sorted(answer["installed"], key=lambda row: str(row["CPV"]))
    installed = (
        Installed(r["CPV"], int(r["BUILD_ID"] or 0), int(r["BUILD_TIME"] or 0), r["SLOT"]) for r in rows
    )
    return State(
        header=answer["header"],
        installed=tuple(installed),
        world=answer["atoms"]["world"],
        system=answer["atoms"]["system"],
        preserved=tuple(answer["preserved"]),
    )


def explain(text: str) -> str:
    """The resolver's complaint without its preamble."""
    lines = [line for line in text.splitlines() if line.strip()]
    start = next((n for n, line in enumerate(lines) if line.startswith(("!!!", "emerge: "))), 0)
    return "\n".join(lines[start:][-40:])
