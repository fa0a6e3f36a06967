"""Which libraries are needed and brought, as Portage writes them."""

import pytest

from buildfarm import sonames
from buildfarm.elf import Linkage
from buildfarm.sonames import Absent

LIB = {"CPV": "a/lib-1", "PROVIDES": "x86_32: libw.so.1 x86_64: libw.so.1 libv.so.2"}
USER = {"CPV": "a/user-1", "REQUIRES": "x86_64: libc.so.6 libw.so.1"}


def test_requires_and_provides_are_lists_by_category() -> None:
    assert sonames.parse(LIB["PROVIDES"]) == {
        "x86_32": frozenset({"libw.so.1"}),
        "x86_64": frozenset({"libw.so.1", "libv.so.2"}),
    }
    assert sonames.parse("") == {}


def test_what_neither_a_package_nor_the_stage_brings_is_absent_with_who_needs_it() -> None:
    stage = {"x86_64": frozenset({"libc.so.6"})}
    assert sonames.absent([LIB, USER], stage) == ()
    assert sonames.absent([USER, {**USER, "CPV": "a/also-1"}], stage) == (
        Absent("libw.so.1", "x86_64", ("a/also-1", "a/user-1")),
    )


def test_a_library_of_another_architecture_does_not_count() -> None:
    (found,) = sonames.absent(
        [USER], {"x86_64": frozenset({"libc.so.6"}), "x86_32": frozenset({"libw.so.1"})}
    )
    assert str(found) == "libw.so.1 (x86_64) of a/user-1"


@pytest.mark.parametrize(
    ("wide", "machine", "flags", "category"),
    [
        # Each as compute_multilib_category() of Portage 3.0.83 names it.
        (2, 62, 0, "x86_64"),
        (1, 62, 0, "x86_x32"),
        (1, 3, 0, "x86_32"),
        (2, 183, 0, "arm_64"),
        (1, 40, 0x5000400, "arm_32"),
        (2, 21, 2, "ppc_64"),
        (2, 22, 0, "s390_64"),
        (2, 243, 5, "riscv_lp64d"),
        (2, 243, 1, "riscv_lp64"),
        (1, 243, 5, "riscv_ilp32d"),
        (2, 243, 4, ""),
        (2, 258, 0x43, "loong_lp64d"),
        (2, 8, 0x80000007, "mips_n64"),
        (1, 8, 0x20, "mips_n32"),
        (1, 8, 0x1000, "mips_o32"),
        (1, 0x1234, 0, ""),
    ],
)
def test_architectures_are_named_as_portage_names_them(
    wide: int, machine: int, flags: int, category: str
) -> None:
    assert sonames.category(Linkage((wide, 1, machine), "", (), (), "", flags)) == category
