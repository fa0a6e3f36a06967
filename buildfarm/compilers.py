"""Toolchain identity: a hash of the compiler, assembler, linker and C library that a package is made with.

All is found from the root's files, as a chroot would follow its links, so that it works for a root of another
architecture too. What the driver would start is looked for where GCC looks (gcc(1), -print-search-dirs).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from buildfarm.elf import linkage
from buildfarm.index import split_cpv
from buildfarm.view import View

PROGRAMS = ("usr/local/bin", "usr/bin", "bin", "usr/sbin", "sbin")
VARIABLES = (
    "AR", "AS", "BUILD_CC", "BUILD_CXX", "CBUILD", "CC", "CFLAGS", "CHOST", "CTARGET", "CXX", "FC", "HOSTCC",
    "LD", "LDFLAGS", "OBJCOPY", "RANLIB", "STRIP",
)  # fmt: skip
WRAPPERS = frozenset(("ccache", "distcc", "icecc", "sccache", "env", "nice", "time"))
BACKENDS = ("cc1", "cc1plus", "collect2", "f951", "lto1", "lto-wrapper", "liblto_plugin.so")
RUNTIME = (
    "crtbegin.o",
    "crtbeginS.o",
    "crtend.o",
    "libgcc.a",
    "libgcc_eh.a",
    "libstdc++.so",
    "libstdc++.a",
    "specs",
)
C_LIBRARY = ("libc.so.6", "libc_nonshared.a", "crt1.o", "Scrt1.o", "crti.o", "libc.a")
C_LIBRARY_PLACES = ("lib64", "usr/lib64", "lib", "usr/lib")
MUSL = re.compile(r"ld-musl-.*\.so\.1|libc\.musl-.*\.so\.1")
# What a tool keeps its work in. Its general libraries (zlib, zstd, gmp) do not decide what it writes, and a
# new zlib would otherwise build everything again.
OWN_LIBRARIES = re.compile(r"lib(bfd|opcodes|ctf|sframe|LLVM|clang|clang-cpp|lldCommon|lldELF)\b.*")
LINKER = re.compile(r"-fuse-ld=(\S+)")
# The merge of one of these changes what the rest is compiled with; crossdev has categories of its own.
PACKAGES = re.compile(
    r"(sys-devel|llvm-core|llvm-runtimes|sys-libs|cross-[^/]+)/"
    r"(gcc|gcc-config|binutils|binutils-config|binutils-libs|clang|llvm|lld|mold|compiler-rt|libcxx|libcxxabi"
    r"|llvm-libunwind|glibc|musl|uclibc-ng)"
)
NUMBERED = re.compile(rb"\0(\d+\.\d+\.\d+)(?: \d{8})?\0")
GLIBC = re.compile(rb"GNU C Library .*? version (\d+\.\d+(?:\.\d+)?)")
CLANG = re.compile(rb"clang version (\d+\.\d+\.\d+)|/lib(?:64)?/clang/(\d+(?:\.\d+)*)|llvm/(\d+)/")
IN_PATH = re.compile(r"(?:binutils-bin|gcc-bin|llvm)[/-]([0-9][0-9.]*)")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Toolchain:
    """What compiles in a root, for one set of variables such as CC and CHOST."""

    identity: str
    """sha256 in hexadecimal; empty files mean that nothing compiles there at all."""
    description: str
    """For people: `gcc 12.2.0, binutils 2.40, glibc 2.36`."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Role (`cc`, `cc1`, `as`, `libc.so.6` ...) -> sha256 of the file."""


