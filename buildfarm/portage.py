"""Runs emerge in a root: its arguments, its environment, and what its output means."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.errors import Problem
from appliance.run import run
from appliance.sandbox import Sandbox
from buildfarm import inside, root

QUIET = ("--color=n", "--nospinner", "--quiet-build=y", "--ask=n")
SETS = ("@system", "@world")
# --usepkg turns build-time dependencies off (create_depgraph_params.py), hence --with-bdeps=y.
# --rebuilt-binaries lets the root follow a package that was built again under the same version.
RESOLVE = (
    "--update", "--deep", "--newuse", "--changed-deps=y", "--with-bdeps=y", "--usepkg=y",
    "--rebuilt-binaries=y", "--binpkg-respect-use=y", "--binpkg-changed-deps=y", "--autounmask=n",
    "--backtrack=100",
)  # fmt: skip
FEATURES = (
    "buildpkg buildpkg-proactive binpkg-multi-instance observability split-log fail-clean -merge-sync "
    "-merge-wait -news -binpkg-signing -getbinpkg"
)
CLIENT_SECONDS = 7200
ACTION = re.compile(r"\[(ebuild|binary|uninstall|blocks)\s([^\]]*)\]\s+(?:\S+ \()?([^\s:]+)")
STARTED = re.compile(r">>> (Emerging|Emerging binary|Installing|Completed) \((\d+) of (\d+)\) ([^\s:]+)")
FAILED = re.compile(r"\*  \(([^\s:,]+):[^)]*\), Log file:")
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


def whole_plan() -> list[str]:
    """Print everything the profile consists of, as if nothing were there."""
    options = [
        "--pretend",
        "--emptytree",
        "--with-bdeps=y",
        "--autounmask=n",
        "--backtrack=100",
        "--usepkg=n",
    ]
    return ["emerge", *QUIET, *options, *SETS]


def update(jobs: int) -> list[str]:
    return ["emerge", *QUIET, *RESOLVE, "--keep-going=y", f"--jobs={jobs}", *SETS]


def update_plan() -> list[str]:
    return ["emerge", *QUIET, *RESOLVE, "--pretend", *SETS]


def rebuild_preserved(jobs: int) -> list[str]:
    """Rebuild what still uses an old library; binaries would use it too."""
    return ["emerge", *QUIET, "--usepkg=n", "--autounmask=n", f"--jobs={jobs}", "@preserved-rebuild"]


def depclean() -> list[str]:
    return ["emerge", *QUIET, "--depclean", "--with-bdeps=y"]


def client_install() -> list[str]:
    """What an installing machine runs, with the index in its binrepos.conf; one that hangs is ended."""
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
class Action:
    """One line of a plan."""

    kind: str
    """ebuild, binary, uninstall or blocks."""
    flags: str
    cpv: str


def parse_plan(text: str) -> list[Action]:
    """The `[ebuild  N    ] cat/pkg-1` lines of `emerge --pretend`."""
    actions = []
    for line in text.splitlines():
        if found := ACTION.match(line):
            kind, flags, cpv = found.groups()
            if kind == "binary":  # the build id is shown like one more version part: sed-4.9-1
                cpv = re.sub(r"(-[0-9][^-]*(?:-r[0-9]+)?)-[0-9]+$", r"\1", cpv)
            actions.append(Action(kind, flags.strip(), cpv))
    return actions


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
            failures[found[1]] = log[1] if log else ""
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


def read_state(sandbox: Sandbox, world: Sequence[str]) -> State:
    atoms = [atom for atom in world if not atom.startswith("@")]
    answer = inside.ask(sandbox, {"state": {"world": atoms}})["state"]
    rows = sorted(answer["installed"], key=lambda row: str(row["CPV"]))
    installed = (
        Installed(r["CPV"], int(r["BUILD_ID"] or 0), int(r["BUILD_TIME"] or 0), r["SLOT"]) for r in rows
    )
    return State(answer["header"], tuple(installed), answer["atoms"]["world"], answer["atoms"]["system"])


def plan(sandbox: Sandbox, argv: Sequence[str]) -> list[Action]:
    """Run a --pretend; a resolver that gives up is a Problem with its own words."""
    asked = run(argv, prefix=sandbox.prefix(), ok=range(256))
    if asked.status != 0:
        raise Problem(f"Portage cannot resolve the profile:\n{explain(asked.stdout)}")
    return parse_plan(asked.stdout)


def explain(text: str) -> str:
    """The resolver's complaint without its preamble."""
    lines = [line for line in text.splitlines() if line.strip()]
    start = next((n for n, line in enumerate(lines) if line.startswith(("!!!", "emerge: "))), 0)
    return "\n".join(lines[start:][-40:])
