"""A root with riddles for the resolver: two repositories, packages installed before the tree moved on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.run import run
from appliance.sandbox import Bind, Overlay, Sandbox
from buildfarm import portage, root
from buildfarm.stage import Stage

REMOTE = PurePosixPath("/srv/binhost")
FAR = f"[far]\nsync-uri = file://{REMOTE}\nverify-signature = false\n"
REPOSITORIES = ("puzzles", "overlay")
MAKE_DEFAULTS = """\
ARCH="amd64"
ACCEPT_KEYWORDS="amd64"
CHOST="x86_64-pc-linux-gnu"
CBUILD="x86_64-pc-linux-gnu"
KERNEL="linux"
ELIBC="glibc"
USE_EXPAND="COLORS ELIBC KERNEL"
USE_EXPAND_HIDDEN="ELIBC KERNEL"
USE_EXPAND_IMPLICIT="ARCH ELIBC KERNEL"
USE_EXPAND_UNPREFIXED="ARCH"
USE_EXPAND_VALUES_ARCH="amd64"
USE_EXPAND_VALUES_ELIBC="glibc"
USE_EXPAND_VALUES_KERNEL="linux"
COLORS="blue"
PROFILE_ONLY_VARIABLES="ARCH ELIBC KERNEL USE_EXPAND_IMPLICIT USE_EXPAND_UNPREFIXED"
DEFAULT_ABI="amd64"
ABI="amd64"
LIBDIR_amd64="lib64"
"""
MAKE_CONF = 'ACCEPT_LICENSE="MIT"\nFEATURES="-sandbox -usersandbox"\nCFLAGS="-O2"\n'

# Name -> what differs from an EAPI 8 ebuild that installs nothing; app-misc unless it has a category.
BEFORE: Mapping[str, str] = {
    "so-1": 'SLOT="0/1"',
    "user-1": 'RDEPEND="app-misc/so:="',
    "shifting-1": 'RDEPEND="app-misc/leaf"',
    "leaf-1": "",
    "tuned-1": 'IUSE="extra"',
    "grown-1": "",
    "shrunk-2": "",
    "old-name-1": "",
}
AFTER: Mapping[str, str] = {
    **{name: body for name, body in BEFORE.items() if name not in ("shrunk-2", "shifting-1", "so-1")},
    "so-2": 'SLOT="0/2"',
    "shifting-1": 'RDEPEND="app-misc/leaf app-misc/plain"',
    "grown-2": "EAPI=7",
    "shrunk-1": "",
    "new-name-1": 'RDEPEND="!app-misc/old-name"',
    "plain-1": "EAPI=7",
    "twig-1": "",
    "chain-1": 'BDEPEND="app-misc/plain"\nRDEPEND="app-misc/twig"',
    "masked-1": "",
    "wants-masked-1": 'RDEPEND="app-misc/masked"',
    "testing-1": 'KEYWORDS="~amd64"',
    "wants-testing-1": 'RDEPEND="app-misc/testing"',
    "alien-1": 'KEYWORDS=""',
    "wants-alien-1": 'RDEPEND="app-misc/alien"',
    "evil-1": 'LICENSE="Evil"',
    "wants-evil-1": 'RDEPEND="app-misc/evil"',
    "flag-1": 'IUSE="fast"',
    "wants-flag-1": 'RDEPEND="app-misc/flag[fast]"',
    "wants-no-flag-1": 'RDEPEND="app-misc/flag[nosuch]"',
    "wants-much-1": 'RDEPEND="app-misc/flag[fast] app-misc/testing app-misc/evil"',
    "required-1": 'IUSE="+one two"\nREQUIRED_USE="one? ( two )"',
    "wants-required-1": 'RDEPEND="app-misc/required"',
    "victim-1": "",
    "hard-1": 'RDEPEND="!!app-misc/victim"',
    "soft-1": 'RDEPEND="!app-misc/victim"',
    "lib-1": "",
    "lib-2": "",
    "needs-one-1": 'RDEPEND="<app-misc/lib-2"',
    "needs-two-1": 'RDEPEND=">=app-misc/lib-2"',
    "egg-1": 'IUSE="+hatch"\nDEPEND="hatch? ( app-misc/hen )"',
    "hen-1": 'DEPEND="app-misc/egg"',
    "wants-absent-1": 'RDEPEND="app-misc/absent"',
    "colors-1": 'IUSE="colors_red colors_blue"',
    "any-1": 'RDEPEND="|| ( app-misc/absent app-misc/plain )"',
    "virtual/thing-0": 'RDEPEND="|| ( app-misc/plain app-misc/twig )"',
    "wants-thing-1": 'RDEPEND="virtual/thing"',
    "slots-1": 'SLOT="1"',
    "slots-2": 'SLOT="2"',
    "both-1": "",
}
OVERLAY: Mapping[str, str] = {"both-2": "", "own-1": "inherit shared"}
WORLD = ("app-misc/absent", "app-misc/masked", "app-misc/testing", "app-misc/leaf", "app-misc/plain")


@dataclass(frozen=True)
class Puzzles:
    """A root after the tree moved on; `laid` are directories with another Portage, uppermost first."""

    path: Path
    stage: Stage

    def sandbox(self, name: str, *laid: Path) -> Sandbox:
        """Its state is a lower layer: whatever is asked, the next one finds the same."""
        for place in ("upper", "work", "root"):
            (self.path / name / place).mkdir(parents=True, exist_ok=True)
        lower = (*laid, self.path / "installed/upper", self.stage.root)
        return _sandbox(
            self.path / name, Overlay(lower, self.path / name / "upper", self.path / name / "work"), self
        )


def make(path: Path, stage: Stage) -> Puzzles:
    """Write the repositories as they were, install, then let them become what they are."""
    puzzles = Puzzles(path, stage)
    _write(path / "puzzles", BEFORE, masters="")
    _write(path / "overlay", {}, masters="puzzles")
    (path / "pkgdir").mkdir()
    for place in ("upper", "work", "root"):
        (path / "installed" / place).mkdir(parents=True)
    root.lay(path / "installed/upper", stage.root, _configuration())
    layers = Overlay((stage.root,), path / "installed/upper", path / "installed/work")
    sandbox = _sandbox(path / "installed", layers, puzzles)
    names = [f"app-misc/{name.rpartition('-')[0]}" for name in BEFORE]
    run(["emerge", *portage.QUIET, "--oneshot", "--jobs=4", *names], prefix=sandbox.prefix())
    for ebuild in (path / "puzzles").glob("*/*/*.ebuild"):
        ebuild.unlink()
    _write(path / "puzzles", AFTER, masters="")
    _write(path / "overlay", OVERLAY, masters="puzzles")
    (path / "installed/upper/etc/portage/package.use").write_text("app-misc/tuned extra\n")
    return puzzles


def _sandbox(place: Path, layers: Overlay, puzzles: Puzzles) -> Sandbox:
    trees = [Bind(puzzles.path / name, root.REPOS / name) for name in REPOSITORIES]
    packages = [
        Bind(puzzles.path / "pkgdir", root.PKGDIR, read_only=False),
        Bind(puzzles.path / "pkgdir", REMOTE),
    ]
    env = {**portage.environment(2), "DISTDIR": "/var/cache/distfiles", "PORTAGE_TMPDIR": "/var/tmp"}
    return Sandbox(place / "root", [layers, *trees, *packages], env=env)


def _configuration() -> dict[str, root.Content]:
    conf = "[DEFAULT]\nmain-repo = puzzles\n"
    for name in REPOSITORIES:
        conf += f"[{name}]\nlocation = {root.REPOS / name}\nsync-type =\nauto-sync = no\n"
    return {
        "etc/portage/make.conf": MAKE_CONF.encode(),
        "etc/portage/make.profile": PurePosixPath("../../var/db/repos/puzzles/profiles/base"),
        "etc/portage/repos.conf/test.conf": conf.encode(),
        "etc/portage/binrepos.conf": FAR.encode(),
        "var/lib/portage/world": "".join(f"{atom}\n" for atom in WORLD).encode(),
    }


def _write(place: Path, ebuilds: Mapping[str, str], *, masters: str) -> None:
    texts = {
        "metadata/layout.conf": f"masters = {masters}\nthin-manifests = true\nprofile-formats = portage-2\n",
        "profiles/repo_name": f"{place.name}\n",
        "profiles/eapi": "8\n",
        "profiles/arch.list": "amd64\n",
        "profiles/categories": "app-misc\nvirtual\n",
    }
    if not masters:
        texts |= {
            "eclass/shared.eclass": "# Nothing; the overlay inherits it from its master.\n",
            "licenses/MIT": "MIT\n",
            "licenses/Evil": "All your disk are belong to us.\n",
            "profiles/profiles.desc": "amd64\tbase\tstable\n",
            "profiles/base/eapi": "8\n",
            "profiles/base/make.defaults": MAKE_DEFAULTS,
            "profiles/base/package.mask": "# Somebody (2026-11-22)\n# It eats data.\napp-misc/masked\n",
        }
    for name, body in ebuilds.items():
        category, _, version = name.rpartition("/")
        folder = f"{category or 'app-misc'}/{version.rpartition('-')[0]}"
        texts[f"{folder}/{version}.ebuild"] = _ebuild(body)
    for name, text in texts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


def _ebuild(body: str) -> str:
    lines = body.splitlines()
    eapi = next((line for line in lines if line.startswith("EAPI=")), "EAPI=8")
    fields = ['DESCRIPTION="A riddle"', 'SLOT="0"', 'KEYWORDS="amd64"', 'LICENSE="MIT"', 'S="${WORKDIR}"']
    return "\n".join([eapi, *fields, *(line for line in lines if line != eapi)]) + "\n"
