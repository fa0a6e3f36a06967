"""What decides a reference stage: which Debian packages, what is left out of them, for which processor."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Literal

from buildfarm import debian
from buildfarm.processors import is_native

Variant = Literal["build", "install", "cross"]

PORTAGE = "portage==3.0.83"
PORTAGE_SHA256 = "deac3ae1e03aea1ff09a0e831fa8d06e89bfc49440394b66ed6223338d5f9c4e"
# The wheel installs as a module below /usr/local and looks for its configuration under /usr/etc; only the
# sdist, built with meson, gives the layout Gentoo has.
MESON = ("--prefix=/usr", "--sysconfdir=/etc", "-Dnative-extensions=true", "-Drsync-verify=false")
PORTAGE_ID = "250"


@dataclass(frozen=True)
class Machine:
    """A kind of processor, by what Debian and Gentoo call it."""

    debian: str
    """Debian's architecture."""
    multiarch: str
    """The directory of its libraries below /usr/lib."""
    triplet: str
    """What Debian's compilers for it are called."""
    chost: str
    libraries: str
    """LIBDIR of Gentoo's profiles for it."""
    loaders: tuple[str, ...]
    """Debian packages of GRUB for it, besides grub2-common."""
    compilers: tuple[str, ...] = ()
    """Debian packages of further compilers."""
    left_out: tuple[str, ...] = ()
    """Parts of those that no machine needs."""
    installs: tuple[str, ...] = ()
    """Debian packages that make its install stage one that an installer can be made of: for a cross root."""
    ported: bool = True
    """Debian's release has packages for it. Without them a root of it is what its cross compiler brings."""

    @property
    def sysroot(self) -> str:
        """Where a cross stage has the root that is compiled for, as crossdev names it."""
        return f"usr/{self.chost}"


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(
        *("amd64", "x86_64-linux-gnu", "x86_64-linux-gnu", "x86_64-pc-linux-gnu", "lib64"),
        loaders=("grub-pc-bin", "grub-efi-amd64-bin"),
        compilers=("gcc-11", "g++-11"),
        left_out=("/usr/lib/grub/x86_64-efi/monolithic/*",),
    ),
    "i686": Machine(
        *("i386", "i386-linux-gnu", "i686-linux-gnu", "i686-pc-linux-gnu", "lib"), loaders=("grub-pc-bin",)
    ),
    "aarch64": Machine(
        *("arm64", "aarch64-linux-gnu", "aarch64-linux-gnu", "aarch64-unknown-linux-gnu", "lib64"),
        loaders=("grub-efi-arm64-bin",),
        installs=("dosfstools", "e2fsprogs", "fdisk"),
        left_out=("/usr/lib/grub/arm64-efi/monolithic/*",),
    ),
    "sparc64": Machine(
        *("sparc64", "sparc64-linux-gnu", "sparc64-linux-gnu", "sparc64-unknown-linux-gnu", "lib64"),
        loaders=(),
        ported=False,
    ),
}
"""By the first word of the CHOST."""
USUAL = "x86_64"


def variants(processor: str) -> tuple[Variant, ...]:
    """The reference stages there are for a processor."""
    if is_native(MACHINES[processor].chost, USUAL):
        return ("build", "install")
    return ("build", "install", "cross") if MACHINES[processor].ported else ("install", "cross")


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in a reference stage; its hash is part of the stage's file name."""

    debian_variant: str
    release: str
    packages: tuple[str, ...]
    leave_out: tuple[str, ...]
    """dpkg path-exclude patterns: never unpacked."""
    remove: tuple[str, ...]
    """Glob patterns below the root: removed when everything is configured."""
    compression: str
    chost: str
    files: tuple[tuple[str, str], ...]
    """(name, text)"""
    portage: str = PORTAGE_SHA256
    meson: tuple[str, ...] = MESON
    links: tuple[tuple[str, str], ...] = (
        ("usr/bin/python", "python3"),
        # Portage 3.0.83 calls gtar and gxargs unconditionally; ebuilds call gmake.
        ("usr/bin/gtar", "tar"),
        ("usr/bin/gxargs", "xargs"),
        ("usr/bin/gmake", "make"),
        ("etc/mtab", "../proc/self/mounts"),
    )
    directories: tuple[tuple[str, str], ...] = (
        ("etc/portage", "0"),
        ("var/cache/binpkgs", "0"),
        ("var/cache/distfiles", PORTAGE_ID),
        ("var/db/pkg", "0"),
        ("var/db/repos", "0"),
        ("var/lib/portage", "0"),
        ("var/log/portage", PORTAGE_ID),
        ("var/tmp/portage", PORTAGE_ID),
    )
    masquerade: tuple[str, ...] = ("distcc", "ccache")
    python_trees: tuple[str, ...] = ("/usr/lib/python3.11", "/usr/lib/python3", "/usr/lib/portage")

    @property
    def hash(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


DOCUMENTS = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
)
PYTHON_EXTRAS = tuple(
    f"usr/lib/python3.11/{name}" for name in ("idlelib", "ensurepip", "lib2to3", "pydoc_data", "test")
)

INCLUDED = "include /etc/ld.so.conf.d/*.conf\n"


@cache
def recipe(variant: Variant, processor: str = USUAL) -> Recipe:
    """`processor` is a name in MACHINES."""
    machine = MACHINES[processor]
    if variant == "build":
        return _build_recipe(machine)
    if variant == "install" and machine.ported:
        return _install_recipe(machine)
    return _cross_recipe(machine, compression="zstd -T0 -3" if variant == "cross" else "zstd -T0 -12")


