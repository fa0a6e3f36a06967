"""Makes toolchain images: a compiler, its assembler and distccd, exactly as they are in a profile's root."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from appliance.errors import Problem
from appliance.run import Argument, CommandFailed, run
from appliance.sandbox import Bind, Image, Mount, Sandbox, Tmpfs
from buildfarm.elf import linkage
from buildfarm.view import Trail, View, view

HASH = re.compile(r"[0-9a-f]{64}")
COMPILER = re.compile(r"(?:[\w.]+-)*(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+)(?:-[\d.]+)?")
LAUNCHERS = frozenset({"ccache", "distcc", "sccache"})
PATH_PLACES = ("usr/local/bin", "usr/bin", "bin", "usr/sbin", "sbin")
# What gcc runs for `-c`, and what it runs for a link: an ebuild may ask a remote compiler for its versions.
PARTS = ("cc1", "cc1plus", "lto1", "collect2", "lto-wrapper", "as", "ld")
# ELF machine numbers (elf.h) as `uname -m` says them, for 64 bit and 32 bit files.
MACHINES = {
    (2, 62): "x86_64", (1, 3): "i686", (1, 62): "x86_64", (2, 183): "aarch64", (1, 40): "armv7l",
    (2, 243): "riscv64", (2, 21): "ppc64le", (2, 22): "s390x", (2, 258): "loongarch64",
}  # fmt: skip
DAEMON_USER = "distcc"
OWN = "opt/distserver"
"""Where a distcc that is not the root's own lies, beside its own loader and libraries."""
WHITELISTS = ("usr/lib/distcc", "usr/lib64/distcc")
NODES = ("null c 666 0 0 1 3", "zero c 666 0 0 1 5", "random c 666 0 0 1 8", "urandom c 666 0 0 1 9")
PLACES = ("dev", "etc", "proc", "run", "tmp", "usr/bin", "usr/lib")
SCRATCH = PurePosixPath("/run/distserver")
SAMPLE = b"""
static unsigned mix(unsigned a, const unsigned char *p, unsigned n)
{ for (unsigned i = 0; i < n; i++) a = (a ^ p[i]) * 16777619u; return a; }
double sum(const double *v, int n) { double s = 0; for (int i = 0; i < n; i++) s += v[i] * 1.5; return s; }
int pick(int k)
{ switch (k) { case 1: return 7; case 2: return 9; case 5: return 3; default: return k << 2; } }
unsigned whole(const unsigned char *p) { return mix(2166136261u, p, 64) + pick(p[0]); }
"""


@dataclass(frozen=True)
class Wanted:
    """The compilers a profile calls, as its configuration names them."""

    chost: str
    cc: str = ""
    """CC; empty: CHOST-gcc."""
    cxx: str = ""

    @property
    def programs(self) -> tuple[str, str]:
        """Without options and launchers: `ccache CHOST-gcc -m64` is CHOST-gcc."""
        return _word(self.cc) or f"{self.chost}-gcc", _word(self.cxx) or f"{self.chost}-g++"


@dataclass(frozen=True)
class Toolchain:
    """A toolchain image and what is in it."""

    hash: str
    """sha256 of the image; its name."""
    chost: str
    arch: str
    """What `uname -m` must say on a host that can run it."""
    version: str
    """The compiler's own, such as 12.2.0."""
    names: tuple[str, ...]
    """What the compilers may be called by; only these are sent to compile hosts."""
    daemon: tuple[str, ...]
    """The argv that starts distccd inside."""
    size_bytes: int
    content: str
    """Hash of all files in it."""
    files: tuple[str, ...] = field(repr=False, default=())
    """Of the root it was made from: while these stay, it is the root's toolchain."""
    identity: str = ""
    """Hash over compiler, assembler, linker and libc, as build keys hold it."""


