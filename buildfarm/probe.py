"""Compiles a fixed file on a compile host and here: only a host that makes the same objects is used."""

import hashlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from appliance.errors import Problem
from appliance.run import CommandFailed, run
from appliance.sandbox import Bind, Sandbox
from appliance.site_cluster import NATIVE
from buildfarm import distcc, inside, native
from buildfarm.cluster import Seat
from buildfarm.elf import section, sections
from buildfarm.toolchain import Wanted

WORK = PurePosixPath("/run/probe")
SOURCES = {
    "probe.c": """
typedef unsigned long word;
static const char *const names[] = { "one", "two", "three" };
word mix(const unsigned char *p, word n)
{ word a = 14695981039346656037ul; for (word i = 0; i < n; i++) a = (a ^ p[i]) * 1099511628211ul; return a; }
double dot(const double *a, const double *b, int n)
{ double s = 0; for (int i = 0; i < n; i++) s += a[i] * b[i]; return s; }
int pick(int k)
{ switch (k) { case 1: return 7; case 2: return 9; case 5: return 3; default: return k << 2; } }
const char *name(unsigned k) { return k < 3 ? names[k] : 0; }
float scale(float *v, int n, float f) { for (int i = 0; i < n; i++) v[i] = v[i] * f + 1.0f; return v[0]; }
""",
    "probe.cc": """
template <typename T> struct Box { T value; T twice() const { return value + value; } virtual ~Box() {} };
struct Failure { int code; };
int guarded(int n)
{ try { if (n > 3) throw Failure{n}; return n; } catch (const Failure &f) { return f.code; } }
template struct Box<int>;
template struct Box<double>;
double use(double n) { Box<double> b; b.value = n; return b.twice(); }
""",
}


@dataclass(frozen=True)
class Flags:
    """How a profile compiles."""

    wanted: Wanted
    cflags: tuple[str, ...] = ()
    cxxflags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Made:
    """An object: its hash, and the compiler that says it made it."""

    hash: str
    compiler: str

    def __str__(self) -> str:
        return f"{self.hash[:12]} by {self.compiler or 'a compiler that does not say its name'}"


def read_flags(sandbox: Sandbox) -> Flags:
    """Ask the root's Portage."""
    said = inside.ask(sandbox, {"flags": {}})["flags"]
    wanted = Wanted(said["CHOST"], said["CC"], said["CXX"])
    return Flags(wanted, tuple(shlex.split(said["CFLAGS"])), tuple(shlex.split(said["CXXFLAGS"])))


def check_flags(sandbox: Sandbox, flags: Flags) -> None:
    """Raise Problem, with what it means here, when flags leave the processor to whoever compiles.

    A site is checked when it is read; a repository's own profile may say it, too.
    """
    for name, words in (("CFLAGS", flags.cflags), ("CXXFLAGS", flags.cxxflags)):
        if bad := next((word for word in words if NATIVE.fullmatch(word)), None):
            means = " ".join(native.resolve(flags.wanted.programs[0], prefix=sandbox.prefix()))
            raise Problem(
                f"{name} of the profile has {bad}, which is another processor on each host",
                hint=f"the processor of this server would be: {means}",
            )


def expect(sandbox: Sandbox, flags: Flags, place: Path) -> dict[str, Made]:
    """What the profile's own compilers make, here: preprocessed first, as distcc does it."""
    own = _sandbox(sandbox, place)
    made = {}
    for source, compiler, words in _jobs(flags):
        mixed = source.replace(".cc", ".ii") if source.endswith(".cc") else source.replace(".c", ".i")
        _write(place, source)
        prefix = own.prefix()
        run([compiler, *words, "-E", source, "-o", mixed], prefix=prefix)
        run([compiler, *words, "-c", mixed, "-o", "probe.o"], prefix=prefix)
        made[source] = _read(place / "probe.o")
    return made


def check_same_code(own: Sandbox, cross: Sandbox, flags: Flags, place: Path) -> None:
    """Raise Problem unless a root's own compiler and a cross compiler make the same code.

    They call themselves different names in .comment, which is no code: everything else counts.
    """
    objects = []
    for sandbox in (own, cross):
        inside = _sandbox(sandbox, place)
        for source, compiler, words in _jobs(flags):
            _write(place, source)
            run([compiler, *words, "-c", source, "-o", "probe.o"], prefix=inside.prefix())
            made = sections((place / "probe.o").read_bytes())
            objects.append([one for one in made if one[0] != ".comment"])
    half = len(objects) // 2
    if objects[:half] != objects[half:]:
        raise Problem(
            f"{flags.wanted.programs[0]} of {cross.root} makes other code than that of {own.root}",
            hint="[cross_stage] must have the same version of the compiler as [stage]",
        )


def differs(
    sandbox: Sandbox,
    flags: Flags,
    seat: Seat,
    *,
    masquerade: PurePosixPath,
    expected: dict[str, Made],
    place: Path,
) -> str:
    """Why this host must not be used; empty when it makes what is expected. `sandbox` reaches the host."""
    env = {**sandbox.env, **distcc.probe_environment(seat), "DISTCC_LOG": str(WORK / "log")}
    remote = _sandbox(replace(sandbox, env=env), place)
    for source, compiler, words in _jobs(flags):
        _write(place, source)
        for left in ("probe.o", "log"):
            (place / left).unlink(missing_ok=True)
        sent = str(masquerade / PurePosixPath(compiler).name)
        try:
            run([sent, *words, "-c", source, "-o", "probe.o"], prefix=remote.prefix())
        except CommandFailed as failure:
            lines = [line for line in failure.output.splitlines() if line.strip()]
            return f"it compiles no {source}: {lines[-1] if lines else f'status {failure.status}'}"
        if not distcc.read_log((place / "log").read_text(errors="replace")).remote.get(seat.name):
            return f"distcc compiles {source} here, whatever it is told: {' '.join(words)}"
        made = _read(place / "probe.o")
        if made != expected[source]:
            return f"of {source} it makes {made}, the profile's own compiler {expected[source]}"
    return ""


def _jobs(flags: Flags) -> list[tuple[str, str, tuple[str, ...]]]:
    # Without a seed link-time optimisation names its sections at random.
    fixed = ("-frandom-seed=distserver",)
    cc, cxx = flags.wanted.programs
    return [("probe.c", cc, (*flags.cflags, *fixed)), ("probe.cc", cxx, (*flags.cxxflags, *fixed))]


def _sandbox(sandbox: Sandbox, place: Path) -> Sandbox:
    mounts = [*sandbox.mounts, Bind(place, WORK, read_only=False)]
    return replace(sandbox, mounts=mounts, env={**sandbox.env, "LC_ALL": "C"}, cwd=str(WORK))


def _write(place: Path, source: str) -> None:
    (place / source).write_text(SOURCES[source])


def _read(file: Path) -> Made:
    try:
        data = file.read_bytes()
        comment = section(data, ".comment")
    except (FileNotFoundError, ValueError) as wrong:
        raise Problem(f"the probe's object cannot be read: {wrong}") from wrong
    return Made(hashlib.sha256(data).hexdigest(), comment.strip(b"\0").decode(errors="replace"))
