"""Says of a failed package what kind of failure it is, which line shows it, and what to do next."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.farm_model import FailureKind, FailureRecord

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
DIED = re.compile(r"^ \* ERROR: \S+ failed(?: \((\w+) phase\))?:")
REMEMBERED = re.compile(r"distserver: not tried again, (\w+): (.*)")
NEAR_LINES = 400
"""How far before the end of a log the cause is looked for: make -j goes on for a while after an error."""
DAY_SECONDS = 24 * 3600.0
SOON_SECONDS = 15 * 60.0

PHASES: Mapping[str, FailureKind] = {
    # The phases as Portage names them (bin/ebuild.sh, EBUILD_PHASE).
    "pretend": FailureKind.SETUP,
    "setup": FailureKind.SETUP,
    "nofetch": FailureKind.FETCH,
    "unpack": FailureKind.UNPACK,
    "prepare": FailureKind.PREPARE,
    "configure": FailureKind.CONFIGURE,
    "compile": FailureKind.COMPILE,
    "test": FailureKind.TEST,
    "install": FailureKind.INSTALL,
    "instprep": FailureKind.INSTALL,
    "package": FailureKind.INSTALL,
    "preinst": FailureKind.MERGE,
    "postinst": FailureKind.MERGE,
    "prerm": FailureKind.MERGE,
    "postrm": FailureKind.MERGE,
}


@dataclass(frozen=True)
class Pattern:
    """A line that tells the kind, whatever the phase was."""

    kind: FailureKind
    line: re.Pattern[str]
    source: str
    """Who writes it."""
    phases: Collection[str] = ()
    """Only in these phases; empty: in all but the test phase, where a test suite says anything."""


def _pattern(kind: FailureKind, line: str, source: str, phases: Collection[str] = ()) -> Pattern:
    return Pattern(kind, re.compile(line), source, phases)


LIVE = ("unpack",)
PATTERNS = (
    # The first that is found counts: what the machine lacked before what the package did with it.
    _pattern(FailureKind.DISK, r"No space left on device|Disk quota exceeded", "errno(3) ENOSPC, EDQUOT"),
    _pattern(
        FailureKind.MEMORY, r"(Killed signal|Killed \(program|signal 9 \[Killed\])", "gcc.c, collect-utils.c"
    ),
    _pattern(FailureKind.MEMORY, r"\*\*\* \[[^\]]*\] (Killed|Error 137)$", "GNU make; 137 = 128 + SIGKILL"),
    _pattern(FailureKind.MEMORY, r"line \d+: +\d+ Killed ", "bash, of a child that got SIGKILL"),
    _pattern(FailureKind.MEMORY, r"\(signal: 9, SIGKILL: kill\)", "cargo, of rustc"),
    _pattern(FailureKind.MEMORY, r"out of memory allocating \d+ bytes", "libiberty xmalloc.c, in cc1"),
    _pattern(FailureKind.MEMORY, r"(virtual )?memory exhausted", "gcc; GNU ld and m4"),
    _pattern(FailureKind.MEMORY, r"Cannot allocate memory", "errno(3) ENOMEM"),
    _pattern(FailureKind.MEMORY, r"LLVM ERROR: out of memory|std::bad_alloc", "LLVM; libstdc++"),
    _pattern(FailureKind.MEMORY, r"java\.lang\.OutOfMemoryError|heap out of memory", "Java; Node.js"),
    _pattern(FailureKind.MEMORY, r"fatal error: runtime: (cannot allocate|out of) memory", "Go"),
    _pattern(
        FailureKind.DISTCC, r"distcc\[\d+\].* failed to distribute and fallbacks are disabled", "compile.c"
    ),
    _pattern(FailureKind.FETCH, r"^!!! Couldn't download '", "Portage, fetch.py"),
    _pattern(FailureKind.FETCH, r"has fetch restriction turned on", "Portage, fetch.py"),
    _pattern(FailureKind.FETCH, r"VERIFY FAILED!|^!!! Digest verification failed", "Portage, fetch.py"),
    _pattern(FailureKind.FETCH, r"Could not resolve host|fatal: unable to access", "git, curl", LIVE),
    _pattern(FailureKind.FETCH, r"Unable to fetch from any of EGIT_REPO_URI", "git-r3.eclass", LIVE),
    _pattern(FailureKind.MERGE, r"NOT merged due to file collisions", "Portage, vartree.py"),
    _pattern(FailureKind.COMPILE, r"internal compiler error", "gcc, diagnostic.c"),
    _pattern(
        FailureKind.PREPARE, r"out of \d+ hunks? FAILED|can't find file to patch", "patch(1)", ("prepare",)
    ),
    _pattern(FailureKind.CONFIGURE, r"^configure: error: ", "autoconf", ("configure", "compile")),
    _pattern(FailureKind.CONFIGURE, r"^CMake Error", "cmake", ("configure",)),
    _pattern(FailureKind.CONFIGURE, r"^\S*meson\.build:\d+:\d+: ERROR:", "meson", ("configure",)),
)
# What only says something when compile hosts took part (distcc 3.4, compile.c and exitcode.c).
REMOTE_FAILED = re.compile(
    r"distcc\[\d+\].*(?:remote compilation of '([^']+)' failed|compile (\S+) on (\S+) failed)"
)
REMOTE_RETRIED = re.compile(r"retrying locally|retried locally")
MIXED_OBJECTS = re.compile(
    r"generated with LTO version|file (format )?not recognized|plugin needed to handle lto object"
)
ERROR = re.compile(
    r"(^|: |\s)(fatal )?error(\[\w+\])?: |^\w+(Error|Exception): |undefined reference|^FAIL|: not found$"
    r"|Error \d+$",
    re.IGNORECASE,
)
NO_REASON = ("", "(no error message)")
RESOLVER = (
    # emerge's own sentences (lib/_emerge/resolver/output.py, depgraph.py), the one that explains most first.
    re.compile(r"^\[blocks B"),
    re.compile(r"^!!! Multiple package instances within a single package slot"),
    re.compile(r"^ \* Error: circular dependencies:|^ \* Error: The above package list contains"),
    re.compile(r"^!!! All ebuilds that could satisfy|^!!! The following (installed )?packages are masked"),
    re.compile(r"^emerge: there are no (ebuilds|binary packages|packages)"),
    re.compile(r"^!!! The ebuild selected to satisfy|REQUIRED_USE|^!!! Problem"),
    re.compile(r"^The following (USE|keyword|mask|license) changes are necessary"),
)


@dataclass(frozen=True)
class Classified:
    kind: FailureKind
    phase: str
    """As Portage names it; empty when none failed."""
    evidence: str
    """The line that shows it."""
    remembered: bool = False
    """It was not tried: it had failed before under the same key."""


@dataclass(frozen=True)
class Failure:
    """A package that did not build."""

    package: str
    log: Path | None
    tail: str
    """The last lines of its log."""
    kind: FailureKind = FailureKind.UNKNOWN
    evidence: str = ""
    build_key: str = ""
    remembered: bool = False

    def __str__(self) -> str:
        why = f": {self.evidence}" if self.evidence else ""
        where = f"; its log is {self.log}" if self.log else ""
        return f"does not build ({self.kind.value}){why}{where}"


def classify(log: str, *, distributed: bool = False) -> Classified:
    """What the build log of one failed package says. `distributed`: compile hosts took part in its build."""
    lines = plain(log).splitlines()
    died = next((n for n in range(len(lines) - 1, -1, -1) if DIED.match(lines[n])), None)
    found = DIED.match(lines[died]) if died is not None else None
    phase = (found[1] or "") if found else ""
    end = len(lines) if died is None else died
    near = lines[max(0, end - NEAR_LINES) : end]
    reason = lines[end + 1].removeprefix(" *").strip() if died is not None and end + 1 < len(lines) else ""
    if again := REMEMBERED.search(reason):
        return Classified(FailureKind(again[1]), phase, again[2], remembered=True)
    # After a failed merge Portage writes on in other words than `ERROR:`.
    for pattern in PATTERNS:
        if (phase in pattern.phases) if pattern.phases else phase != "test":
            for line in [*near, reason, *(lines if died is None else [])]:
                if pattern.line.search(line):
                    return Classified(pattern.kind, phase, line.removeprefix(" *").strip())
    if phase in ("compile", "install") and (line := _remote(near, distributed=distributed)):
        return Classified(FailureKind.DISTCC, phase, line)
    kind = PHASES.get(phase, FailureKind.UNKNOWN)
    if reason in NO_REASON:
        reason = next((line.strip() for line in reversed(near) if line.strip()), "")
    return Classified(kind, phase, _first_error(near) or reason)


def classify_resolver(output: str) -> Classified:
    """What emerge's output says when it ended before it built anything."""
    lines = plain(output).splitlines()
    for pattern in RESOLVER:
        for line in lines:
            if pattern.search(line):
                return Classified(FailureKind.RESOLVER, "", line.strip(" *!"))
    return Classified(FailureKind.UNKNOWN, "", next((line for line in reversed(lines) if line.strip()), ""))


