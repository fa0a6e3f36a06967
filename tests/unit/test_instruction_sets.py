"""Which extension an instruction needs, and what flags declare."""

import pytest

from buildfarm.instruction_sets import MARCH, OF, TABLE, allowed, beyond, needs
from buildfarm.processor_gate import declared_flags

KNOWN = [
    ("mov    eax,DWORD PTR [esp+0x4]", "i386"),
    ("rep stos BYTE PTR es:[edi],al", "i386"),
    ("lock cmpxchg DWORD PTR [ecx],edx", "i486"),
    ("movs   DWORD PTR es:[edi],DWORD PTR ds:[esi]", "i386"),
    ("cpuid", "i586"),
    ("cmovae eax,edx", "i686"),
    ("fcomip st,st(1)", "i686"),
    ("nop    DWORD PTR [eax+eax*1+0x0]", "i386"),
    ("endbr32", "i386"),
    # `rep bsf`, which GCC writes for every processor: one without BMI does not see the prefix.
    ("tzcnt  ecx,eax", "i386"),
    ("pushw  0x20", "i386"),
    ("paddd  mm0,mm1", "mmx"),
    ("paddd  xmm0,xmm1", "sse2"),
    ("movq   mm0,QWORD PTR [eax]", "mmx"),
    ("movq   xmm0,QWORD PTR [eax]", "sse2"),
    ("pshufw mm0,mm1,0x4e", "sse"),
    ("pextrw eax,xmm0,0x1", "sse2"),
    ("movaps XMMWORD PTR [esp],xmm0", "sse"),
    ("prefetchnta BYTE PTR [eax]", "sse"),
    ("movsd  xmm0,QWORD PTR [eax]", "sse2"),
    ("mfence", "sse2"),
    ("fisttp QWORD PTR [esp]", "sse3"),
    ("pshufb xmm0,xmm1", "ssse3"),
    ("pmulld xmm0,xmm1", "sse4.1"),
    ("popcnt eax,eax", "popcnt"),
    ("lzcnt  eax,eax", "lzcnt"),
    ("movbe  eax,DWORD PTR [edx]", "movbe"),
    ("aesenc xmm0,xmm1", "aes"),
    ("vaddps xmm0,xmm1,xmm2", "avx"),
    ("vaddps ymm0,ymm1,ymm2", "avx"),
    ("vpaddd ymm0,ymm1,ymm2", "avx2"),
    ("vpbroadcastb xmm0,xmm0", "avx2"),
    ("vfmadd213ss xmm0,xmm1,xmm2", "fma"),
    ("vcvtph2ps xmm0,xmm1", "f16c"),
    ("vaddps zmm0{k1},zmm1,zmm2", "avx512"),
    ("kmovd  k1,eax", "avx512"),
    ("rex.WB syscall", "64"),
    ("notrack jmp eax", "i386"),
    ("hcf", "unknown hcf"),
    ("(bad)", ""),
    (".byte 0xff", ""),
    ("", ""),
]


@pytest.mark.parametrize(("text", "extension"), KNOWN)
def test_an_instruction_belongs_to_what_brought_it(text: str, extension: str) -> None:
    assert needs(text) == extension


def test_no_name_is_in_two_tables() -> None:
    assert len(OF) == sum(len(names) for names in TABLE.values())


@pytest.mark.parametrize(
    ("march", "has", "lacks"),
    [
        ("i486", {"x87", "i486"}, {"i586", "mmx"}),
        ("pentium-mmx", {"i586", "mmx"}, {"i686"}),
        ("pentiumpro", {"i686"}, {"mmx"}),
        ("pentium2", {"i686", "mmx", "fxsr"}, {"sse", "3dnow"}),
        ("pentium3", {"sse"}, {"sse2"}),
        ("x86-64", {"sse2", "64"}, {"sse3", "cx16"}),
        ("x86-64-v2", {"sse4.2", "popcnt"}, {"avx"}),
        ("x86-64-v3", {"avx2", "fma", "bmi2"}, {"avx512", "aes"}),
    ],
)
def test_a_processor_has_what_its_makers_say(march: str, has: set[str], lacks: set[str]) -> None:
    declared = MARCH[march]
    assert has <= declared
    assert beyond(lacks | has, declared) == sorted(lacks)


def test_options_behind_march_add_and_take_away() -> None:
    assert allowed("-O2 -march=pentium3 -mno-sse") == MARCH["pentium2"]
    assert allowed("-march=pentium2 -msse -msse2 -pipe") == MARCH["pentium4"]
    assert allowed("-march=i486 -march=pentium2") == MARCH["pentium2"]


@pytest.mark.parametrize("flags", ["", "-O2 -pipe", "-march=native", "-march=armv8-a"])
def test_what_names_no_known_processor_declares_nothing(flags: str) -> None:
    assert allowed(flags) is None


@pytest.mark.parametrize(
    ("files", "flags"),
    [
        ({"make.conf": b'CFLAGS="-O2 -march=pentium2"\n# -march=native\n'}, 'CFLAGS="-O2 -march=pentium2'),
        ({"make.conf": b'CFLAGS="-march=i486"\nCFLAGS="-march=i686 -O2"\n'}, 'CFLAGS="-march=i686 -O2'),
        ({"make.conf/10-flags": b"COMMON_FLAGS='-march=k8'\n"}, "COMMON_FLAGS='-march=k8"),
        ({"make.conf": b'CFLAGS="-O2"\n', "package.use": b"-march=k8"}, ""),
    ],
)
def test_the_last_flags_of_make_conf_that_name_a_processor_count(files: dict[str, bytes], flags: str) -> None:
    assert declared_flags(files) == flags
