"""Decides whether what was built may be published, and gathers what the decision needs."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.model import Package, Snapshot
from appliance.run import run
from appliance.sandbox import Bind
from buildfarm import portage, root
from buildfarm.index import parse_paragraph
from buildfarm.pool import Pool
from buildfarm.portage import Installed
from buildfarm.resolution import Choice
from buildfarm.root import Content

CANDIDATE = PurePosixPath("/var/cache/candidate")
SETTLED = ("installed", "provided")
COUNT_SHOWN = 10


@dataclass(frozen=True)
class Findings:
    """What is known of a finished build; every field is one question of the gate."""

    status: int
    """Exit status of emerge. 0 is not enough: it also means `a world atom was skipped`."""
    ended_well: bool
    """emerge.log ends with `exiting successfully`."""
    remaining: tuple[Choice, ...]
    """The plan after the build."""
    installed: tuple[Installed, ...]
    packages: tuple[Package, ...]
    """The candidate index."""
    atoms: Mapping[str, str]
    """World and system atoms of the root and what became of them."""
    chost: str
    damaged: tuple[str, ...]
    """Packages whose file in the pool is not what its name says."""
    kernel: bool


@dataclass(frozen=True)
class Client:
    """A fresh machine that was installed from the candidate."""

    status: int
    output: str
    installed: tuple[Installed, ...]
    atoms: Mapping[str, str]


def root_reasons(findings: Findings) -> list[str]:
    """Why the root must not be published; empty when a fresh machine may be tried."""
    found = []
    if findings.status != 0:
        found.append(f"emerge ended with status {findings.status}")
    if not findings.ended_well:
        found.append("emerge.log does not end with `exiting successfully`")
    if findings.remaining:
        found.append(f"the plan is not empty after the build: {_some(a.cpv for a in findings.remaining)}")
    found += [f"{atom} of the profile is {state}" for atom, state in _unsettled(findings.atoms)]
    inside = {_instance(one) for one in findings.installed}
    offered = {_package_instance(one) for one in findings.packages}
    if missing := inside - offered:
        found.append(f"installed in the root but not in the index: {_some(_name(i) for i in missing)}")
    if strange := offered - inside:
        found.append(f"in the index but not installed in the root: {_some(_name(i) for i in strange)}")
    found += _foreign(findings)
    if findings.damaged:
        found.append(f"damaged in the pool: {_some(findings.damaged)}")
    if not findings.kernel:
        found.append("there is no kernel image")
    return found


def client_reasons(client: Client, packages: Sequence[Package]) -> list[str]:
    """Why a fresh machine is not what the index says; empty when the release may be sealed."""
    found = []
    if client.status != 0:
        found.append(f"a fresh machine cannot install it:\n{portage.explain(client.output)}")
    for atom, state in _unsettled(client.atoms):
        found.append(f"{atom} is {state} on a fresh machine that was installed from the index")
    offered = {_package_instance(one) for one in packages}
    if strange := {_instance(one) for one in client.installed} - offered:
        found.append(f"a fresh machine has packages not of this release: {_some(_name(i) for i in strange)}")
    return found


def _foreign(findings: Findings) -> list[str]:
    chosts = {parse_paragraph(p.index_entry).get("CHOST", findings.chost) for p in findings.packages}
    wrong = sorted(chosts - {findings.chost})
    return [f"the index holds packages for {', '.join(wrong)}, expected {findings.chost}"] if wrong else []


def _unsettled(atoms: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(atom, state) for atom, state in sorted(atoms.items()) if state not in SETTLED]


def _instance(one: Installed) -> tuple[str, int, int]:
    return one.cpv, one.build_id, one.build_time


def _package_instance(one: Package) -> tuple[str, int, int]:
    return one.cpv, one.build_id, int(one.built_at)


def _name(instance: tuple[str, int, int]) -> str:
    return f"{instance[0]}-{instance[1]}"


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - COUNT_SHOWN} more" if len(ordered) > COUNT_SHOWN else ""
    return ", ".join(ordered[:COUNT_SHOWN]) + more


def find_damaged(pool: Pool, packages: Sequence[Package]) -> tuple[str, ...]:
    """Packages whose bytes no longer have the hash they are named by."""
    damaged = []
    for package in packages:
        with pool.file(package.sha256).open("rb") as source:
            if hashlib.file_digest(source, "sha256").hexdigest() != package.sha256:
                damaged.append(package.cpv)
    return tuple(damaged)


@dataclass(frozen=True)
class Trial:
    """Where and from what a fresh machine is installed to try the candidate."""

    scratch: Path
    stage: Path
    """The root of the install stage."""
    snapshots: tuple[Snapshot, ...]
    configuration: Mapping[str, Content]
    world: tuple[str, ...]
    index: str
    pool: Path
    log: Path


def install_client(trial: Trial) -> Client:
    """`emerge --usepkgonly @system @world` on the bare install stage, as an installing machine does."""
    shutil.rmtree(trial.scratch, ignore_errors=True)
    candidate = trial.scratch / "candidate"
    (candidate / "pool").mkdir(parents=True)
    (candidate / "Packages").write_text(trial.index)
    files = {**trial.configuration, **_only_binrepo(trial.stage)}
    root.lay(trial.scratch / "upper", trial.stage, files)
    sandbox = root.client_sandbox(
        trial.scratch,
        trial.stage,
        trial.snapshots,
        shelves=[Bind(candidate, CANDIDATE), Bind(trial.pool, CANDIDATE / "pool")],
        env={"PORTAGE_TRUST_HELPER": "/bin/true", "FEATURES": "-news -merge-sync", "EMERGE_DEFAULT_OPTS": ""},
    )
    lines: list[str] = []
    done = run(
        portage.client_install(),
        prefix=sandbox.prefix(),
        output=trial.log,
        on_line=lines.append,
        ok=range(-255, 256),
    )
    state = portage.read_state(sandbox, trial.world)
    return Client(done.status, "\n".join(lines), state.installed, {**state.system, **state.world})


def _only_binrepo(stage: Path) -> dict[str, Content]:
    """Our index as the only one: a stage3 brings a binrepos.conf for Gentoo's own."""
    here = Path("etc/portage/binrepos.conf")
    shadows: dict[str, Content] = {
        str(here / path.name): b"" for path in sorted((stage / here).glob("*")) if path.is_file()
    }
    text = f"[distserver]\npriority = 9999\nsync-uri = file://{CANDIDATE}\nverify-signature = false\n"
    return {**shadows, str(here / "distserver.conf"): text.encode()}
