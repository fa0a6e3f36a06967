"""Makes the reference stages: a Debian minimal root with real Portage laid in, for hosts without a stage3."""

import fcntl
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import CommandFailed, run
from appliance.sandbox import Bind, Sandbox, Tmpfs
from buildfarm import debian

Variant = Literal["build", "install"]
Progress = Callable[[str], None]

PORTAGE = "portage==3.0.83"
PORTAGE_SHA256 = "deac3ae1e03aea1ff09a0e831fa8d06e89bfc49440394b66ed6223338d5f9c4e"
# The wheel installs as a module below /usr/local and looks for its configuration under /usr/etc; only the
# sdist, built with meson, gives the layout Gentoo has.
MESON = ("--prefix=/usr", "--sysconfdir=/etc", "-Dnative-extensions=true", "-Drsync-verify=false")
PORTAGE_TREE = "portage-tree"

DEBIAN_TRIPLET = "x86_64-linux-gnu"
CHOST = "x86_64-pc-linux-gnu"
PORTAGE_ID = "250"
WORK = PurePosixPath("/tmp/work")


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
    files: tuple[tuple[str, str], ...] = (
        # The packaged default names a repository `gentoo` that is not there: three warnings at every call.
        ("usr/share/portage/config/repos.conf", ""),
        ("etc/issue", "DistServer reference system \\n \\l\n\n"),
        # Debian's ld.so does not look into lib64, where econf installs. env-update makes ld.so.conf from
        # env.d, but runs ldconfig only for a package with libraries: both must be there from the start.
        ("etc/env.d/00reference", 'LDPATH="/usr/lib64:/lib64"\n'),
        ("etc/ld.so.conf", "/usr/lib64\n/lib64\ninclude /etc/ld.so.conf.d/*.conf\n"),
        ("etc/apt/sources.list", ""),
        ("etc/resolv.conf", ""),
        ("etc/hostname", "localhost\n"),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        ("etc/machine-id", ""),
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
    chost: str = CHOST
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

RECIPES: Mapping[Variant, Recipe] = {
    "build": Recipe(
        debian_variant="minbase",
        release=debian.RELEASE,
        packages=(
            *("gcc", "g++", "gcc-11", "g++-11", "binutils", "libc6-dev", "make", "patch"),
            *("autoconf", "automake", "bc", "bison", "flex", "gettext", "libtool", "m4", "pkg-config"),
            *(
                "libelf-dev",
                "libncurses-dev",
                "libssl-dev",
                "kmod",
                "meson",
                "ninja-build",
                "python3",
                "python3-dev",
            ),
            *("bzip2", "cpio", "file", "gawk", "rsync", "wget", "xz-utils", "zstd", "ca-certificates"),
            *("ccache", "distcc", "gnupg", "gpg-agent", "gpgv", "iproute2", "mount", "passwd", "pax-utils"),
            # What the installer's initramfs is made from, besides gpgv and zstd.
            *("dosfstools", "e2fsprogs", "fdisk"),
        ),
        leave_out=DOCUMENTS,
        remove=("var/cache/debconf/*", "var/log/*.log", "var/log/apt"),
        compression="zstd -T0 -3",
    ),
    "install": Recipe(
        debian_variant="essential",
        release=debian.RELEASE,
        packages=(
            # python3-minimal is not enough for Portage; without mount its pid and mount sandboxes fail even
            # for binary merges; passwd has the useradd that acct-user packages call.
            *("python3", "mount", "passwd", "bzip2", "xz-utils", "zstd", "wget", "gpg", "gpg-agent", "gpgv"),
            *("grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"),
        ),
        leave_out=(
            *DOCUMENTS,
            "/usr/share/i18n/*",
            f"/usr/lib/{DEBIAN_TRIPLET}/gconv/*",
            "/usr/lib/grub/x86_64-efi/monolithic/*",
        ),
        # dpkg's own path-exclude of Python's test directory breaks its postinst, so this comes afterwards.
        remove=(
            *PYTHON_EXTRAS,
            *(f"usr/lib/{DEBIAN_TRIPLET}/{name}" for name in ("perl", "perl5", "perl-base", "libperl*")),
            *("usr/share/perl", "usr/share/perl5", "usr/bin/perl*", "usr/bin/cpan*", "usr/bin/pod*"),
            *("usr/bin/prove", "usr/bin/corelist", "usr/share/bash-completion", "usr/share/lintian"),
            *(f"usr/bin/grub-{name}" for name in ("fstest", "mkrescue", "render-label", "syslinux2cfg")),
            *(f"usr/bin/grub-{name}" for name in ("mkstandalone", "mknetdir", "mount", "menulst2cfg")),
            *("usr/sbin/grub-macbless", "usr/bin/pzstd", "usr/lib/python3/dist-packages/portage/tests"),
            *("var/lib/dpkg/info/*.md5sums", "var/cache/debconf/*", "var/log/*.log", "var/log/apt"),
        ),
        compression="zstd -T0 -12",
    ),
}


def make_reference(variant: Variant, tree: Tree, progress: Progress) -> Path:
    """The archive of a reference stage, made when it is not there yet (about two minutes the first time).

    It appears under its final name only when it is complete; whatever a killed run left is removed by the
    next one.
    """
    stages = tree.room("stages").resolve()
    if variant == "install":
        make_reference("build", tree, progress)
    archive = _archive(variant, stages)
    with exclusive(stages / ".reference.lock"):
        complete = archive.exists() and _portage_tree(stages).exists()
        if not complete:
            _require("mmdebstrap", "zstd", "tar", "unshare", "setpriv")
            with workplace(stages, ".reference-") as place:
                _make(variant, place, stages, progress)
    return archive


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """One process at a time inside; the kernel lets go when the holder dies."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


@contextmanager
def workplace(room: Path, prefix: str) -> Iterator[Path]:
    """A scratch directory in `room`. What an earlier, killed holder of the same lock left goes first."""
    for left in room.glob(f"{prefix}*"):
        if left.is_dir():
            shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=room) as name:
        place = Path(name)
        place.chmod(0o755)
        yield place


def _archive(variant: Variant, stages: Path) -> Path:
    return stages / f"reference-{variant}-{RECIPES[variant].hash}.tar.zst"


def _portage_tree(stages: Path) -> Path:
    """Portage as built in the build stage, to be laid over either stage."""
    return stages / f"{PORTAGE_TREE}-{RECIPES['build'].hash}.tar"


def _require(*programs: str) -> None:
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise Problem(f"the reference stage needs {', '.join(missing)}", hint="install them with apt-get")


def _make(variant: Variant, place: Path, stages: Path, progress: Progress) -> None:
    recipe = RECIPES[variant]
    root = place / "root"
    progress(f"reference {variant} stage: unpacking Debian {recipe.release}")
    _bootstrap(recipe, root)
    if variant == "build":
        progress("reference build stage: compiling Portage")
        _build_portage(place, root).replace(_portage_tree(stages))
    progress(f"reference {variant} stage: setting up")
    _lay_portage(_portage_tree(stages), root)
    _set_up(recipe, root)
    progress(f"reference {variant} stage: packing")
    packed = place / "archive"
    skip = [f"--exclude=./{name}/*" for name in ("dev", "proc", "run", "sys", "tmp")]
    order = ["--sort=name", "--numeric-owner", "--format=gnu"]
    pack = ["tar", *order, *skip, f"--use-compress-program={recipe.compression}", "--create"]
    run([*pack, f"--file={packed}", f"--directory={root}", "."])
    packed.replace(_archive(variant, stages))


def _bootstrap(recipe: Recipe, root: Path) -> None:
    """Unpack and configure the Debian packages, in a PID namespace: nothing outlives a killed caller."""
    alone = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
    alone.append("--mount-proc")
    options = [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.leave_out]
    debootstrap = ["mmdebstrap", "--mode=root", f"--variant={recipe.debian_variant}", *options]
    debootstrap += ['--aptopt=APT::Install-Recommends "false"', f"--include={','.join(recipe.packages)}"]
    lines = [each.line("deb") for each in debian.repositories()]
    try:
        run([*debootstrap, recipe.release, root, *lines], prefix=alone, timeout_seconds=3600)
    except CommandFailed as failure:
        raise Problem(
            f"mmdebstrap could not make a Debian {recipe.release} root:\n{failure.output[-1500:]}",
            hint=debian.HINT,
        ) from failure


def _build_portage(place: Path, root: Path) -> Path:
    """Compile Portage inside the build root; returns a tar to be unpacked over a root."""
    work = place / "portage"
    work.mkdir()
    locked = work / "requirements.txt"
    locked.write_text(f"{PORTAGE} --hash=sha256:{PORTAGE_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary=portage", "--require-hashes"]
    try:
        run([*pip, f"--requirement={locked}", f"--dest={work}"], timeout_seconds=900)
    except CommandFailed as failure:
        last = failure.output.strip().splitlines()[-3:]
        raise Problem(f"pip cannot fetch the sources of {PORTAGE}:\n" + "\n".join(last)) from failure
    source = work / PORTAGE.replace("==", "-")
    run(["tar", "--extract", f"--file={source}.tar.gz", f"--directory={work}", "--no-same-owner"])
    inside = Sandbox(
        root=root,
        mounts=(Tmpfs(PurePosixPath("/tmp")), Bind(work, WORK, read_only=False)),
        cwd=str(WORK / source.name),
    ).prefix()
    run(["meson", "setup", "build", *MESON], prefix=inside)
    run(["meson", "install", "-C", "build", f"--destdir={WORK}/out"], prefix=inside)
    made = work / "portage.tar"
    run(["tar", "--create", f"--file={made}", "--owner=0", "--group=0", f"--directory={work}/out", "."])
    return made


def _lay_portage(archive: Path, root: Path) -> None:
    keep = ["--no-overwrite-dir", "--keep-directory-symlink"]
    run(["tar", "--extract", *keep, f"--file={archive}", f"--directory={root}"])


def _set_up(recipe: Recipe, root: Path) -> None:
    """Turn a Debian root with Portage in it into a stage."""
    for pattern in recipe.remove:
        for path in sorted(root.glob(pattern)):
            _delete(path)
    for name, text in recipe.files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, target in recipe.links:
        if name.startswith("etc/") or (root / name).parent.joinpath(target).exists():
            (root / name).unlink(missing_ok=True)
            (root / name).symlink_to(target)
    _link_tools(recipe, root)
    inside = Sandbox(root=root).prefix()
    run(["groupadd", "--gid", PORTAGE_ID, "portage"], prefix=inside)
    home = ["--home-dir", "/var/lib/portage/home", "--shell", "/usr/sbin/nologin"]
    run(["useradd", "--system", "--uid", PORTAGE_ID, "--gid", PORTAGE_ID, *home, "portage"], prefix=inside)
    for name, owner in recipe.directories:
        (root / name).mkdir(parents=True, exist_ok=True)
        shutil.chown(root / name, int(owner), int(owner))
    # Without .pyc files the first emerge on the machine compiles all of Portage, and leaves unowned files.
    run(["python3", "-m", "compileall", "-q", "-j0", *recipe.python_trees], prefix=inside)
    run(["ldconfig"], prefix=inside)


def _link_tools(recipe: Recipe, root: Path) -> None:
    """Every tool under its CHOST name, also for distcc and ccache.

    Portage takes /usr/lib/distcc when there is no /usr/lib/distcc/bin, and distccd 3.4 runs only names that
    are links in /usr/lib/distcc.
    """
    for place in (root / "usr/bin", *(root / "usr/lib" / name for name in recipe.masquerade)):
        for tool in sorted(place.glob(f"{DEBIAN_TRIPLET}-*")):
            link = place / tool.name.replace(DEBIAN_TRIPLET, recipe.chost, 1)
            target = tool.readlink() if place.name in recipe.masquerade else Path(tool.name)
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
