"""Makes the planner of offline media: a small root with a profile's own Python and the modules that plan."""

import errno
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from appliance.errors import Problem
from appliance.install import fingerprint
from appliance.overlays import HOME
from appliance.run import CommandFailed, run
from appliance.sandbox import Sandbox
from buildfarm.elf import linkage
from buildfarm.imports import closure
from buildfarm.view import Trail, View

PROGRAM = "appliance.offline"
OURS = "appliance"
OLDEST = (3, 11)
# What an interpreter loads before the program.
AT_START = ("encodings", "encodings.aliases", "encodings.ascii", "encodings.utf_8", "os", "runpy", "site")
# Wrappers around libraries that are larger than all the rest; hashlib does without them (_has_hashes).
LARGE = frozenset({"_hashlib", "_ssl"})
HASHES = ("_sha2", "_sha256")
# A function of hashlib imports them, and it is called for each of them when hashlib is loaded.
OF_HASHLIB = ("_blake2", "_md5", "_sha1", *HASHES, "_sha3", "_sha512")
INTERPRETER = re.compile(r"python3\.([0-9]+)")
STANDARD = ("usr/lib", "usr/lib64")
PLACES = ("dev", "medium", "proc", "run", "tmp")
# Of a stage, all that this module could look at.
OF_A_STAGE = re.compile(
    r"(usr/)?(bin|sbin|lib[^/]*)"
    r"|usr/bin/python3[^/]*"
    r"|usr/lib(64)?/python3\.[0-9]+/(?!(site|dist)-packages/|test/|config-|idlelib/|ensurepip/).*"
    r"|(usr/)?lib[^/]*/([^/]*-linux-[^/]*/)?[^/]*\.so([.0-9]*)?"
    r"|(usr/)?lib[^/]*/([^/]*-linux-[^/]*/)?ld-[^/]*"
    r"|usr/lib/gcc/[^/]+/[^/]+/libgcc_s[^/]*"
    r"|etc/ld\.so\.conf(\.d(/[^/]*)?)?"
)
MAGIC_BYTES, HEADER_BYTES = 4, 16
BY_TIME, UNCHECKED = bytes(4), (1).to_bytes(4, "little")


@dataclass(frozen=True)
class Planner:
    """An image and what it weighs."""

    path: Path
    size_bytes: int
    python: str
    """Its version, for instance `3.11`."""


@dataclass(frozen=True)
class _Python:
    program: Trail
    version: str
    library: str
    """Directory of the standard library, relative to the root."""

    @property
    def tag(self) -> str:
        return f"cpython-{self.version.replace('.', '')}"


def planner_of(release: Path, output: Path, shelf: Path) -> Planner:
    """make_planner() of a sealed release: of what its stage has, for any processor and without a network.

    Raises Problem when the stage has no Python that is new enough.
    """
    stage = release / "stage"
    if not stage.is_file():
        raise Problem(f"release {release.name} has no stage", hint="build its profile again")
    known = shelf / f"{_made_of(stage)}.of"
    if known.is_file():
        digest, python = known.read_text().split()
        if (kept := _kept(shelf, digest)).is_file():
            known.touch()
            return _put(kept, output, python)
    with TemporaryDirectory(prefix="planner-") as name:
        _unpack(stage, Path(name))
        digest, python = _shelve(Path(name), shelf)
    part = known.with_name(f".{known.name}.{os.getpid()}")
    part.write_text(f"{digest} {python}\n")
    part.replace(known)
    return _put(_kept(shelf, digest), output, python)


def make_planner(root: Path, output: Path, shelf: Path) -> Planner:
    """Write the planner's squashfs: the same root and the same DistServer give the same bytes.

    `root` is an unpacked stage, or the root of a profile. It may be of another architecture: then nothing of
    it runs; else the planner is tried before it is kept. `shelf` keeps images by what they hold.
    Raises Problem when there is no Python, or when a library of it is missing.
    """
    digest, python = _shelve(root, shelf)
    return _put(_kept(shelf, digest), output, python)


