"""Real programs, compiled for one processor, judged for another."""

import shutil
from pathlib import Path

import pytest

from appliance.run import run
from buildfarm.disassembly import Scanner, Use, dispatched_functions, is_code, objections, scan, summary
from buildfarm.instruction_sets import MARCH

PENTIUM2 = MARCH["pentium2"]
SOURCE = "double half(double x) { return x / 2; }\nint plain(int a, int b) { return a > b ? a : b; }\n"
NEWER = '__attribute__((target("sse2,fpmath=sse"))) double newer(double x) { return x * 3; }\n'
COMPILE = ("gcc", "-m32", "-O2", "-march=pentium2", "-fno-pic", "-ffreestanding")
LINK = ("-nostdlib", "-shared", "-Wl,-soname,libone.so")


def library(place: Path, text: str, *flags: str) -> Path:
    (place / "one.c").write_text(text)
    run([*COMPILE, *flags, *LINK, "-o", place / "libone.so", place / "one.c"])
    return place / "libone.so"


def test_code_for_the_declared_processor_has_no_objection(tmp_path: Path) -> None:
    assert scan(library(tmp_path, SOURCE), "/usr/lib/libone.so", PENTIUM2) == []


def test_one_function_with_sse2_is_found_by_file_function_and_instruction(tmp_path: Path) -> None:
    (found,) = scan(library(tmp_path, SOURCE + NEWER), "/lib/libone.so", PENTIUM2)
    assert (found.file, found.function, found.extension) == ("/lib/libone.so", "newer", "sse2")
    assert objections("app-misc/one-1", [found], processor="pentium2") == [
        f"app-misc/one-1 would not run on pentium2: /lib/libone.so: newer has `{found.instruction}` (sse2)"
    ]
    assert "xmm" in found.instruction


def test_it_is_found_in_a_stripped_file_and_in_a_static_library(tmp_path: Path) -> None:
    file = library(tmp_path, SOURCE + NEWER, "-s", "-fvisibility=hidden")
    assert {use.extension for use in scan(file, "stripped", PENTIUM2)} == {"sse2"}
    run([*COMPILE, "-c", "-o", tmp_path / "one.o", tmp_path / "one.c"])
    run(["ar", "cr", tmp_path / "libone.a", tmp_path / "one.o"])
    assert [use.function for use in scan(tmp_path / "libone.a", "static", PENTIUM2)] == ["newer"]
    assert is_code((tmp_path / "libone.a").read_bytes()[:20])


def test_the_trap_of_a_retpoline_is_never_carried_out_and_any_other_lfence_is(tmp_path: Path) -> None:
    harden = ("-mindirect-branch=thunk", "-mfunction-return=thunk", "-s", "-fno-asynchronous-unwind-tables")
    call = "int call(int (*one)(void)) { return one() + 1; }\n"
    file = library(tmp_path, SOURCE + call, *harden)
    listing = run(["objdump", "--disassemble", "--no-show-raw-insn", file]).stdout
    assert "lfence" in listing and "pause" in listing
    assert scan(file, "hardened", PENTIUM2) == []
    for wrong in ("lfence", "1: pause\nlfence\njmp 2f\n2: nop", "pause\n1: lfence\njmp 1b"):
        lines = wrong.replace("\n", "\\n")
        fence = library(tmp_path, f'void wait(void) {{ __asm__ volatile("{lines}"); }}\n')
        (use,) = scan(fence, "fence", PENTIUM2)
        assert (use.function, use.instruction, use.extension) == ("wait", "lfence", "sse2")


def test_a_function_of_the_static_c_library_that_is_chosen_at_run_time_is_no_objection(
    tmp_path: Path,
) -> None:
    library(tmp_path, NEWER)
    run([*COMPILE, "-c", "-o", tmp_path / "one.o", tmp_path / "one.c"])
    run(["ar", "cr", tmp_path / "libc.a", tmp_path / "one.o"])
    scanner = Scanner(tmp_path, PENTIUM2)
    chosen = dispatched_functions(scanner, [tmp_path / "libc.a"])
    assert chosen == {"newer"}
    other = Use("/bin/a", "other", "sse", "prefetchnta BYTE PTR [eax]")
    uses = [*scan(library(tmp_path, SOURCE + NEWER), "/bin/a", PENTIUM2), other]
    assert objections("app-misc/one-1", uses, processor="pentium2", dispatched=chosen) == [
        f"app-misc/one-1 would not run on pentium2: {other}"
    ]


def test_a_tree_is_scanned_once_for_each_content_and_processor(tmp_path: Path) -> None:
    root, room = tmp_path / "root", tmp_path / "room"
    for place in (root / "usr/lib", room):
        place.mkdir(parents=True)
    library(root / "usr/lib", SOURCE + NEWER)
    (root / "usr/lib/link").symlink_to("libone.so")
    (root / "usr/lib/text").write_text("no program")
    found = Scanner(room, PENTIUM2).tree("digest", root)
    assert [use.file for use in found] == ["/usr/lib/libone.so"]
    assert summary(found) == "1 files have code for sse2: /usr/lib/libone.so"
    shutil.rmtree(root)
    assert Scanner(room, PENTIUM2).tree("digest", root) == found
    assert Scanner(room, MARCH["pentium4"]).tree("digest", root) == []


@pytest.mark.parametrize("start", [b"", b"#!/bin/sh", b"\x7fELF\x02\x01\x01" + bytes(11) + b"\xb7\x00"])
def test_scripts_and_programs_of_other_processors_are_no_x86_code(start: bytes) -> None:
    assert not is_code(start)


def test_no_more_than_a_few_are_listed() -> None:
    uses = [Use("/bin/a", f"f{number}", "sse", "sfence") for number in range(12)]
    said = objections("app-misc/one-1", uses, processor="pentium2")
    assert len(said) == 11
    assert said[-1] == "app-misc/one-1: 2 more functions have such instructions"
