"""The compiler cache in real roots with real compilers: who hits, and who must not."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from appliance.run import run
from appliance.sandbox import Bind, Sandbox
from buildfarm import ccache, root
from buildfarm.ccache import Counts
from buildfarm.stage import Stage
from tests.integration.farmyard import TINY

TOOLCHAIN, OTHER = "a" * 64, "b" * 64
BOUND = 2**30
COMPILER = "x86_64-pc-linux-gnu-gcc"
EBUILD = """
EAPI=8
DESCRIPTION="One object"
SLOT="0"
KEYWORDS="amd64"
S="${WORKDIR}"
src_compile() {
	echo 'int one(void) { return 1; }' > one.c || die
	${CHOST}-gcc ${CFLAGS} -c one.c -o one.o || die
}
src_install() {
	insinto /usr/share/object
	doins one.o
}
"""
REPOS_CONF = b"[DEFAULT]\nmain-repo = tiny\n[tiny]\nlocation = /var/db/repos/tiny\n"
CONFIGURATION: Mapping[str, root.Content] = {
    "etc/portage/make.conf": b'CFLAGS="-O2 -g"\nFEATURES="-sandbox -usersandbox -news"\n',
    "etc/portage/repos.conf/tiny.conf": REPOS_CONF,
    "etc/portage/make.profile": PurePosixPath("../../var/db/repos/tiny/profiles/base"),
}


class Kitchen:
    """Fresh roots of one stage that share the caches."""

    def __init__(self, path: Path, stage: Stage) -> None:
        self.path = path
        self.stage = stage
        (path / "ccache").mkdir()
        self.built = 0

    def cook(self, script: str, *, toolchain: str = TOOLCHAIN, distcc: bool = False) -> Counts:
        """Run a script in a new root; counts of what it compiled."""
        self.built += 1
        scratch = self.path / f"root{self.built}"
        files = {**CONFIGURATION, **ccache.package_files(CONFIGURATION, ["app-misc/object-1"])}
        root.lay(scratch / "upper", self.stage.root, files)
        lowers = (scratch / "upper", self.stage.root)
        with ccache.shelf(
            self.path / "ccache", lowers, toolchain=toolchain, build=f"b{self.built}", bound_bytes=BOUND,
            distcc=distcc,
        ) as shelf:  # fmt: skip
            sandbox = root.client_sandbox(
                scratch,
                self.stage.root,
                (),
                shelves=[Bind(self.path / "tiny", root.REPOS / "tiny"), *shelf.mounts],
                env=shelf.env,
            )
            self.run(sandbox, script)
            return shelf.counts()

    def run(self, sandbox: Sandbox, script: str) -> None:
        run(["sh", "-e", "-c", script], prefix=sandbox.prefix())

    def object(self) -> bytes:
        """The last root's object."""
        return (self.path / f"root{self.built}/upper/usr/share/object/one.o").read_bytes()


@pytest.fixture
def kitchen(tmp_path: Path, build_stage: Stage) -> Kitchen:
    run(["cp", "-a", TINY, tmp_path / "tiny"])
    place = tmp_path / "tiny/app-misc/object"
    place.mkdir()
    (place / "object-1.ebuild").write_text(EBUILD)
    return Kitchen(tmp_path, build_stage)


def compile_with(*directories: str, compiler: str = COMPILER) -> str:
    path = ":".join((*directories, "/usr/bin", "/bin"))
    return f"mkdir -p /tmp/x; cd /tmp/x; echo 'int a;' >a.c; PATH={path} {compiler} -c a.c -o a.o"


def test_a_package_that_emerge_builds_in_another_root_comes_from_the_cache(kitchen: Kitchen) -> None:
    emerge = "emerge --quiet --oneshot app-misc/object"
    assert kitchen.cook(emerge) == Counts(hits=0, misses=1)
    cold = kitchen.object()
    assert kitchen.cook(emerge) == Counts(hits=1, misses=0)
    assert kitchen.object() == cold


def test_another_toolchain_has_another_cache(kitchen: Kitchen) -> None:
    assert kitchen.cook(compile_with("/usr/lib/ccache")).misses == 1
    assert kitchen.cook(compile_with("/usr/lib/ccache")).hits == 1
    assert kitchen.cook(compile_with("/usr/lib/ccache"), toolchain=OTHER) == Counts(hits=0, misses=1)


def test_two_compilers_do_not_share_objects_in_one_cache(kitchen: Kitchen) -> None:
    assert kitchen.cook(compile_with("/usr/lib/ccache")).misses == 1
    other = compile_with("/usr/lib/ccache", compiler=f"{COMPILER}-11")
    assert kitchen.cook(other) == Counts(hits=0, misses=1)
    assert kitchen.cook(other) == Counts(hits=1, misses=0)


def test_another_compiler_of_the_same_name_misses_also_behind_distcc(kitchen: Kitchen) -> None:
    """gcc-11 in place of gcc: ccache meets the same link of distcc both times."""
    plain = "export DISTCC_HOSTS=localhost; " + compile_with("/usr/lib/ccache", "/usr/lib/distcc")
    replaced = f"ln -sf /usr/bin/gcc-11 /usr/bin/{COMPILER}; {plain}"
    assert kitchen.cook(plain, distcc=True) == Counts(hits=0, misses=1)
    assert kitchen.cook(plain, distcc=True) == Counts(hits=1, misses=0)
    assert kitchen.cook(replaced, distcc=True) == Counts(hits=0, misses=1)
