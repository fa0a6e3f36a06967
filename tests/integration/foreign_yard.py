"""A small farm whose machines have another processor: the tiny repository with a profile for it."""

from dataclasses import dataclass, replace
from pathlib import Path

from appliance.model import Tree
from appliance.profile_model import Cross, Profile, StageSource
from buildfarm.order import Tools
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard

DEFAULTS = """ARCH="{arch}"
ACCEPT_KEYWORDS="amd64 {arch}"
CHOST="{chost}"
CBUILD="{chost}"
USE_EXPAND_VALUES_ARCH="amd64 {arch}"
ABI="{arch}"
DEFAULT_ABI="{arch}"
LIBDIR_{arch}="lib64"
"""
EBUILD = """EAPI=8
inherit tiny
DESCRIPTION="{name}"
{more}
"""
# A library, and a program that finds its header and itself below SYSROOT alone.
SHOWN = """
src_compile() {
	echo 'int shown(void) { return 64; }' > shown.c
	echo 'int shown(void);' > shown.h
	local library="-shared -fPIC -Wl,-soname,libshown.so.1"
	${CC} ${CFLAGS} ${library} -o libshown.so.1 shown.c || die "no library"
}
src_install() {
	dolib.so libshown.so.1
	dosym libshown.so.1 /usr/$(get_libdir)/libshown.so
	doheader shown.h
}
"""
# What a boot loader reads of Linux for sparc64 (HdrS), at the address where that begins; it does no more.
KERNEL = """
src_compile() {
	cat > k.S <<-END || die
		.globl _start
		_start: ba,a 1f; nop; .ascii "HdrS"; .fill 8; .skip 52
		1: ba,a 1b; nop
	END
	local where="-nostdlib -static -Wl,-Ttext=0x404000 -Wl,--build-id=none"
	${CC} ${CFLAGS} ${where} -o vmlinux k.S || die "no kernel"
}
src_install() {
	cat "${BROOT}"/etc/kernel/config.d/*.config > config || die
	insinto /boot
	newins vmlinux vmlinuz-${PV}
	newins config config-${PV}
}
"""
LINKED = """
DEPEND="dev-libs/shown"
RDEPEND="${DEPEND}"
src_compile() {
	cat > l.c <<-END || die
		#include <shown.h>
		#include <stdio.h>
		int main(void) { printf("linked %d\\n", shown()); return 0; }
	END
	${CC} ${CFLAGS} -o linked l.c -lshown || die "not linked"
}
src_install() { dobin linked; }
"""


@dataclass
class ForeignYard(Farmyard):
    """`cross_stage`: where an emulated profile's native cross compiler is."""

    arch: str = "sparc"
    chost: str = "sparc64-unknown-linux-gnu"
    cross: Cross = Cross.ROOT
    cross_stage: Stage | None = None

    def profile(self) -> Profile:
        return replace(
            super().profile(),
            arch=self.arch,
            chost=self.chost,
            portage_profile=f"tiny:{self.arch}",
            cross=self.cross,
            cross_stage=StageSource("cross") if self.cross_stage else None,
        )

    def tools(self) -> Tools:
        tools = replace(
            super().tools(), make_small_installer=lambda root, output: output.write_bytes(b"small")
        )
        if self.cross_stage is None:
            return tools
        own, cross = tools.take_stage, self.cross_stage

        def take(source: StageSource, tree: Tree, say: object) -> Stage:
            return cross if source.location == "cross" else own(source, tree, print)

        return replace(tools, take_stage=take)

    def prepare(self) -> None:
        """The profile for this processor, and two packages of which one needs the other to be compiled."""
        profiles = self.repository / "profiles"
        (profiles / self.arch).mkdir()
        (profiles / self.arch / "eapi").write_text("8\n")
        (profiles / self.arch / "parent").write_text("../base\n")
        texts = {"arch": self.arch, "chost": self.chost}
        (profiles / self.arch / "make.defaults").write_text(DEFAULTS.format(**texts))
        with (profiles / "arch.list").open("a") as listed:
            listed.write(f"{self.arch}\n")
        with (profiles / "profiles.desc").open("a") as listed:
            listed.write(f"{self.arch} {self.arch} stable\n")
        with (profiles / "categories").open("a") as listed:
            listed.write("dev-libs\n")
        if self.arch == "sparc":
            self.write("sys-kernel/tiny-kernel", KERNEL)
        self.write("dev-libs/shown", SHOWN)
        self.write("app-misc/linked", LINKED)

    def write(self, package: str, more: str) -> None:
        place = self.repository / package
        place.mkdir(parents=True, exist_ok=True)
        name = Path(package).name
        (place / f"{name}-1.ebuild").write_text(EBUILD.replace("{name}", name).replace("{more}", more))
