"""Decides whether what was built may be published, and gathers what the decision needs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.farm_model import Package
from buildfarm import portage
from buildfarm.index import parse_paragraph
from buildfarm.portage import Installed
from buildfarm.resolution import Choice
from buildfarm.sonames import Absent

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
    preserved: tuple[str, ...] = ()
    """Old libraries that Portage kept for packages which still use them."""


@dataclass(frozen=True)
class Client:
    """A scratch machine that was installed from the candidate or updated to it."""

    status: int
    output: str
    installed: tuple[Installed, ...]
    atoms: Mapping[str, str]
    preserved: tuple[str, ...] = ()
    absent: tuple[Absent, ...] = ()
    """Libraries that packages of the release need and the machine has not."""
    subject: str = "a fresh machine"


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
        found.append(f"damaged in the pool: {_some(findings.damaged)}; the next build makes them again")
    if findings.preserved:
        found.append(
            f"old libraries are only kept for packages that still use them: {_some(findings.preserved)};"
            " rebuild those packages (emerge @preserved-rebuild did not)"
        )
    if not findings.kernel:
        found.append("there is no kernel image: the kernel package of the profile is not installed")
    return found


def file_reasons(sizes: Mapping[str, int | None]) -> list[str]:
    """Files of the release (name -> bytes) that are missing (None) or empty."""
    words = {None: "is missing", 0: "is empty"}
    return [f"{name} of the release {words[size]}" for name, size in sorted(sizes.items()) if not size]


def client_reasons(client: Client, packages: Sequence[Package]) -> list[str]:
    """Why a scratch machine is not what the index says; empty when it is."""
    found = []
    who = client.subject
    if client.status != 0:  # all else follows from it
        return [f"{who} cannot install it:\n{portage.explain(client.output)}"]
    for atom, state in _unsettled(client.atoms):
        found.append(f"{atom} is {state} on {who} that was installed from the index")
    offered = {_package_instance(one) for one in packages}
    if strange := {_instance(one) for one in client.installed} - offered:
        found.append(f"{who} has packages not of this release: {_some(_name(i) for i in strange)}")
    if client.preserved:
        found.append(f"{who} keeps old libraries: {_some(client.preserved)}")
    if client.absent:
        found.append(
            f"{who} lacks libraries that packages need: {_some(map(str, client.absent))};"
            " if one can do without, set REQUIRES_EXCLUDE for it in package.env"
        )
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