class Compilers:
    """The toolchains of one root; every file is read once."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._hashes: dict[Path, str] = {}
        self._known: dict[tuple[str, ...], Toolchain] = {}

    def identify(self, variables: Mapping[str, str]) -> Toolchain:
        """`variables`: those of VARIABLES that are set for the package; others do not matter."""
        asked = tuple(variables.get(name, "") for name in VARIABLES)
        if asked not in self._known:
            self._known[asked] = self._identify(dict(zip(VARIABLES, asked, strict=True)))
        return self._known[asked]

    def _identify(self, variables: Mapping[str, str]) -> Toolchain:
        found: dict[str, Path] = {}
        for role, path in self._tools(variables):
            found.setdefault(role, path)
        files = {role: self._hash(path) for role, path in sorted(found.items())}
        digest = hashlib.sha256()
        for role, sha256 in files.items():
            digest.update(f"{role} {sha256}\n".encode())
        return Toolchain(digest.hexdigest(), self._describe(found), files)

    def _tools(self, variables: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
        host = variables["CHOST"]
        for role, text, usual in _commands(variables):
            path = self._program(_program_name(text), host) or self._first(usual, host)
            if path is None:
                continue
            yield role, path
            yield from self._libraries(role, path)
            if role.endswith(("cc", "cxx", "fc")):
                yield from self._gcc(role, path)
        for role, names in (("as", ("as",)), ("ld", _linkers(variables)), ("strip", ("strip",))):
            for name in names:
                path = self._tool(name, host)
                if path is not None:
                    yield (role if len(names) == 1 else f"{role} {name}"), path
                    yield from self._libraries(role, path)
        yield from self._c_library(host)

    def _first(self, names: Iterable[str], host: str) -> Path | None:
        return next((path for name in names if (path := self._program(name, host))), None)

    def _program(self, name: str, host: str) -> Path | None:
        """A command as PATH would find it; Gentoo's compilers also lie in a directory of their version."""
        if not name:
            return None
        if "/" in name:
            return self._file(name)
        for place in (
            *PROGRAMS,
            *self._versioned(f"usr/{host}/gcc-bin"),
            *self._versioned("usr/lib/llvm", "bin"),
        ):
            if path := self._file(f"{place}/{name}"):
                return path
        return None

    def _versioned(self, place: str, below: str = "") -> list[str]:
        """Directories named by versions, the newest first."""
        names = [name for name in self.view.names(place) if name[:1].isdigit()]
        return [f"{place}/{name}/{below}" for name in sorted(names, key=_numbers, reverse=True)]

    def _tool(self, name: str, host: str) -> Path | None:
        """as, ld ...: the driver looks below its target first, then in PATH."""
        return self._file(f"usr/{host}/bin/{name}") or self._first((f"{host}-{name}", name), host)

    def _file(self, name: str) -> Path | None:
        path = self.view.find(name)
        return path if path is not None and path.is_file() else None

    def _gcc(self, role: str, driver: Path) -> Iterator[tuple[str, Path]]:
        """cc1 and what else lies below .../gcc/TARGET/VERSION of this driver.

        For a driver that does not say its version (clang, which borrows GCC's start files) all count.
        """
        version = _driver_version(driver)
        for base in ("usr/libexec/gcc", "usr/lib/gcc", "usr/lib64/gcc"):
            for target in self.view.names(base):
                for own in self.view.names(f"{base}/{target}"):
                    if version and own != version and not version.startswith(f"{own}."):
                        continue
                    for name in (*BACKENDS, *RUNTIME):
                        if path := self._file(f"{base}/{target}/{own}/{name}"):
                            yield f"{role} {name}" if version else f"{role} {own} {name}", path

    def _libraries(self, role: str, program: Path) -> Iterator[tuple[str, Path]]:
        data = program.read_bytes()
        try:
            linked = linkage(data)
        except ValueError:
            return
        for name in sorted(linked.needed if linked else ()):
            if OWN_LIBRARIES.fullmatch(name) and (
                path := self._library(name, linked.runpath if linked else ())
            ):
                yield f"{role} {name}", path

    def _library(self, name: str, runpath: Iterable[str]) -> Path | None:
        places = (one for one in runpath if not one.startswith("$"))
        return next(
            (p for place in (*places, *self._library_places()) if (p := self._file(f"{place}/{name}"))), None
        )

    def _library_places(self) -> Iterator[str]:
        for place in C_LIBRARY_PLACES:
            yield place
            yield from (f"{place}/{name}" for name in self.view.names(place) if "-linux-gnu" in name)
        yield from self._versioned("usr/lib/llvm", "lib64")
        yield from self._versioned("usr/lib/llvm", "lib")
        for host in self.view.names("usr/lib/binutils"):
            yield from self._versioned(f"usr/lib/binutils/{host}")

    def _c_library(self, host: str) -> Iterator[tuple[str, Path]]:
        for place in (f"usr/{host}/lib", f"usr/{host}/usr/lib", *self._library_places()):
            for name in C_LIBRARY:
                if path := self._file(f"{place}/{name}"):
                    yield name, path
            for name in self.view.names(place) if place in C_LIBRARY_PLACES else ():
                if MUSL.fullmatch(name) and (path := self._file(f"{place}/{name}")):
                    yield name, path

    def _hash(self, path: Path) -> str:
        if path not in self._hashes:
            with path.open("rb") as source:
                self._hashes[path] = hashlib.file_digest(source, "sha256").hexdigest()
        return self._hashes[path]

    def _describe(self, found: Mapping[str, Path]) -> str:
        said = []
        if "cc" in found:
            said.append(_name_compiler(found["cc"]))
        if "as" in found:
            said.append(f"binutils {_binutils(found)}".rstrip())
        if "libc.so.6" in found:
            version = GLIBC.search(found["libc.so.6"].read_bytes())
            said.append(f"glibc {version[1].decode()}" if version else "glibc")
        elif any(MUSL.fullmatch(role) for role in found):
            said.append("musl")
        return ", ".join(said) or "no compiler"