def plain(text: str) -> str:
    """Without colours, and without the [ !! ] that Portage draws at the right margin."""
    return ANSI.sub("", text)


def _remote(lines: Iterable[str], *, distributed: bool) -> str:
    """The line that shows that only a compile host failed: what failed here, too, is the package's fault."""
    suspects: dict[str, str] = {}
    for line in lines:
        if found := REMOTE_FAILED.search(line):
            source = found[1] or found[2]
            if REMOTE_RETRIED.search(line) or found[3] == "localhost":
                suspects.pop(source, None)
            else:
                suspects[source] = line.strip()
        elif distributed and MIXED_OBJECTS.search(line):
            return line.strip()
    return next(iter(suspects.values()), "")


def _first_error(lines: Sequence[str]) -> str:
    """The first line of the last part that complains: those after it mostly follow from it."""
    return next((line.strip() for line in lines if ERROR.search(line)), "")


@dataclass(frozen=True)
class Retry:
    """Try again at once, in the same attempt."""

    local: bool
    """Without compile hosts."""
    jobs: int
    """Packages at a time."""
    make_jobs: int
    """Processes within one package."""
    reason: str = ""


@dataclass(frozen=True)
class GiveUp:
    """Nothing to try before something changes; what may stay at its version can be held back."""

    cpvs: tuple[str, ...]


