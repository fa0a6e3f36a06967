"""Finds the kernel in a built kernel package, and says whether it is the one that was asked for."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import disk_kernel, kconfig
from appliance.disk_model import DiskLayout
from appliance.errors import Problem
from appliance.farm_model import Package
from buildfarm import gpkg
from buildfarm.index import split_cpv

# Where kernel packages put their image, the best place first. distserver-kernel and hand-made ones use /boot;
# Gentoo's (kernel-build.eclass, dist-kernel-utils.eclass) the build tree in /usr/src with a link beside the
# modules, whose name differs with the processor; without a link only the tree is left.
IMAGES = (
    re.compile(r"/boot/(?:vmlinuz|vmlinux|kernel|bzImage|Image)-(?P<version>[^/]+)"),
    re.compile(r"/usr/lib/modules/(?P<version>[^/]+)/(?:vmlinuz|vmlinux)"),
    re.compile(
        r"/usr/src/linux-(?P<version>[^/]+)/arch/[^/]+/boot/"
        r"(?:bzImage|zImage|Image\.gz|Image|vmlinuz\.efi|vmlinux\.elf)"
    ),
    re.compile(r"/usr/src/linux-(?P<version>[^/]+)/vmlinux"),
    re.compile(r"/boot/(?:vmlinuz|vmlinux|kernel|bzImage|Image)(?P<version>)"),
)
CONFIGS = ("/boot/config-{}", "/usr/lib/modules/{}/config", "/usr/src/linux-{}/.config")
MODULE = re.compile(r"/usr/lib/modules/(?P<version>[^/]+)/.*\.ko(?:\.(?:gz|xz|zst))?")
KCONFIG = re.compile(r"/usr/src/[^/]+/(.*Kconfig[^/]*)")
LINK_DEPTH = 40
# The directory of arch/ in the sources by what Portage calls the processor (tc-arch-kernel).
SOURCE_ARCH = {"amd64": "x86", "x86": "x86", "ppc": "powerpc", "ppc64": "powerpc", "loong": "loongarch"}


@dataclass(frozen=True)
class KernelFiles:
    """Absolute names as the package has them; empty: there is none."""

    version: str
    """What `uname -r` will say; empty when no name tells it."""
    image: str
    config: str
    modules: bool


@dataclass(frozen=True)
class Kernel:
    """A kernel out of a package."""

    version: str
    installed_as: str
    config: str
    """Text of its final configuration; empty: the package does not say."""
    modules: bool


def find_kernel(files: Mapping[str, str]) -> KernelFiles | None:
    """The kernel among installed files (absolute name -> target of a symbolic link, else empty).

    /lib/modules and /usr/lib/modules are the same place: which of them a package names depends on its eclass
    and on whether the root's /lib is merged into /usr. Of several versions the highest counts.
    """
    real = {_merged(name): name for name in files}
    found: dict[str, str] = {}
    for pattern in reversed(IMAGES):
        for name in sorted(real):
            matched = pattern.fullmatch(name)
            image = _follow(name, files, real) if matched and not name.endswith(".old") else None
            if matched and image:
                found[matched["version"]] = image
    named = [version for version in found if version]
    if not found:
        return None
    version = max(named, key=_version_key, default="")
    configs = [place for text in CONFIGS if (place := _follow(text.format(version), files, real))]
    modules = any((m := MODULE.fullmatch(name)) and m["version"] == version for name in real)
    return KernelFiles(version, found[version], next(iter(configs), ""), modules)


def choose(packages: Sequence[Package], name: str) -> Package | None:
    """The package category/name; of several slots the one with the highest version."""
    found = [package for package in packages if split_cpv(package.cpv)[0] == name]
    return max(found, key=lambda one: (_version_key(split_cpv(one.cpv)[1]), one.built_at), default=None)


def extract_kernel(package: Path, target: Path) -> Kernel:
    """Copy the kernel image out of a gpkg to `target`; raises Problem when there is none."""
    found = find_kernel(gpkg.read_links(package))
    if found is None:
        raise Problem(
            f"{package} installs no kernel image",
            hint="a kernel package has it in /boot, beside its modules or in /usr/src/linux-VERSION",
        )
    gpkg.extract(package, found.image, target)
    config = gpkg.extract_texts(package, {found.config})[found.config] if found.config else ""
    return Kernel(found.version, found.image, config, found.modules)


def objections(wanted: str, kernel: Kernel, *, arch: str, kconfigs: Mapping[str, str]) -> list[str]:
    """Why this is not the kernel that `wanted` (the profile's kernel.config) asks for; empty when it is.

    `kconfigs` are the Kconfig files of its sources, as read_kconfigs() gives them; without any the unmet
    dependencies are not named.
    """
    if not kernel.config:
        asked = len(kconfig.parse(wanted))
        return [
            f"{kernel.installed_as} came without its configuration: {asked} options are unchecked"
        ] * bool(asked)
    missing = kconfig.missing_symbols(wanted, kernel.config)
    if not missing:
        return []
    source_arch = SOURCE_ARCH.get(arch, arch)
    definitions = kconfig.dependencies(kconfigs, arch=source_arch) if kconfigs else {}
    final = kconfig.parse(kernel.config)
    return [f"kernel {kernel.version}: {kconfig.explain(one, definitions, final)}" for one in missing]


def disk_objections(layout: DiskLayout, kernel: Kernel, *, arch: str) -> list[str]:
    """Why a machine with these disks would not start with this kernel.

    Empty when it would, and when the kernel came without its configuration: then nobody knows.
    """
    lacking = disk_kernel.lacking(layout, arch, kernel.config) if kernel.config else []
    return [f"kernel {kernel.version}: {one}" for one in lacking]


def read_kconfigs(packages: Sequence[Path]) -> dict[str, str]:
    """The Kconfig files below /usr/src of the first of these gpkgs that has any, by name in the sources."""
    for package in packages:
        named = {name: m[1] for name in gpkg.list_image(package) if (m := KCONFIG.fullmatch(name))}
        if named:
            return {named[name]: text for name, text in gpkg.extract_texts(package, named).items()}
    return {}


def _merged(name: str) -> str:
    return f"/usr{name}" if name.startswith("/lib/") else name


def _follow(name: str, files: Mapping[str, str], real: Mapping[str, str]) -> str | None:
    """The name under which the package has the bytes of `name`; None when a link leads out of it."""
    for _ in range(LINK_DEPTH):
        held = real.get(_merged(name))
        if held is None:
            return None
        if not files[held]:
            return held
        # `../..` out of /lib/modules/VERSION means another place when /lib is a link to usr/lib; eclasses
        # write as many `..` as reach / from either.
        name = posixpath.normpath(posixpath.join(posixpath.dirname(_merged(held)), files[held]))
        if _merged(name) not in real and name.startswith("/usr/usr/"):
            name = name.removeprefix("/usr")
    return None


def _version_key(version: str) -> list[tuple[int, int, str]]:
    words = re.findall(r"\d+|\D+", version)
    return [(1, int(word), "") if word.isdigit() else (0, 0, word) for word in words]
