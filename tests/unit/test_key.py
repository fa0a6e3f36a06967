"""What makes a package be built again, and what does not."""

from dataclasses import replace

import pytest

from buildfarm.key import Setting, Sources, build_key, relevant

SETTING = Setting(
    stage="s1",
    chost="x86_64-pc-linux-gnu",
    profile={"0/make.defaults": "p1"},
    portage={
        "make.conf": b'CFLAGS="-O2"\n',
        "package.use/all": b"sys-apps/sed acl\nsys-apps/grep -nls\n",
        "patches/sys-apps/sed/one.patch": b"patch",
        "repos.conf/x.conf": b"[x]",
    },
    kernel_config="CONFIG_A=y\n",
)
SED = Sources("sys-apps/sed-4.9", "e1", {"a.patch": "f1"}, {"tool": "c1"}, ("DIST sed 1 SHA512 aa",))
KERNEL = Sources("sys-kernel/tiny-6", "e2")


def with_file(name: str, content: bytes) -> Setting:
    return replace(SETTING, portage={**SETTING.portage, name: content})


@pytest.mark.parametrize(
    "changed",
    [
        replace(SETTING, stage="s2"),
        replace(SETTING, chost="aarch64-unknown-linux-gnu"),
        replace(SETTING, profile={"0/make.defaults": "p2"}),
        with_file("make.conf", b'CFLAGS="-O3"\n'),
        with_file("package.use/all", b"sys-apps/sed -acl\n"),
        with_file("package.use/more", b"*/* static\n"),
        with_file("package.env", b"sys-apps/sed o3\n"),
        with_file("env/o3", b'CFLAGS="-O3"\n'),
        with_file("patches/sys-apps/sed/two.patch", b"patch"),
    ],
)
def test_what_changes_the_build_changes_the_key(changed: Setting) -> None:
    assert build_key(changed, SED) != build_key(SETTING, SED)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SED, ebuild="e9"),
        replace(SED, files={"a.patch": "f2"}),
        replace(SED, files={"b.patch": "f1"}),
        replace(SED, eclasses={"tool": "c2"}),
        replace(SED, distfiles=("DIST sed 1 SHA512 bb",)),
        replace(SED, cpv="sys-apps/sed-4.9-r1"),
    ],
)
def test_what_changes_the_sources_changes_the_key(changed: Sources) -> None:
    assert build_key(SETTING, changed) != build_key(SETTING, SED)


@pytest.mark.parametrize(
    "changed",
    [
        with_file("repos.conf/x.conf", b"[y]"),
        with_file("package.mask", b"sys-apps/sed"),
        with_file("profile/packages", b"*sys-apps/sed"),
        replace(SETTING, profile={"0/make.defaults": "p1", "0/packages": "p3"}),
        with_file("package.accept_keywords/x", b"sys-apps/sed ~amd64"),
        with_file("package.use/all", b"# why\nsys-apps/sed acl\n\nsys-apps/grep nls\n"),
        with_file("make.conf", b'# flags\nCFLAGS="-O2"\n'),
        with_file("patches/sys-apps/grep/one.patch", b"patch"),
        replace(SETTING, kernel_config="CONFIG_A=n\n"),
    ],
)
def test_what_cannot_change_the_build_leaves_the_key(changed: Setting) -> None:
    assert build_key(changed, SED) == build_key(SETTING, SED)


def test_the_kernel_fragment_counts_for_kernels() -> None:
    assert build_key(replace(SETTING, kernel_config=""), KERNEL) != build_key(SETTING, KERNEL)


def test_parts_cannot_run_into_each_other() -> None:
    one, two = replace(SED, files={"a": "bc"}), replace(SED, files={"ab": "c"})
    assert build_key(SETTING, one) != build_key(SETTING, two)


def test_a_line_about_a_longer_name_counts_too_rather_than_too_little() -> None:
    assert relevant("package.use", b"sys-apps/sed-extra x\n", "sys-apps/sed") != ""
    assert relevant("package.use", b"sys-apps/grep x\n", "sys-apps/sed") == ""
