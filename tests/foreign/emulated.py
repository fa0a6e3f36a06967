"""An arm64 root that QEMU runs, while compile hosts use a native cross compiler: `make foreign`."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from appliance.demo import cache as kept_between_runs
from appliance.model import Tree
from appliance.profile_model import Cross, StageSource
from appliance.run import run
from buildfarm import gpkg, stage
from buildfarm.build import BuildResult
from buildfarm.index import parse
from buildfarm.pool import Pool
from buildfarm.processors import AARCH64, machine_of
from buildfarm.toolchain import Toolchain, all_toolchains
from tests.integration.compile_yard import ADDRESSES, yard
from tests.integration.foreign_yard import ForeignYard

CHOST = "aarch64-unknown-linux-gnu"
# A configure script and more files than a host has slots.
MANY = """
src_prepare() {
	default
	cat > configure <<-END || die
		#!/bin/sh
		uname -m > machine
		echo 'int main(void) { return 0; }' > conftest.c
		\\${CC} -c conftest.c && echo works > result
	END
	chmod +x configure
	local n
	for n in {1..12}; do echo "int f${n}(int x) { return x * ${n}; }" > f${n}.c; done
}
src_configure() { CC=${CHOST}-gcc ./configure || die; }
src_compile() {
	printf 'all: $(patsubst %%.c,%%.o,$(wildcard f*.c))\\n' > Makefile
	printf '%%.o: %%.c\\n\\t$(CC) $(CFLAGS) -c $< -o $@\\n' >> Makefile
	emake CC="${CHOST}-gcc" CFLAGS="${CFLAGS}"
	${CHOST}-gcc -shared -o libmany.so f*.o || die
}
src_install() { dolib.so libmany.so; insinto /usr/share/many; doins machine result; }
"""


@dataclass(frozen=True)
class Built:
    farm: ForeignYard
    result: BuildResult
    toolchains: list[Toolchain]
    used: str
    """What the build said of the cluster."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """One build in an arm64 root, with a compile host of x86_64."""
    tree = Tree(kept_between_runs() / "state")
    build, cross = (
        stage.acquire(StageSource(f"reference:{variant}:aarch64"), tree, print)
        for variant in ("build", "cross")
    )
    place = tmp_path_factory.mktemp("arm64")
    farm = ForeignYard.make(place, build, build)
    farm = replace(
        farm, arch="arm64", chost=CHOST, cross=Cross.EMULATED, cross_stage=cross,
        world=("app-misc/many", "app-misc/witness", "sys-kernel/tiny-kernel"),
    )  # fmt: skip
    farm.prepare()
    farm.write("app-misc/many", MANY)
    with yard(tmp_path_factory.mktemp("yard"), cross.root) as hosts, ExitStack() as agents:
        hosts.services.cluster.add("one", address=ADDRESSES["one"], slots=2)
        agents.enter_context(hosts.agent("one"))
        hosts.wait_for_host("one")
        farm = replace(farm, lend=hosts.services.cluster.lease, seen=[])
        result = farm.build()
        said = [one.message for one in farm.seen if one.step == "cluster"]
        yield Built(farm, result, all_toolchains(hosts.services.cluster.toolchains), " ".join(said))


def packages(built: Built) -> dict[str, bytes]:
    """Every file of every package, by name."""
    assert built.result.release
    place = built.farm.tree.room("releases") / built.result.release.id
    pool = Pool(built.farm.tree.room("pool"))
    found = {}
    for package in parse((place / "Packages").read_text()).paragraphs:
        for name, content in gpkg.read_image(pool.file(package["SHA256"]), wanted=lambda name: True):
            found[name] = content.read()
    return found


def test_a_release_for_arm64_is_sealed_and_holds_arm64_alone(built: Built) -> None:
    assert built.result.reasons == ()
    machines = {name: machine_of(data[:20]) for name, data in packages(built).items()}
    elf = {name: machine for name, machine in machines.items() if machine}
    assert set(elf) == {"/usr/bin/witness", "/usr/lib64/libmany.so"}
    assert set(elf.values()) == {AARCH64.elf}


def test_configure_ran_on_the_emulated_processor(built: Built) -> None:
    files = packages(built)
    assert files["/usr/share/many/machine"] == b"aarch64\n"
    assert files["/usr/share/many/result"] == b"works\n"


def test_compilers_ran_natively_on_the_compile_host(built: Built) -> None:
    """Its toolchain is one of x86_64 that makes arm64, and distcc's own log says where objects were made."""
    (made,) = built.toolchains
    assert (made.arch, made.chost) == ("x86_64", CHOST)
    assert "(one " in built.used
    share = int(built.used.partition("%")[0].split()[-1])
    # Compilations wait for the host: the root's own compiler would be emulated.
    assert share == 100


def test_what_was_made_runs(built: Built) -> None:
    witness = built.farm.path / "witness"
    witness.write_bytes(packages(built)["/usr/bin/witness"])
    witness.chmod(0o755)
    said = run(["qemu-aarch64-static", "-L", built.farm.build_stage.root, witness]).stdout
    assert "witness" in said