@dataclass
class _Content:
    """What goes into an image, by name relative to its root."""

    directories: set[str] = field(default_factory=set)
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, Path | bytes] = field(default_factory=dict)

    def add(self, trail: Trail) -> None:
        self.directories |= set(trail.directories)
        self.links |= dict(trail.links)
        if trail.path.is_file():
            self.files[trail.name] = trail.path

    def program(self, root: View, trail: Trail) -> None:
        self.add(trail)
        for needed in root.needs(trail):
            self.add(needed.trail)

    def hash(self) -> str:
        digest = hashlib.sha256("\n".join(sorted(self.directories)).encode())
        for name, target in sorted(self.links.items()):
            digest.update(f"\nlink {name} {target}".encode())
        for name, data in sorted(self.files.items()):
            content = data if isinstance(data, bytes) else data.read_bytes()
            digest.update(f"\nfile {name} {hashlib.sha256(content).hexdigest()}".encode())
        return digest.hexdigest()


def make(sandbox: Sandbox, wanted: Wanted, room: Path, *, identity: str = "") -> Toolchain:
    """The toolchain of a profile's root, from `room` when the same was made before.

    Raises Problem when the root has no such compiler, or when the image does not make the same objects.
    """
    root = view(sandbox)
    content = _Content(directories=set(PLACES))
    version, names = _compilers(sandbox, root, wanted, content)
    files = tuple(sorted(content.files))
    daemon = _daemon(root, content)
    _whitelist(root, names, content)
    content.files["etc/passwd"] = (
        b"root:x:0:0::/:/bin/false\n" + f"{DAEMON_USER}:x:240:240::/:/bin/false\n".encode()
    )
    content.files["etc/group"] = f"root:x:0:\n{DAEMON_USER}:x:240:\n".encode()
    content.files["etc/distcc/clients.allow"] = b""
    content.files["etc/distserver/daemon"] = "".join(f"{word}\n" for word in daemon).encode()
    digest = content.hash()
    for known in all_toolchains(room):
        if known.content == digest:
            return known
    compiler = _program(root, wanted.programs[0])
    about = linkage(compiler.path.read_bytes())
    arch = MACHINES.get((about.machine[0], about.machine[2]), "") if about else ""
    if not arch:
        raise Problem(f"{compiler.name} of {root} is for no processor that is known here")
    packed = _pack(content, room)
    image = room / f"{packed.name.removeprefix('.')}"
    _check(sandbox, packed, wanted)
    made = Toolchain(
        hash=image.stem,
        chost=wanted.chost,
        arch=arch,
        version=version,
        names=names,
        daemon=daemon,
        size_bytes=packed.stat().st_size,
        content=digest,
        files=files,
        identity=identity,
    )
    packed.rename(image)
    part = room / f".{made.hash}.json"
    part.write_text(json.dumps(asdict(made), indent=1))
    part.rename(room / f"{made.hash}.json")
    return made


def all_toolchains(room: Path) -> list[Toolchain]:
    """Every toolchain that is kept, by hash."""
    return [_read(file) for file in sorted(room.glob("*.json")) if HASH.fullmatch(file.stem)]


def find(room: Path, digest: str) -> Toolchain | None:
    file = room / f"{digest}.json"
    return _read(file) if HASH.fullmatch(digest) and file.is_file() else None


def fingerprint(root: View, made: Toolchain) -> str:
    """Changes when a file of the toolchain is replaced in the root it was made from; reads no contents."""
    stats = [(name, trail.path.stat()) for name in made.files if (trail := root.trail(name))]
    rows = [f"{name} {one.st_ino} {one.st_size} {one.st_mtime_ns}" for name, one in stats]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def sandbox_of(image: Path, scratch: Path) -> Sandbox:
    """The image as a root of its own, `scratch` writable at SCRATCH."""
    (scratch / "root").mkdir(parents=True, exist_ok=True)
    (scratch / "shared").mkdir(exist_ok=True)
    mounts: list[Mount] = [
        Image(image, PurePosixPath("/")),
        Tmpfs(PurePosixPath("/tmp"), 0o1777),
        Bind(scratch / "shared", SCRATCH, read_only=False),
    ]
    return Sandbox(scratch / "root", mounts, env={"LC_ALL": "C"})