def is_part(cpv: str) -> bool:
    """Is this package a compiler, an assembler, a linker or a C library?"""
    return PACKAGES.fullmatch(split_cpv(cpv)[0]) is not None


def identify(view: View, variables: Mapping[str, str]) -> Toolchain:
    """The toolchain of one root for one set of variables."""
    return Compilers(view).identify(variables)


def _commands(variables: Mapping[str, str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(role, what the variable says, what toolchain-funcs.eclass takes when it says nothing)."""
    host, build, target = (variables[name] for name in ("CHOST", "CBUILD", "CTARGET"))
    yield "cc", variables["CC"], (f"{host}-gcc", "gcc", "cc", "clang")
    yield "cxx", variables["CXX"], (f"{host}-g++", "g++", "c++", "clang++")
    yield "fc", variables["FC"], (f"{host}-gfortran",)
    yield "ar", variables["AR"], (f"{host}-ar", "ar")
    for name in ("AS", "LD", "OBJCOPY", "RANLIB", "STRIP", "HOSTCC"):
        if variables[name]:
            yield f"{name} {'cc' if name == 'HOSTCC' else ''}".strip(), variables[name], ()
    if (build and build != host) or variables["BUILD_CC"]:
        yield "build cc", variables["BUILD_CC"], (f"{build}-gcc", "gcc")
        yield "build cxx", variables["BUILD_CXX"], (f"{build}-g++", "g++")
    if target and target != host:
        yield "target cc", "", (f"{target}-gcc",)


def _linkers(variables: Mapping[str, str]) -> tuple[str, ...]:
    chosen = LINKER.findall(f"{variables['CC']} {variables['CFLAGS']} {variables['LDFLAGS']}")
    return ("ld", *(f"ld.{name}" for name in dict.fromkeys(chosen)))


def _program_name(command: str) -> str:
    """`ccache x86_64-pc-linux-gnu-gcc-11 -m32` -> the compiler; its options are in the key as they stand."""
    for word in command.split():
        if word.rpartition("/")[2] not in WRAPPERS and "=" not in word:
            return word
    return ""


def _driver_version(driver: Path) -> str:
    """GCC's version, from the driver itself or the name it has; empty for other compilers."""
    if "clang" in driver.name:
        return ""
    if found := NUMBERED.search(driver.read_bytes()):
        return found[1].decode()
    named = IN_PATH.search(str(driver)) or re.search(r"-([0-9][0-9.]*)$", driver.name)
    return named[1] if named else ""


def _name_compiler(driver: Path) -> str:
    if "clang" in driver.name:
        found = CLANG.search(driver.read_bytes())
        version = next((one for one in found.groups() if one), b"").decode() if found else ""
        return f"clang {version}".rstrip()
    return f"gcc {_driver_version(driver)}".rstrip()


def _binutils(found: Mapping[str, Path]) -> str:
    """From the directory of the version (Gentoo) or the name of libbfd (Debian)."""
    if named := IN_PATH.search(str(found["as"])):
        return named[1]
    names = (re.search(r"libbfd-([0-9][0-9.]*)", role) for role in sorted(found))
    return next((one[1].rstrip(".") for one in names if one), "")


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(word) for word in re.findall(r"\d+", name))
