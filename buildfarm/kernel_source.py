"""Writes the small repository in which a package of kernel sources becomes a package of a kernel.

A kernel that is compiled outside of Portage would reach machines by a way of its own, which neither the index
nor the gate would know. So the farm writes one ebuild: its build dependency is the very version of the
sources that Portage chose, and it compiles them with /etc/kernel of the profile's root. Everything else is
what happens to every package: order, ccache and distcc, build key, pool, index, removal.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import kconfig
from appliance.errors import Problem
from appliance.farm_model import Snapshot
from appliance.overlays import overlay
from appliance.site_model import Profile, Repository
from buildfarm import inside, kernel, root
from buildfarm.index import split_cpv

REPOSITORY = "distserver-kernels"
FRAGMENTS = "etc/kernel/config.d"
# What a kernel needs to be compiled, by its name in the Gentoo repository; only those that the repositories
# of the site have become dependencies: a small site brings the same programs in its stage.
TOOLS = (
    "app-alternatives/bc", "app-alternatives/cpio", "app-arch/zstd", "dev-lang/perl", "dev-libs/openssl",
    "sys-apps/kmod", "sys-devel/bison", "sys-devel/flex", "virtual/libelf",
)  # fmt: skip
IMAGES: Mapping[str, tuple[str, str]] = {
    "x86": ("bzImage", "arch/x86/boot/bzImage"),
    "arm64": ("Image.gz", "arch/arm64/boot/Image.gz"),
    "riscv": ("Image.gz", "arch/riscv/boot/Image.gz"),
    "arm": ("zImage", "arch/arm/boot/zImage"),
}
WORDS = {
    "absent": "is in none of the repositories",
    "masked": "is masked for this profile",
    "invalid": "is not an atom",
}


@dataclass(frozen=True)
class Sources:
    """The sources that Portage chose, as the question `kernel_source` answers."""

    cpv: str
    tools: tuple[str, ...]
    """Those of TOOLS that some repository has."""
    license: str = "GPL-2"
    """As the sources state it: it is accepted, or Portage would not have chosen them."""


def question(profile: Profile) -> dict[str, object]:
    """The arguments of the question `kernel_source` for this profile."""
    return {"atom": profile.kernel_source, "tools": list(TOOLS)}


def read_answer(profile: Profile, answer: Mapping[str, object]) -> Sources:
    """Raises Problem when there are no sources to be had."""
    state, tools = answer["state"], answer["tools"]
    if state in WORDS:
        raise Problem(
            f"profile {profile.name}: {profile.kernel_source} {WORDS[str(state)]}",
            hint="it is [kernel] source in profile.toml",
        )
    assert isinstance(tools, list)
    return Sources(str(answer["cpv"]), tuple(map(str, tools)), str(answer["license"]))


def ebuild(profile: Profile, sources: Sources) -> str:
    """The text of the kernel's ebuild; the profile's options are not in it but in the root's /etc/kernel."""
    source_arch = kernel.SOURCE_ARCH.get(profile.arch, profile.arch)
    if source_arch not in IMAGES:
        raise Problem(
            f"profile {profile.name}: a kernel for {profile.arch} cannot be built from sources",
            hint=f"name a kernel package, or one of the processors {', '.join(IMAGES)}",
        )
    target, image = IMAGES[source_arch]
    values = {
        "SOURCE": sources.cpv,
        "LICENSE": sources.license,
        "ARCH": profile.arch,
        "KERNEL_ARCH": source_arch,
        "IMAGE_TARGET": target,
        "IMAGE": image,
        "TOOLS": "".join(f"\t{tool}\n" for tool in sorted(sources.tools)),
    }
    text = (overlay("kernel") / "kernel.ebuild").read_text()
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)


def write_repository(
    profile: Profile, sources: Sources, place: Path, *, masters: Sequence[str]
) -> Repository:
    """Write the repository with this one kernel; `place` is the farm's own, nothing else stays there."""
    shutil.rmtree(place, ignore_errors=True)
    category, name = profile.kernel_package.split("/")
    version = split_cpv(sources.cpv)[1]
    files = {
        "profiles/repo_name": f"{REPOSITORY}\n",
        "profiles/categories": f"{category}\n",
        "metadata/layout.conf": (
            f"repo-name = {REPOSITORY}\nmasters = {' '.join(masters)}\nthin-manifests = true\n"
            "sign-manifests = false\ncache-formats = md5-dict\n"
        ),
        f"{category}/{name}/{name}-{version}.ebuild": ebuild(profile, sources),
        f"{category}/{name}/files/check.py": (overlay("kernel") / "check.py").read_text(),
        f"{category}/{name}/files/kconfig.py": Path(kconfig.__file__).read_text(),
    }
    for relative, text in files.items():
        (place / relative).parent.mkdir(parents=True, exist_ok=True)
        (place / relative).write_text(text)
    return Repository(REPOSITORY, place)


def configuration(profile: Profile) -> dict[str, bytes]:
    """The files of /etc/kernel/config.d in the build root, by name relative to /; none names the profile.

    Gentoo's kernel-build.eclass and distserver-kernel merge `*.config`, too; the base is for sources only.
    """
    files = {f"{FRAGMENTS}/50-distserver.config": profile.kernel_config.encode()}
    if profile.kernel_source:
        files[f"{FRAGMENTS}/base"] = profile.kernel_base.encode()
    return files


def options(profile: Profile) -> str:
    """All that decides about a kernel besides its sources, as a text for its recipe."""
    return "".join(f"{name}\n{text.decode()}\n" for name, text in sorted(configuration(profile).items()))


def make_repository(
    profile: Profile,
    room: Path,
    *,
    stage: Path,
    snapshots: Sequence[Snapshot],
    configuration: Mapping[str, root.Content],
) -> Repository:
    """Ask Portage, in a bare root of this profile, for the sources, and write the repository below `room`.

    `room` is the farm's own directory of such repositories, `stage` the root of the build stage,
    `configuration` the files of /etc/portage.
    """
    with tempfile.TemporaryDirectory(prefix=".ask-", dir=room) as scratch:
        root.lay(Path(scratch) / "upper", stage, configuration)
        sandbox = root.client_sandbox(Path(scratch), stage, snapshots, shelves=(), env={"FEATURES": "-news"})
        answer = inside.ask(sandbox, {"kernel_source": question(profile)})["kernel_source"]
    masters = [one.repository for one in snapshots]
    return write_repository(profile, read_answer(profile, answer), room / profile.name, masters=masters)