def answer(made: Toolchain, image: Path, request: Path, scratch: Path) -> bytes:
    """What the image's own distccd answers a request, run here."""
    given, pipe = scratch / "answer", scratch / "pipe"
    inside = sandbox_of(image, scratch)
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    # distccd speaks its protocol on any descriptors, and gives up when its input ends before it has
    # answered: so it gets a pipe that it holds open itself. The image has no shell, this host has.
    script = 'exec 3<>"$1"; timeout 600 cat "$2" >&3 2>&- & given=$3; shift 3; exec "$@" <&3 >"$given"'
    argv: list[Argument] = ["sh", "-c", script, "sh", pipe, request, given]
    daemon = [*made.daemon, "--inetd", "--user", DAEMON_USER, "--log-stderr", "--log-level", "error"]
    run([*argv, *inside.prefix(), *daemon], ok=range(256))
    return given.read_bytes()


def _read(file: Path) -> Toolchain:
    fields = json.loads(file.read_text())
    lists = {name: tuple(fields[name]) for name in ("names", "daemon", "files")}
    return Toolchain(**fields | lists)


def _word(command: str) -> str:
    return next((word for word in command.split() if Path(word).name not in LAUNCHERS), "")


def _program(root: View, name: str) -> Trail:
    places = ("",) if name.startswith("/") else PATH_PLACES
    for place in places:
        if found := root.file(f"{place}/{name}"):
            return found
    raise Problem(f"the compiler {name} is not in {root}", hint="the profile's CC, CXX or chost names it")


def _compilers(
    sandbox: Sandbox, root: View, wanted: Wanted, content: _Content
) -> tuple[str, tuple[str, ...]]:
    """Put both compilers with all they run into the image; their version and every name they have."""
    own = {hashlib.sha256(_program(root, name).path.read_bytes()).digest() for name in wanted.programs}
    names = set()
    for place in PATH_PLACES:
        for name in root.names(place):
            trail = root.file(f"{place}/{name}") if COMPILER.fullmatch(name) else None
            if trail and hashlib.sha256(trail.path.read_bytes()).digest() in own:
                content.program(root, trail)
                names.add(name)
    versions = []
    for compiler in wanted.programs:
        content.program(root, _program(root, compiler))
        said = _ask(sandbox, compiler, ["-dumpfullversion", "-dumpversion"])
        versions.append(said)
        for part in PARTS:
            where = _ask(sandbox, compiler, [f"-print-prog-name={part}"])
            found = root.file(where) if "/" in where else root.program(where)
            if found:
                content.program(root, found)
        specs = _ask(sandbox, compiler, ["-print-file-name=specs"])
        if "/" in specs and (trail := root.file(specs)):
            content.add(trail)
    if len(set(versions)) != 1:
        raise Problem(
            f"{' and '.join(wanted.programs)} have the versions {' and '.join(versions)}, expected one",
            hint="set CC and CXX of the profile to compilers of the same version",
        )
    for name in ("etc/ld.so.conf", "etc/ld.so.cache"):
        if trail := root.file(name):
            content.add(trail)
    return versions[0], tuple(sorted(names))


def _ask(sandbox: Sandbox, compiler: str, words: Sequence[str]) -> str:
    return run([compiler, *words], prefix=sandbox.prefix()).stdout.strip()


def _daemon(root: View, content: _Content) -> tuple[str, ...]:
    """distccd of the root, else this host's with a loader of its own."""
    if found := root.program("distccd"):
        content.program(root, found)
        # Older C libraries read /etc/passwd through a library of its own.
        for place in root.library_places():
            if trail := root.file(f"{place}/libnss_files.so.2"):
                content.add(trail)
                break
        return (f"/{found.name}",)
    content.files |= foreign("distccd")
    return tuple(foreign_argv("distccd"))


def foreign(program: str) -> dict[str, Path | bytes]:
    """A program of this host with its loader and libraries, to be laid below OWN."""
    host = View((Path("/"),))
    found = host.program(program)
    if found is None:
        raise Problem(f"neither the root nor this host has {program}", hint="apt-get install distcc")
    files: dict[str, Path | bytes] = {f"{OWN}/{program}": found.path}
    for needed in host.needs(found):
        name = "ld.so" if needed.name.startswith("/") else needed.name
        files[f"{OWN}/{name}"] = needed.trail.path
    return files