def _made_of(stage: Path) -> str:
    """A hash of all that a planner is made of."""
    with stage.open("rb") as file:
        made_of = hashlib.file_digest(file, "sha256")
    for source in sorted([*(HOME / OURS).glob("*.py"), *HOME.glob("buildfarm/*.py")]):
        made_of.update(f"{source.name} {hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    return made_of.hexdigest()


def _kept(shelf: Path, digest: str) -> Path:
    return shelf / f"{digest}.sqfs"


def _put(kept: Path, output: Path, python: str) -> Planner:
    kept.touch()
    output.unlink(missing_ok=True)
    try:
        output.hardlink_to(kept)
    except OSError as failed:
        if failed.errno != errno.EXDEV:
            raise
        shutil.copyfile(kept, output)
    return Planner(output, output.stat().st_size, python)


def _unpack(stage: Path, place: Path) -> None:
    """Of a stage's archive what OF_A_STAGE names; a stage is large, and most of it is of no use here."""
    how = ["--no-recursion", "--verbatim-files-from", "--files-from=-", "--no-same-owner"]
    try:
        listed = run(["tar", "--list", "--quoting-style=literal", f"--file={stage}"]).stdout.splitlines()
        wanted = [name for name in listed if OF_A_STAGE.fullmatch(name.removeprefix("./").rstrip("/"))]
        names = "".join(f"{name}\n" for name in wanted)
        run(["tar", "--extract", f"--file={stage}", f"--directory={place}", *how], stdin=names.encode())
    except CommandFailed as failed:
        said = failed.output.strip().splitlines()[:1] or ["no output"]
        raise Problem(f"the stage {stage} cannot be unpacked: {said[0]}") from failed


def _shelve(root: Path, shelf: Path) -> tuple[str, str]:
    """The digest of a planner that is on the shelf afterwards, and its Python's version."""
    view = View((root,))
    python = _python(view)
    entries = dict(sorted(_entries(view, python).items()))
    digest = hashlib.sha256()
    for name, content in entries.items():
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    kept = _kept(shelf, digest.hexdigest())
    if not kept.is_file():
        with TemporaryDirectory(prefix=".planner-", dir=shelf) as name:
            tree = Path(name) / "tree"
            _write(tree, entries)
            if _runs_here(python.program):
                _try(tree)
            part = Path(name) / "image"
            # gzip, because every kernel with squashfs reads it; times and owners are zero, so bytes repeat.
            fixed = ["-all-root", "-all-time", "0", "-mkfs-time", "0", "-reproducible", "-no-xattrs"]
            run(["mksquashfs", tree, part, "-noappend", "-quiet", "-no-progress", *fixed])
            part.replace(kept)
    return digest.hexdigest(), python.version


def _write(tree: Path, entries: Mapping[str, bytes]) -> None:
    for name in PLACES:
        (tree / name).mkdir(parents=True)
    for name, content in entries.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if linkage(content) else 0o644)
    for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]:
        folder.chmod(0o755)


def _runs_here(program: Trail) -> bool:
    own, other = (linkage(path.read_bytes()) for path in (Path(sys.executable), program.path))
    return own is not None and other is not None and own.machine == other.machine


def _try(tree: Path) -> None:
    """All that it needs is loaded by any command; one without a medium is enough."""
    text = "plan 1\nreport r\n"
    words = ["/usr/bin/python3", "-B", "-m", PROGRAM, "fingerprint"]
    try:
        said = run(words, prefix=Sandbox(tree).prefix(), stdin=text.encode()).stdout
    except CommandFailed as failed:
        last = failed.output.strip().splitlines()[-1:] or ["it said nothing"]
        raise Problem(f"the planner does not run: {last[0]}", hint="its Python may lack a module") from failed
    if said != f"{fingerprint(text)}\n":
        raise Problem(f"the planner answers {said[:200]!r}, expected {fingerprint(text)}")


def _python(view: View) -> _Python:
    """The newest one. A link is none: /usr/bin/python3 is Gentoo's python-exec, which needs its settings."""
    versions = [int(found[1]) for name in view.names("usr/bin") if (found := INTERPRETER.fullmatch(name))]
    for minor in sorted(versions, reverse=True):
        version = f"3.{minor}"
        program = view.file(f"usr/bin/python{version}")
        libraries = [f"{place}/python{version}" for place in STANDARD]
        library = next((place for place in libraries if view.file(f"{place}/os.py")), None)
        if (3, minor) >= OLDEST and program and library and linkage(program.path.read_bytes()):
            return _Python(program, version, library)
    had = ", ".join(f"3.{minor}" for minor in sorted(versions)) or "none"
    raise Problem(
        f"{view} has no Python that a planner could run with: expected at least 3.11, found {had}",
        hint="an offline medium plans with the Python of its profile's stage",
    )