def _files(machine: Machine) -> tuple[tuple[str, str], ...]:
    return (
        # The packaged default names a repository `gentoo` that is not there: three warnings at every call.
        ("usr/share/portage/config/repos.conf", ""),
        ("etc/issue", "DistServer reference system \\n \\l\n\n"),
        # Debian's ld.so looks into lib64 never, and into lib last, where econf installs. env-update makes
        # ld.so.conf from env.d, but runs ldconfig only for a package with libraries: both from the start.
        ("etc/env.d/00reference", f'LDPATH="/usr/{machine.libraries}:/{machine.libraries}"\n'),
        ("etc/ld.so.conf", f"/usr/{machine.libraries}\n/{machine.libraries}\n{INCLUDED}"),
        ("etc/apt/sources.list", ""),
        ("etc/resolv.conf", ""),
        ("etc/hostname", "localhost\n"),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("etc/machine-id", ""),
    )


def _build_recipe(machine: Machine) -> Recipe:
    return Recipe(
        debian_variant="minbase",
        release=debian.RELEASE,
        packages=(
            *("gcc", "g++", *machine.compilers, "binutils", "libc6-dev", "make", "patch"),
            *("autoconf", "automake", "bc", "bison", "flex", "gettext", "libtool", "m4", "pkg-config"),
            *("libelf-dev", "libncurses-dev", "libssl-dev", "kmod", "meson", "ninja-build"),
            *("python3", "python3-dev"),
            *("bzip2", "cpio", "file", "gawk", "rsync", "wget", "xz-utils", "zstd", "ca-certificates"),
            *("ccache", "distcc", "gnupg", "gpg-agent", "gpgv", "iproute2", "mount", "passwd", "pax-utils"),
            # What the installer's initramfs is made from, besides gpgv and zstd.
            *("dosfstools", "e2fsprogs", "fdisk"),
        ),
        leave_out=DOCUMENTS,
        remove=("var/cache/debconf/*", "var/log/*.log", "var/log/apt"),
        compression="zstd -T0 -3",
        chost=machine.chost,
        files=_files(machine),
    )


def _cross_recipe(machine: Machine, *, compression: str) -> Recipe:
    """The build stage of the usual processor with a compiler for another, and a root with the C library."""
    usual = _build_recipe(MACHINES[USUAL])
    compilers = (f"gcc-{machine.triplet}", f"g++-{machine.triplet}", f"libc6-dev-{machine.debian}-cross")
    files = (*((f"{machine.sysroot}/{name}", text) for name, text in _skeleton(machine)), *usual.files)
    return replace(
        usual,
        packages=(*usual.packages, *compilers),
        chost=machine.chost,
        files=files,
        compression=compression,
    )


def _skeleton(machine: Machine) -> tuple[tuple[str, str], ...]:
    """Files of a root without any package: who there is, and what the reference stages have as well."""
    kept = ("etc/issue", "etc/resolv.conf", "etc/hostname", "etc/hosts")
    return (
        *((name, text) for name, text in _files(machine) if name in kept),
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nportage:x:250:250::/var/lib/portage:/bin/false\n"),
        ("etc/group", "root:x:0:\nportage:x:250:\n"),
        ("etc/shadow", "root:*:20000::::::\n"),
        ("etc/shells", "/bin/sh\n"),
    )


def _install_recipe(machine: Machine) -> Recipe:
    libraries = f"usr/lib/{machine.multiarch}"
    return Recipe(
        debian_variant="essential",
        release=debian.RELEASE,
        packages=(
            # python3-minimal is not enough for Portage; without mount its pid and mount sandboxes fail even
            # for binary merges; passwd has the useradd that acct-user packages call.
            *("python3", "mount", "passwd", "bzip2", "xz-utils", "zstd", "wget", "gpg", "gpg-agent", "gpgv"),
            # The machine makes its own key; diff3 and mount(8) with loop devices are there anyway.
            "openssl",
            *("grub2-common", *machine.loaders, *machine.installs),
        ),
        leave_out=(*DOCUMENTS, "/usr/share/i18n/*", f"/{libraries}/gconv/*", *machine.left_out),
        # dpkg's own path-exclude of Python's test directory breaks its postinst, so this comes afterwards.
        remove=(
            *PYTHON_EXTRAS,
            *(f"{libraries}/{name}" for name in ("perl", "perl5", "perl-base", "libperl*")),
            *("usr/share/perl", "usr/share/perl5", "usr/bin/perl*", "usr/bin/cpan*", "usr/bin/pod*"),
            *("usr/bin/prove", "usr/bin/corelist", "usr/share/bash-completion", "usr/share/lintian"),
            *(f"usr/bin/grub-{name}" for name in ("fstest", "mkrescue", "render-label", "syslinux2cfg")),
            *(f"usr/bin/grub-{name}" for name in ("mkstandalone", "mknetdir", "mount", "menulst2cfg")),
            *("usr/sbin/grub-macbless", "usr/bin/pzstd", "usr/lib/python3/dist-packages/portage/tests"),
            *("var/lib/dpkg/info/*.md5sums", "var/cache/debconf/*", "var/log/*.log", "var/log/apt"),
        ),
        compression="zstd -T0 -12",
        chost=machine.chost,
        files=_files(machine),
    )
