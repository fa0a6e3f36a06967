"""Which extension of the x86 an instruction belongs to, and which of them a compiler's -march has. Pure."""

import re
from collections.abc import Iterable, Mapping

UNKNOWN = "unknown"
"""Of an instruction that no table here names: no processor of the table -march may be given it."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONDITIONS = sorted(_words("o no b ae e ne be a s ns p np l ge le g"))
COMPARISONS = sorted(_words("eq lt le unord neq nlt nle ord"))
# Intel's manual, volume 2, by the processor that brought an instruction (22.14 to 22.17 of volume 3).
I386 = _words(
    "aaa aad aam aas adc add and arpl bound bsf bsr bt btc btr bts call cbw cdq clc cld cli clts cmc cmp"
    " cmps cwd cwde daa das dec div enter hlt idiv imul in inc ins int int3 into icebp iret iretw jcxz"
    " jecxz jmp lahf lar lds lea leave les lfs lgdt lgs lidt lldt lmsw lods loop loope loopne lsl lss ltr"
    " mov movabs movs movsx movzx mul neg nop not or out outs pop popa popaw popf popfw push pusha pushaw"
    " pushf pushfw rcl rcr ret retf retw rol ror sahf sal salc sar sbb scas sgdt shl shld shr shrd sidt"
    " sldt smsw stc std sti stos str sub test verr verw wait fwait xchg xlat xor pause endbr32 endbr64"
    " iretd pushad popad lret ljmp lcall"
    # GCC writes `rep bsf` for every processor where zero cannot come: objdump calls that tzcnt.
    " leavew enterw callw jmpw int1 tzcnt"
) | {f"{start}{word}" for word in CONDITIONS for start in ("j", "set")}
X87 = _words(
    "f2xm1 fabs fadd faddp fbld fbstp fchs fclex fcom fcomp fcompp fcos fdecstp fdiv fdivp fdivr fdivrp"
    " ffree ffreep fiadd ficom ficomp fidiv fidivr fild fimul fincstp finit fist fistp fisub fisubr fld"
    " fld1 fldcw fldenv fldl2e fldl2t fldlg2 fldln2 fldpi fldz fmul fmulp fnclex fninit fnop fnsave fnstcw"
    " fnstenv fnstsw fpatan fprem fprem1 fptan frndint frstor fsave fscale fsin fsincos fsqrt fst fstcw"
    " fstenv fstp fstsw fsub fsubp fsubr fsubrp ftst fucom fucomp fucompp fxam fxch fxtract fyl2x fyl2xp1"
    " fldenvw fnstenvw fneni fndisi"
)
I486 = _words("bswap cmpxchg invd invlpg wbinvd xadd")
I586 = _words("cmpxchg8b cpuid rdmsr rdtsc rsm wrmsr")
CMOV = {f"cmov{word}" for word in CONDITIONS}
# Multi-byte NOPs of 0F 18 to 0F 1F are of the Pentium Pro (endbr is one of them there); fcmovcc of its x87.
I686 = _words(
    "fcmovb fcmovbe fcmove fcmovnb fcmovnbe fcmovne fcmovnu fcmovu fcomi fcomip fucomi fucomip rdpmc"
    " sysenter sysexit ud0 ud1 ud2 nopl nopw"
)
MMX = _words(
    "emms movd movq packssdw packsswb packuswb paddb paddd paddsb paddsw paddusb paddusw paddw pand pandn"
    " pcmpeqb pcmpeqd pcmpeqw pcmpgtb pcmpgtd pcmpgtw pmaddwd pmulhw pmullw por pslld psllq psllw psrad"
    " psraw psrld psrlq psrlw psubb psubd psubsb psubsw psubusb psubusw psubw punpckhbw punpckhdq"
    " punpckhwd punpcklbw punpckldq punpcklwd pxor"
)
SSE_ON_MMX = _words(
    "maskmovq movntq pavgb pavgw pextrw pinsrw pmaxsw pmaxub pminsw pminub pmovmskb pmulhuw psadbw pshufw"
)
SSE = _words(
    "addps addss andnps andps cmpps cmpss comiss cvtpi2ps cvtps2pi cvtsi2ss cvtss2si cvttps2pi cvttss2si"
    " divps divss ldmxcsr maxps maxss minps minss movaps movhlps movhps movlhps movlps movmskps movntps"
    " movss movups mulps mulss orps prefetchnta prefetcht0 prefetcht1 prefetcht2 rcpps rcpss rsqrtps"
    " rsqrtss sfence shufps sqrtps sqrtss stmxcsr subps subss ucomiss unpckhps unpcklps xorps"
) | {f"cmp{how}{kind}" for how in COMPARISONS for kind in ("ps", "ss")}
SSE2 = _words(
    "addpd addsd andnpd andpd clflush cmppd comisd cvtdq2pd cvtdq2ps cvtpd2dq cvtpd2pi cvtpd2ps cvtpi2pd"
    " cvtps2dq cvtps2pd cvtsd2si cvtsd2ss cvtsi2sd cvtss2sd cvttpd2dq cvttpd2pi cvttps2dq cvttsd2si divpd"
    " divsd lfence maskmovdqu maxpd maxsd mfence minpd minsd movapd movdq2q movdqa movdqu movhpd movlpd"
    " movmskpd movntdq movnti movntpd movq2dq movsd movupd mulpd mulsd orpd paddq pmuludq pshufd pshufhw"
    " pshuflw pslldq psrldq psubq punpckhqdq punpcklqdq shufpd sqrtpd sqrtsd subpd subsd ucomisd unpckhpd"
    " unpcklpd xorpd"
) | {f"cmp{how}{kind}" for how in COMPARISONS for kind in ("pd", "sd")}
SSE3 = _words("addsubpd addsubps fisttp haddpd haddps hsubpd hsubps lddqu movddup movshdup movsldup")
SSSE3 = _words(
    "pabsb pabsd pabsw palignr phaddd phaddsw phaddw phsubd phsubsw phsubw pmaddubsw pmulhrsw pshufb"
    " psignb psignd psignw"
)
SSE41 = _words(
    "blendpd blendps blendvpd blendvps dppd dpps extractps insertps movntdqa mpsadbw packusdw pblendvb"
    " pblendw pcmpeqq pextrb pextrd pextrq phminposuw pinsrb pinsrd pinsrq pmaxsb pmaxsd pmaxud pmaxuw"
    " pminsb pminsd pminud pminuw pmovsxbd pmovsxbq pmovsxbw pmovsxdq pmovsxwd pmovsxwq pmovzxbd pmovzxbq"
    " pmovzxbw pmovzxdq pmovzxwd pmovzxwq pmuldq pmulld ptest roundpd roundps roundsd roundss"
)
TABLE: Mapping[str, frozenset[str]] = {
    "i386": I386,
    "x87": X87,
    "i486": I486,
    "i586": I586,
    "i686": I686 | CMOV,
    "fxsr": _words("fxrstor fxrstor64 fxsave fxsave64"),
    "sse": SSE,
    "sse2": SSE2,
    "sse3": SSE3,
    "monitor": _words("monitor mwait"),
    "ssse3": SSSE3,
    "sse4.1": SSE41,
    "sse4.2": _words("crc32 pcmpestri pcmpestrm pcmpgtq pcmpistri pcmpistrm"),
    "sse4a": _words("extrq insertq movntsd movntss"),
    "3dnow": _words(
        "femms pavgusb pf2id pf2iw pfacc pfadd pfcmpeq pfcmpge pfcmpgt pfmax pfmin pfmul pfnacc pfpnacc pfrcp"
        " pfrcpit1 pfrcpit2 pfrsqit1 pfrsqrt pfsub pfsubr pi2fd pi2fw pmulhrw prefetch prefetchw prefetchwt1"
        " pswapd"
    ),
    "64": _words("cdqe cqo iretq leaveq movsxd popfq pushfq swapgs syscall sysret callq retq jrcxz"),
    "cx16": _words("cmpxchg16b"),
    "popcnt": _words("popcnt"),
    "lzcnt": _words("lzcnt"),
    "movbe": _words("movbe"),
    "bmi": _words("andn bextr blsi blsmsk blsr"),
    "bmi2": _words("bzhi mulx pdep pext rorx sarx shlx shrx"),
    "adx": _words("adcx adox"),
    "aes": _words("aesdec aesdeclast aesenc aesenclast aesimc aeskeygenassist"),
    "pclmul": _words("pclmulqdq pclmulhqhqdq pclmulhqlqdq pclmullqhqdq pclmullqlqdq"),
    "sha": _words("sha1msg1 sha1msg2 sha1nexte sha1rnds4 sha256msg1 sha256msg2 sha256rnds2"),
    "rdrnd": _words("rdrand"),
    "rdseed": _words("rdseed"),
    "rdtscp": _words("rdtscp"),
    "xsave": _words("xgetbv xrstor xrstor64 xsave xsave64 xsetbv xsaveopt xsaveopt64 xsavec xsavec64"),
    "fsgsbase": _words("rdfsbase rdgsbase wrfsbase wrgsbase"),
    "rtm": _words("xabort xbegin xend xtest"),
    "pku": _words("rdpkru wrpkru"),
    "shstk": _words("incsspd incsspq rdsspd rdsspq rstorssp saveprevssp setssbsy clrssbsy wrssd wrssq"),
}
OF = {name: extension for extension, names in TABLE.items() for name in names}
PREFIXES = _words(
    "addr16 addr32 bnd cs data16 data32 ds es fs gs lock notrack rep repe repne repnz repz ss xacquire"
    " xrelease"
)
WIDE = re.compile(r"\b[xyz]mm\d|\{k[1-7]\}|\bk[0-7]\b")
MMX_REGISTER = re.compile(r"\bmm[0-7]\b")
F16C = _words("vcvtph2ps vcvtps2ph")
AVX512 = re.compile(r"zmm|[xy]mm(?:1[6-9]|2\d|3[01])\b|\{k?[1-7z]|\bk[0-7]\b")
AVX2 = re.compile(
    r"vp(?:broadcast|gather|erm|blendd|maskmov|s[lr]lv|srav)|vgather|vbroadcasti|v(?:extract|insert)i"
)
FMA = re.compile(r"vfn?m(?:add|sub)")
VMX = re.compile(r"vm(?:call|clear|func|launch|load|mcall|ptrld|ptrst|read|resume|run|save|write|xoff|xon)$")
MNEMONIC = re.compile(r"[a-z][a-z0-9]*")


def plain(declared: frozenset[str]) -> frozenset[str]:
    """Names that are always of a declared extension, when no wide register is in the line."""
    several = MMX | SSE_ON_MMX | {"movsd", "cmpsd"}
    return frozenset(name for name, extension in OF.items() if extension in declared) - several


def needs(text: str) -> str:
    """The extension that an instruction needs, in objdump's Intel syntax; empty: it is none (data)."""
    words = text.split(None, 4)
    while words and (words[0] in PREFIXES or words[0].startswith("rex")):
        words.pop(0)
    if not words or not MNEMONIC.fullmatch(name := words[0].partition(",")[0]):
        return ""
    operands = text[text.index(name) + len(name) :]
    if name in MMX or name in SSE_ON_MMX:
        if not WIDE.search(operands):
            return "mmx" if name in MMX else "sse"
        return "sse4.1" if name == "pextrw" and "PTR" in operands.partition(",")[0] else "sse2"
    # `movsd` is two instructions, and so is `cmpsd`: those of the 386 have no wide register.
    if name in ("movsd", "cmpsd") and not WIDE.search(operands):
        return "i386"
    # An operand size that is not the usual one shows as a letter: pushw, sgdtd.
    return OF.get(name) or OF.get(name.rstrip("wd")) or _vector(name, operands)


