"""Finds instructions that the processor of a profile has not, in every ELF file of a package."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from appliance.errors import Problem
from appliance.run import running
from buildfarm import gpkg, instruction_sets

ROOM = "instructions"
ARCHIVE = b"!<arch>\n"
X86 = (3, 62)
"""EM_386 and EM_X86_64 (ELF, e_machine)."""
OBJDUMP = ("objdump", "--disassemble", "--disassembler-options=intel", "--no-show-raw-insn", "--wide")
FENCE = ("lfence", "sse2")
SHOWN = 10
PART = ".part-"


@dataclass(frozen=True, order=True)
class Use:
    """A function that has an instruction of an extension which was not declared."""

    file: str
    function: str
    """As the file's symbols name it; of a stripped file the section or the symbol before it."""
    extension: str
    instruction: str
    """The first one there."""

    def __str__(self) -> str:
        return f"{self.file}: {self.function or 'its code'} has `{self.instruction}` ({self.extension})"


def scan(file: Path, name: str, declared: frozenset[str]) -> list[Use]:
    """Every use in an ELF file or static library, one for each function and extension."""
    with tempfile.TemporaryDirectory(prefix="listing-") as scratch:
        listing = Path(scratch) / "listing"
        with running([*OBJDUMP, file], output=listing) as objdump:
            status = objdump.wait()
        if status != 0:
            raise Problem(f"objdump cannot read {name}: it ended with status {status}")
        with listing.open("rb") as lines:
            return sorted(_uses(lines, name, declared))


def _uses(lines: Iterable[bytes], name: str, declared: frozenset[str]) -> list[Use]:
    plain = frozenset(word.encode() for word in instruction_sets.plain(declared))
    found: dict[tuple[bytes, str], Use] = {}
    function = b""
    before = at_fence = b""
    for line in chain(lines, (b"\n",)):
        if at_fence:
            if not _is_trap(at_fence, line):
                found.setdefault((function, FENCE[1]), Use(name, function.decode(), FENCE[1], FENCE[0]))
            at_fence = b""
        place = line.find(b":\t")
        if place < 0:
            if line.endswith(b">:\n"):
                function = line[line.index(b"<") + 1 : -3]
            continue
        text, previous, before = line[place + 2 :], before, line
        # Nearly every line ends here; the others have a wide register, or are looked up.
        if b"mm" not in text and text.split(None, 1)[0] in plain:
            continue
        # What follows a # is objdump's own remark.
        instruction = " ".join(text.decode().partition("#")[0].split())
        need = instruction_sets.needs(instruction)
        if need and need not in declared and (function, need) not in found:
            if (instruction, need) == FENCE:
                at_fence = previous or line
            else:
                found[function, need] = Use(name, function.decode(), need, instruction)
    return list(found.values())


def _is_trap(before: bytes, after: bytes) -> bool:
    """Do these lines around an lfence make it the loop that a retpoline keeps guesses of a processor in?

    `pause; lfence; jmp` back to the pause, jumped over by the call before it: no processor ever carries it
    out, and one that guesses nothing does not even see it.
    Source: gcc(1), -mindirect-branch=thunk; Intel, Retpoline: A Branch Target Injection Mitigation, 2018.
    """
    address, _, text = before.partition(b":\t")
    jump = after.partition(b":\t")[2].split()
    return text.strip() == b"pause" and jump[:2] == [b"jmp", address.strip()]


def is_code(start: bytes) -> bool:
    """Do these first 20 octets begin an x86 ELF file or a static library?"""
    if start.startswith(ARCHIVE):
        return True
    return start[:4] == b"\x7fELF" and int.from_bytes(start[18:20], "little") in X86


class Scanner:
    """Scans packages and stages against what a processor has; what was found is kept by content."""

    def __init__(self, room: Path, declared: frozenset[str]) -> None:
        self.room = room
        self.declared = declared

    def package(self, sha256: str, path: Path) -> list[Use]:
        """Of all files that a gpkg installs."""

        def files(scratch: Path) -> Iterator[tuple[str, Path]]:
            for number, (name, content) in enumerate(gpkg.read_image(path, wanted=lambda name: True)):
                start = content.read(20)
                if is_code(start):
                    file = scratch / str(number)
                    with file.open("wb") as sink:
                        sink.write(start)
                        while chunk := content.read(1 << 20):
                            sink.write(chunk)
                    yield name, file

        return self._kept(sha256, files)

    def tree(self, digest: str, root: Path) -> list[Use]:
        """Of all files below a root, such as a stage; `digest` names its content."""

        def files(_: Path) -> Iterator[tuple[str, Path]]:
            for folder, _below, names in os.walk(root):
                for name in sorted(names):
                    path = Path(folder) / name
                    if path.is_symlink() or not path.is_file():
                        continue
                    with path.open("rb") as file:
                        start = file.read(20)
                    if is_code(start) and not start.startswith(ARCHIVE):
                        yield f"/{path.relative_to(root)}", path

        return self._kept(digest, files)

    def library(self, path: Path) -> list[Use]:
        """Of a static library."""
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._kept(digest, lambda _: iter([(path.name, path)]))

    def _kept(self, digest: str, files: Callable[[Path], Iterable[tuple[str, Path]]]) -> list[Use]:
        kept = self.room / f"{digest}-{self._rules()}.json"
        if kept.is_file():
            return [Use(**one) for one in json.loads(kept.read_text())]
        with (
            tempfile.TemporaryDirectory(prefix="code-") as scratch,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            waiting = [pool.submit(scan, file, name, self.declared) for name, file in files(Path(scratch))]
            found = sorted(use for one in waiting for use in one.result())
        part = self.room / f"{PART}{kept.name}"
        part.write_text(json.dumps([asdict(use) for use in found]))
        part.rename(kept)
        return found

    def _rules(self) -> str:
        """Changes with the tables and with what is declared."""
        own = Path(instruction_sets.__file__).read_bytes() + Path(__file__).read_bytes()
        return hashlib.sha256(own + " ".join(sorted(self.declared)).encode()).hexdigest()[:16]


def dispatched_functions(scanner: Scanner, libraries: Sequence[Path]) -> frozenset[str]:
    """Functions of the C library's static form that it calls only on processors that have what they need.

    A static program contains them by the same names (glibc, sysdeps/x86/cpu-features.c chooses by IFUNC).
    """
    return frozenset(use.function for library in libraries for use in scanner.library(library))


def objections(
    cpv: str, uses: Iterable[Use], *, processor: str, dispatched: frozenset[str] = frozenset()
) -> list[str]:
    """Why a package does not run on a processor, a sentence for each function; empty when it does. Pure."""
    wrong = [use for use in uses if use.function not in dispatched]
    said = [f"{cpv} would not run on {processor}: {use}" for use in wrong[:SHOWN]]
    if len(wrong) > SHOWN:
        said.append(f"{cpv}: {len(wrong) - SHOWN} more functions have such instructions")
    return said


def summary(uses: Sequence[Use]) -> str:
    """`6 files have code for sse, sse2: /usr/lib/libm.so.6, ...`; empty when there is none. Pure."""
    if not uses:
        return ""
    files = sorted({use.file for use in uses})
    kinds = ", ".join(sorted({use.extension for use in uses}))
    more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
    return f"{len(files)} files have code for {kinds}: {', '.join(files[:SHOWN])}{more}"