@dataclass(frozen=True)
class Effort:
    """How emerge ran."""

    jobs: int
    make_jobs: int
    local: bool = False


def next_step(failures: Sequence[Failure], efforts: Sequence[Effort]) -> Retry | GiveUp:
    """What to do after emerge ended with failures; `efforts` are those made so far, the newest last.

    A failure of a compile host is tried once more without any, with half the jobs. Want of memory is tried
    once more alone on the machine. All others would fail again.
    """
    last = efforts[-1]
    kinds = {failure.kind for failure in failures if not failure.remembered}
    if FailureKind.MEMORY in kinds and (last.jobs, last.make_jobs) != (1, 1):
        return Retry(local=last.local, jobs=1, make_jobs=1, reason="memory was short")
    if FailureKind.DISTCC in kinds and not any(effort.local for effort in efforts):
        half = max(1, last.make_jobs // 2)
        return Retry(local=True, jobs=max(1, last.jobs // 2), make_jobs=half, reason="a compile host failed")
    return GiveUp(tuple(sorted(failure.package for failure in failures)))


def due(record: FailureRecord, now: float) -> bool:
    """May what failed be tried again under the same key?

    What depends on the world outside (a mirror, the disk) soon, and then ever later; the rest a day later.
    A clock that was set back does not keep it waiting: what seems to be from the future is tried.
    """
    waited = now - record.last_at
    return waited < 0 or waited >= wait_seconds(record)


def wait_seconds(record: FailureRecord) -> float:
    if record.kind in (FailureKind.FETCH, FailureKind.DISK, FailureKind.DISTCC, FailureKind.MEMORY):
        doubled: float = SOON_SECONDS * 2 ** min(record.count - 1, 16)
        return min(DAY_SECONDS, doubled)
    return DAY_SECONDS


def skip_files(records: Iterable[FailureRecord]) -> dict[str, bytes]:
    """Files of /etc/portage that make these packages fail at once instead of compiling again.

    env/CATEGORY/PF is sourced for this one version (portage(5)); with --keep-going all others are built.
    """
    return {
        f"etc/portage/env/{record.cpv}": (
            '[[ ${EBUILD_PHASE} == setup ]] && die "distserver: not tried again, '
            f'{record.kind.value}: {_quotable(record.evidence)}"\ntrue\n'
        ).encode()
        for record in records
    }


def _quotable(text: str) -> str:
    return re.sub(r'["\\$`]', "'", text)