def _entries(view: View, python: _Python) -> dict[str, bytes]:
    """Every file of the planner's root by its name."""
    modules = _modules(view, python)
    entries: dict[str, bytes] = {"usr/bin/python3": python.program.path.read_bytes()}
    # Its absence makes Python complain on every start.
    entries[f"{python.library}/lib-dynload/.keep"] = b""
    programs = [python.program]
    for name in modules:
        if name.partition(".")[0] == OURS:
            path = _ours(name)
            entries[f"{python.library}/{path.relative_to(HOME)}"] = path.read_bytes()
        elif trail := _compiled(view, python, name):
            entries[f"{python.library}/lib-dynload/{PurePosixPath(trail.name).name}"] = (
                trail.path.read_bytes()
            )
            programs.append(trail)
        elif trail := _source(view, python, name):
            inside = trail.name.partition(f"python{python.version}/")[2]
            entries[f"{python.library}/{inside}"] = trail.path.read_bytes()
            entries |= _ready(view, python, trail, inside)
    return entries | _libraries(view, programs)


def _modules(view: View, python: _Python) -> frozenset[str]:
    large = frozenset() if _has_hashes(view, python) else LARGE

    def find(name: str) -> tuple[str, bool] | None:
        if name.partition(".")[0] == OURS:
            path = _ours(name)
            return (path.read_text(), path.name == "__init__.py") if path.is_file() else None
        if name in LARGE - large:
            return None
        if _compiled(view, python, name):
            return "", False
        trail = _source(view, python, name)
        if trail is None:
            return None
        return trail.path.read_text(errors="replace"), trail.name.endswith("/__init__.py")

    return closure([*AT_START, *OF_HASHLIB, PROGRAM], find)


def _ours(name: str) -> Path:
    place = HOME.joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _source(view: View, python: _Python, name: str) -> Trail | None:
    place = f"{python.library}/{name.replace('.', '/')}"
    return view.file(f"{place}/__init__.py") or view.file(f"{place}.py")


def _compiled(view: View, python: _Python, name: str) -> Trail | None:
    """An extension module: `_json.cpython-311-x86_64-linux-gnu.so`."""
    folder = f"{python.library}/lib-dynload"
    files = (one for one in view.names(folder) if one.endswith(".so") and one.partition(".")[0] == name)
    return next((trail for one in files if (trail := view.file(f"{folder}/{one}"))), None)


def _has_hashes(view: View, python: _Python) -> bool:
    """Has it SHA-256 without OpenSSL? A module that is built in has its name in the interpreter."""
    if any(_compiled(view, python, name) for name in HASHES):
        return True
    programs = [python.program, *(one.trail for one in view.needs(python.program) if "libpython" in one.name)]
    return any(f"{name}\0".encode() in one.path.read_bytes() for one in programs for name in HASHES)


def _ready(view: View, python: _Python, source: Trail, inside: str) -> dict[str, bytes]:
    """The compiled form that the stage has of a module, without which every start compiles all of them.

    One that is compared with the time of its source is marked as one that is not (PEP 552): the image has
    no times.
    """
    place = PurePosixPath(inside)
    name = f"{place.parent}/__pycache__/{place.stem}.{python.tag}.pyc"
    trail = view.file(f"{python.library}/{name}")
    if trail is None:
        return {}
    compiled, about = trail.path.read_bytes(), source.path.stat()
    numbers = (0, int(about.st_mtime), about.st_size)
    stamp = b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers)
    if compiled[MAGIC_BYTES:HEADER_BYTES] == stamp:
        compiled = compiled[:MAGIC_BYTES] + UNCHECKED + bytes(8) + compiled[HEADER_BYTES:]
    elif compiled[MAGIC_BYTES : MAGIC_BYTES + len(BY_TIME)] == BY_TIME:
        return {}
    return {f"{python.library}/{PurePosixPath(name)}": compiled}


def _libraries(view: View, programs: Iterable[Trail]) -> dict[str, bytes]:
    """The loader at its own path; all libraries beside the C library, where every loader looks."""
    needed = {one.name: one.trail for program in programs for one in view.needs(program)}
    home = next((PurePosixPath(trail.name).parent for name, trail in needed.items() if "libc." in name), None)
    return {
        name.lstrip("/") if name.startswith("/") else f"{home}/{name}": trail.path.read_bytes()
        for name, trail in needed.items()
    }