def _vector(name: str, operands: str) -> str:
    if name.startswith("v") and not VMX.match(name):
        if AVX512.search(operands) or name.startswith("k"):
            return "avx512"
        if FMA.match(name):
            return "fma"
        if name in F16C:
            return "f16c"
        whole = (
            "ymm" in operands and name.startswith("vp") and name not in ("vptest", "vpermilps", "vpermilpd")
        )
        return "avx2" if AVX2.match(name) or (whole and not name.startswith("vperm2f")) else "avx"
    if re.match(r"k(?:add|and|mov|not|or|shift|test|unpck|xn?or)", name):
        return "avx512"
    return f"{UNKNOWN} {name}"


_PENTIUM = _words("i386 x87 i486 i586")
_P6 = _PENTIUM | {"i686"}
_P2 = _P6 | _words("mmx fxsr")
_P3 = _P2 | {"sse"}
_P4 = _P3 | {"sse2"}
_X64 = _P4 | {"64"}
_NOCONA = _X64 | _words("sse3 cx16 monitor")
_CORE2 = _NOCONA | {"ssse3"}
_V2 = _CORE2 | _words("sse4.1 sse4.2 popcnt")
_WESTMERE = _V2 | _words("aes pclmul rdtscp")
_SANDY = _WESTMERE | _words("avx xsave")
_IVY = _SANDY | _words("f16c fsgsbase rdrnd")
_HASWELL = _IVY | _words("avx2 fma bmi bmi2 lzcnt movbe")
_SKYLAKE = _HASWELL | _words("adx rdseed 3dnow")
_V3 = _V2 | _words("avx avx2 xsave f16c fma bmi bmi2 lzcnt movbe")
MARCH: Mapping[str, frozenset[str]] = {
    "i386": _words("i386 x87"),
    "i486": _words("i386 x87 i486"),
    **dict.fromkeys(("i586", "pentium"), _PENTIUM),
    "pentium-mmx": _PENTIUM | {"mmx"},
    "k6": _PENTIUM | {"mmx"},
    **dict.fromkeys(("k6-2", "k6-3", "winchip2", "c3"), _PENTIUM | _words("mmx 3dnow")),
    **dict.fromkeys(("i686", "pentiumpro"), _P6),
    "pentium2": _P2,
    **dict.fromkeys(("athlon", "athlon-tbird", "geode"), _P2 | _words("3dnow")),
    **dict.fromkeys(("athlon-4", "athlon-xp", "athlon-mp"), _P3 | {"3dnow"}),
    **dict.fromkeys(("pentium3", "pentium3m", "c3-2"), _P3),
    **dict.fromkeys(("pentium-m", "pentium4", "pentium4m"), _P4),
    "prescott": _P4 | _words("sse3 monitor"),
    "x86-64": _X64,
    **dict.fromkeys(("k8", "opteron", "athlon64", "athlon-fx"), _X64 | {"3dnow"}),
    **dict.fromkeys(("k8-sse3", "opteron-sse3", "athlon64-sse3"), _NOCONA | {"3dnow"}),
    **dict.fromkeys(("amdfam10", "barcelona"), _NOCONA | _words("3dnow sse4a popcnt lzcnt")),
    "nocona": _NOCONA,
    "core2": _CORE2,
    "bonnell": _CORE2 | {"movbe"},
    "atom": _CORE2 | {"movbe"},
    **dict.fromkeys(("nehalem", "corei7"), _V2),
    "westmere": _WESTMERE,
    **dict.fromkeys(("sandybridge", "corei7-avx"), _SANDY),
    **dict.fromkeys(("ivybridge", "core-avx-i"), _IVY),
    **dict.fromkeys(("haswell", "core-avx2"), _HASWELL),
    **dict.fromkeys(("broadwell", "skylake"), _SKYLAKE),
    "x86-64-v2": _V2,
    "x86-64-v3": _V3,
    "x86-64-v4": _V3 | {"avx512"},
}
"""Value of -march (GCC's manual, x86 options) -> extensions that its code may use."""
OPTION = re.compile(r"-m(no-)?(\S+)")


def allowed(flags: str) -> frozenset[str] | None:
    """The extensions that compiler flags declare: -march, then -msse2, -mno-mmx and the like, in their order.

    None when they name no -march, or one that is not in the table.
    """
    marches = re.findall(r"-march=(\S+)", flags)
    found = MARCH.get(marches[-1]) if marches else None
    if found is None:
        return None
    for no, name in OPTION.findall(flags):
        if name in TABLE or name in ("avx", "avx2", "avx512", "f16c", "fma", "mmx"):
            found = found - {name} if no else found | {name}
    return found


def beyond(used: Iterable[str], declared: frozenset[str]) -> list[str]:
    """The extensions among `used` that are not declared."""
    return sorted({one for one in used if one and one not in declared})
