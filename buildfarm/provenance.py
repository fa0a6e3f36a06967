"""Puts into every package where it came from, and reads it again.

/etc/portage/bashrc writes build-info/DISTSERVER_PROVENANCE when the install phase begins. Portage takes what
lies there into the package's metadata, and from there into the VDB of every client. It does so while it is
sourced: a hook such as post_src_install may be the profile's own.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.farm_model import Snapshot
from buildfarm import gpkg
from buildfarm.key import COMPILING, OWN_TOOLCHAIN, TOOLCHAIN, Recipe, build_key
from buildfarm.root import TMPDIR, Attempt, Content

NAME = "DISTSERVER_PROVENANCE"
BASHRC = "etc/portage/bashrc"
OWN = "bashrc.profile"
"""What the profile's own /etc/portage/bashrc is called in a build root."""
ROOM = "provenance"
# Portage sources bashrc anew for every phase (ebuild.sh, __source_all_bashrcs). build-info may not be there
# when all phases before src_install were skipped. Nothing may be left behind: the environment is saved.
HOOK = f"""\
# Written by DistServer for its build roots: notes in each package where it came from.
__distserver_provenance() {{
	local facts="{TMPDIR}/{ROOM}/${{CATEGORY}}/${{PF}}" begun="${{T}}/distserver-begun"
	[[ -f ${{facts}} && -d ${{PORTAGE_BUILDDIR}} ]] || return 0
	case ${{EBUILD_PHASE}} in
	setup|unpack)
		[[ -e ${{begun}} ]] || printf '%(%Y-%m-%dT%H:%M:%SZ)T\\n' -1 > "${{begun}}" ;;
	install)
		mkdir -p "${{PORTAGE_BUILDDIR}}"/build-info || return 0
		{{
			while read -r; do printf '%s\\n' "${{REPLY}}"; done < "${{facts}}"
			[[ -f ${{begun}} ]] && read -r < "${{begun}}" && printf 'begun: %s\\n' "${{REPLY}}"
			[[ -n ${{DISTCC_HOSTS}} ]] && printf 'distcc hosts: %s\\n' "${{DISTCC_HOSTS}}"
		}} > "${{PORTAGE_BUILDDIR}}"/build-info/{NAME} ;;
	esac
	return 0
}}
TZ=UTC __distserver_provenance
unset -f __distserver_provenance
if [[ -f ${{PORTAGE_CONFIGROOT%/}}/etc/portage/{OWN} ]]; then
	source "${{PORTAGE_CONFIGROOT%/}}/etc/portage/{OWN}"
fi
"""


@dataclass(frozen=True)
class Provenance:
    """What a package says of itself, by name: profile, build key, toolchain, CFLAGS, begun ..."""

    facts: Mapping[str, str]

    def __str__(self) -> str:
        return "".join(f"{name}: {value}\n" for name, value in self.facts.items())


def with_hook(files: Mapping[str, Content], stage: Path) -> dict[str, Content]:
    """The laid files of a build root with ours before the profile's bashrc, or that of the stage."""
    moved: dict[str, Content] = {}
    for name, content in files.items():
        own = name == BASHRC or name.startswith(f"{BASHRC}/")
        moved[f"etc/portage/{OWN}{name.removeprefix(BASHRC)}" if own else name] = content
    below = stage / BASHRC
    if moved.keys() == files.keys() and below.is_file():
        moved[f"etc/portage/{OWN}"] = below.read_bytes()
    return {**moved, BASHRC: HOOK.encode()}


def lay(
    attempt: Attempt, recipes: Mapping[str, Recipe], *, profile: str, snapshots: Iterable[Snapshot]
) -> None:
    """Write down what is known before the build, for each package that may be built."""
    revisions = {f"snapshot {one.repository}": one.revision for one in snapshots}
    for cpv, recipe in recipes.items():
        place = attempt.path / "tmp" / ROOM / cpv
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(str(describe(recipe, profile=profile, revisions=revisions, host=platform.node())))


def describe(recipe: Recipe, *, profile: str, revisions: Mapping[str, str], host: str) -> Provenance:
    """All that can be said before a package is built."""
    compiling = {
        name.removeprefix("variable "): value
        for name, value in sorted(recipe.parts.items())
        if name.startswith("variable ") and COMPILING.fullmatch(name)
    }
    identity, _, compiler = _toolchain(recipe).partition(" ")
    return Provenance(
        {
            "package": recipe.cpv,
            "build key": build_key(recipe),
            "profile": profile,
            "build host": host,
            **revisions,
            "toolchain": identity,
            "compiler": compiler,
            "USE": recipe.parts.get("USE", ""),
            **compiling,
        }
    )


def _toolchain(recipe: Recipe) -> str:
    return recipe.parts.get(TOOLCHAIN) or recipe.parts.get(OWN_TOOLCHAIN, "")


def read(package: Path) -> Provenance | None:
    """What a gpkg says of itself; None when it was not built by a DistServer that notes it."""
    found = gpkg.read_metadata(package, keys=[NAME])
    return parse(found[NAME]) if NAME in found else None


def parse(text: str) -> Provenance:
    """`name: value` lines, as they lie in a package and in a client's /var/db/pkg."""
    pairs = (line.partition(": ") for line in text.splitlines() if ": " in line)
    return Provenance({name: value for name, _, value in pairs})