def foreign_argv(program: str) -> list[str]:
    return [f"/{OWN}/ld.so", "--library-path", f"/{OWN}", f"/{OWN}/{program}"]


def _whitelist(root: View, names: Iterable[str], content: _Content) -> None:
    """distccd 3.3 and later run only names that are links to programs in LIBDIR/distcc (serve.c)."""
    for place in WHITELISTS:
        above = root.trail(str(PurePosixPath(place).parent))
        if above is None:
            continue
        content.add(above)
        if above.links:
            continue
        content.directories |= {place}
        for name in names:
            target = next(p for p in PATH_PLACES if root.file(f"{p}/{name}"))
            content.links[f"{place}/{name}"] = f"/{target}/{name}"


def _pack(content: _Content, room: Path) -> Path:
    """The squashfs, under the name it will have with a dot before it."""
    with TemporaryDirectory(prefix=".toolchain-", dir=room) as name:
        tree, part = Path(name) / "tree", Path(name) / "image"
        tree.mkdir()
        for directory in sorted(content.directories | {str(PurePosixPath(f).parent) for f in content.files}):
            if directory not in content.links:
                (tree / directory).mkdir(parents=True, exist_ok=True)
        for link, target in sorted(content.links.items()):
            (tree / link).parent.mkdir(parents=True, exist_ok=True)
            (tree / link).symlink_to(target)
        for file, data in sorted(content.files.items()):
            if isinstance(data, bytes):
                (tree / file).write_bytes(data)
                (tree / file).chmod(0o644)
            else:
                shutil.copyfile(data, tree / file)
                (tree / file).chmod(0o755)
        for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
            folder.chmod(0o755)
        # gzip, because every kernel with squashfs reads it; times and owners are zero, so bytes repeat.
        fixed = ["-all-root", "-all-time", "0", "-mkfs-time", "0", "-reproducible", "-no-xattrs"]
        fixed += [word for node in NODES for word in ("-p", f"dev/{node}")]
        fixed += ["-Xcompression-level", "4"]
        run(["mksquashfs", tree, part, "-noappend", "-quiet", "-no-progress", *fixed])
        digest = hashlib.file_digest(part.open("rb"), "sha256").hexdigest()
        kept = room / f".{digest}.sqfs"
        part.rename(kept)
        return kept


def _check(sandbox: Sandbox, image: Path, wanted: Wanted) -> None:
    """Raise Problem unless the image's compilers make the same objects as the root's."""
    with TemporaryDirectory(prefix="toolchain-") as name:
        scratch = Path(name)
        inside = sandbox_of(image, scratch)
        shared = scratch / "shared"
        bound = Bind(shared, SCRATCH, read_only=False)
        outside = Sandbox(sandbox.root, [*sandbox.mounts, bound], env={**sandbox.env, "LC_ALL": "C"})
        for compiler, suffix in zip(wanted.programs, ("i", "ii"), strict=True):
            (shared / f"sample.{suffix}").write_bytes(SAMPLE)
            objects = [
                _compile(each.prefix(), compiler, shared, f"sample.{suffix}") for each in (outside, inside)
            ]
            if objects[0] != objects[1]:
                raise Problem(
                    f"{compiler} makes another object in its toolchain image than in {sandbox.root}",
                    hint="the image lacks a file the compiler reads; compile hosts cannot be used",
                )


def _compile(prefix: Sequence[str], compiler: str, shared: Path, source: str) -> bytes:
    target = shared / "sample.o"
    target.unlink(missing_ok=True)
    try:
        run([compiler, "-O2", "-c", f"{SCRATCH}/{source}", "-o", f"{SCRATCH}/sample.o"], prefix=prefix)
    except CommandFailed as failure:
        raise Problem(f"{compiler} does not work in its toolchain image:\n{failure.output}") from failure
    return target.read_bytes()
