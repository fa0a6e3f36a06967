"""What differs in a build for another processor: its second root, its variables, what may be in a package."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.farm_model import Package
from appliance.profile_model import Cross
from appliance.site_model import Profile
from buildfarm import gpkg, processors
from buildfarm.pool import Pool
from buildfarm.root import Content

WORLD = "var/lib/portage/"
"""What of a configuration lies in the root that is installed into; the rest is Portage's own, at /."""
HEAD_BYTES = 20
# Firmware is for the processor of the device that runs it.
NOT_OURS = ("/lib/firmware/", "/usr/lib/firmware/")
SHOWN = 5


def check(profile: Profile, machine: str = platform.machine()) -> None:
    """Raise Problem when this farm, whose `uname -m` is `machine`, cannot make the profile's packages so."""
    native = processors.is_native(profile.chost, machine)
    if profile.cross is Cross.NATIVE and not native:
        raise Problem(
            f"profile {profile.name}: {profile.chost} is for another processor than this farm's, {machine}",
            hint='set cross = "emulated" (a root of its own) or cross = "root" (a cross compiler)',
        )
    if profile.cross is not Cross.NATIVE and native:
        raise Problem(
            f"profile {profile.name}: this farm, {machine}, runs programs for {profile.chost} itself",
            hint=f'take cross = "{profile.cross.value}" out of profile.toml',
        )


def target(profile: Profile) -> PurePosixPath | None:
    """The root that is installed into, as crossdev names it; None: it is / as usual."""
    return PurePosixPath("/usr") / profile.chost if profile.cross is Cross.ROOT else None


def environment(target: PurePosixPath | None) -> dict[str, str]:
    """Variables of Portage and of build systems when packages are installed into `target`."""
    if target is None:
        return {}
    chost, cbuild = target.name, usual_chost(platform.machine())
    places = [f"{target}/usr/{name}/pkgconfig" for name in ("lib", "lib64", "share")]
    return {
        "ROOT": str(target),
        "SYSROOT": str(target),
        "CBUILD": cbuild,
        "CC": f"{chost}-gcc --sysroot={target}",
        "CXX": f"{chost}-g++ --sysroot={target}",
        "BUILD_CC": f"{cbuild}-gcc",
        "BUILD_CXX": f"{cbuild}-g++",
        "PKG_CONFIG_LIBDIR": ":".join(places),
        "PKG_CONFIG_SYSROOT_DIR": str(target),
    }


def usual_chost(machine: str) -> str:
    """What Gentoo calls a processor of Linux and glibc: its stages for x86 say `pc`, all others `unknown`."""
    return f"{machine}-{'pc' if machine in ('x86_64', 'i686') else 'unknown'}-linux-gnu"


def laid(files: Mapping[str, Content], target: PurePosixPath | None) -> dict[str, Content]:
    """A configuration (names relative to /) as a build with this second root wants it."""
    if target is None:
        return dict(files)
    below = str(target.relative_to("/"))
    return {f"{below}/{name}" if name.startswith(WORLD) else name: text for name, text in files.items()}


def foreign_files(packages: Iterable[Package], pool: Pool, chost: str) -> list[str]:
    """`cat/name-1 has /usr/bin/x for another processor` for what is no program or object of this CHOST."""
    wanted = processors.of(chost)
    if wanted is None:
        return []
    found = []
    for package in packages:
        path = pool.file(package.sha256)
        found += [f"{package.cpv} has {name} of {said}" for name, said in _strange(path, wanted)]
    more = len(found) - SHOWN
    return [*found[:SHOWN], *([f"and {more} files more for another processor"] if more > 0 else [])]


def _strange(package: Path, wanted: processors.Processor) -> Sequence[tuple[str, str]]:
    found = []
    for name, content in gpkg.read_image(package, wanted=lambda name: not name.startswith(NOT_OURS)):
        head = content.read(HEAD_BYTES)
        machine = processors.machine_of(head)
        if machine is not None and machine != wanted.elf:
            found.append((name, processors.describe(machine)))
    return found
