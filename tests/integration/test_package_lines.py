"""Real Portage takes each line that the site reader accepts, and passes over those that it refuses."""

import json
from pathlib import PurePosixPath

import pytest

from appliance.package_lines import is_atom, mistakes
from appliance.run import run
from appliance.sandbox import Sandbox, Tmpfs
from buildfarm.stage import Stage

ASK = """
import json, os, sys
from portage.dep import Atom
from portage.exception import InvalidAtom
from portage.util import grabdict_package, grabfile_package
atoms, lines = json.load(sys.stdin)
ALL = {"allow_wildcard": True, "allow_repo": True}

def takes(text, wild):
    try:
        Atom(text, allow_wildcard=wild, allow_repo=True)
    except InvalidAtom:
        return False
    return True

def reads(name, line):
    kind = name.split(".")[1]
    with open("/tmp/" + name, "w") as file:
        file.write(line)
    if kind in ("mask", "unmask"):
        return bool(grabfile_package("/tmp/" + name, **ALL, allow_build_id=True))
    words = {"newlines": 1, "allow_use": False} if kind == "use" else {}
    words |= {} if kind == "license" else {"allow_build_id": True}
    return bool(grabdict_package("/tmp/" + name, **ALL, **words))

answers = [[takes(one, wild) for one in atoms for wild in (False, True)], [reads(*one) for one in lines]]
print("@" + json.dumps(answers))
"""
WORDS = """
a/b a-c.d+e/f_g+h =a/b-1 >=a/b-1.2.3c_rc4_p5-r6 <=a/b-1 >a/b-1 <a/b-1 ~a/b-1 ~a/b-1-r1 =a/b-1*
=a/b-1-r1* a/b:0 a/b:0/1 a/b:0= a/b:= a/b:* a/b:0* a/b:0/ a/b:/1 a/b: a/b::gentoo a/b:0::gentoo
a/b::gentoo:0 a/b:: a/b::-x a/b[c] a/b[-c] a/b[c?] a/b[!c?] a/b[!c] a/b[-c?] a/b[c=] a/b[!c=]
a/b[c(+)] a/b[c(-),-d(+)] a/b[c(+)?] a/b[] a/b[c,] a/b[c][d] a/b:0::gentoo[c] =a/b-1:0/2=::g[c]
a/b-1 a/b-1-r1 a/b-x a/b-1x a/b-1-2 =a/b-1-2 =a/b-1-02 =a/b-1-2-3 =a/b a/b* =a/b-* */* */b a/* a*/b*
=a/b-*9999* =*/*-*9999* **/* a/** */*:0 */*::g */*[c] */b-1 a/b-1* >=a/b-1* a b a/ /b a/b/c -a/b
+a/b a/+b .a/b a/b.c a/b, a/b; !a/b~ =a/b-1. =a/b-r1 =a/b-1_foo =a/b-1-r =a/b-1_p =a/b-01 ==a/b-1 =>
a/b@ a/b-1-c =a/b-1-c-2 =a/b-1-c-2-r1 é/b a/é @world =a/b-1a* =a/b-1_alpha* <a/b a//b _a/_b 1/2
=1/2-3
"""
ATOMS = WORDS.split()
EMPTY = {"=a/b-1-2-3", "=a/b-1-2-3 wild", "*/b-1 wild"}
"""What Portage takes, and no package can be: a name does not end in a version (PMS 3.1.2)."""
LINES = [
    ("package.use", "a/b c"),
    ("package.use", "*/* VIDEO_CARDS: -* x"),
    ("package.use", "a/b[c] d"),
    ("package.use", "a/b-1 c"),
    ("package.use", "=a/b-1-2 c"),
    ("package.mask", "a/b"),
    ("package.mask", "-a/b"),
    ("package.mask", "a/b a/c"),
    ("package.mask", "a/b # why"),
    ("package.unmask", "=a/b-1[c]"),
    ("package.accept_keywords", "a/b"),
    ("package.accept_keywords", "a/b:0[c] **"),
    ("package.accept_keywords", "b **"),
    ("package.license", "=a/b-1 @FREE"),
    ("package.license", "=a/b-1-2 @FREE"),
]


@pytest.fixture(scope="module")
def said(build_stage: Stage) -> tuple[list[bool], list[bool]]:
    inside = Sandbox(build_stage.root, (Tmpfs(PurePosixPath("/tmp")),)).prefix()
    asked = run(["python3", "-c", ASK], prefix=inside, stdin=json.dumps([ATOMS, LINES]).encode())
    answer = next(line for line in asked.stdout.splitlines() if line.startswith("@"))
    atoms, lines = json.loads(answer[1:])
    return atoms, lines


def test_an_atom_is_what_portage_takes_for_one(said: tuple[list[bool], list[bool]]) -> None:
    ours = [is_atom(one, wild=wild) for one in ATOMS for wild in (False, True)]
    names = [f"{one}{' wild' if wild else ''}" for one in ATOMS for wild in (False, True)]
    theirs = dict(zip(names, said[0], strict=True))
    assert dict(zip(names, ours, strict=True)) == theirs | dict.fromkeys(EMPTY, False)
    assert all(theirs[one] for one in EMPTY)
    assert 40 < sum(ours) < len(ours) - 40


def test_a_line_is_right_when_portage_reads_it(said: tuple[list[bool], list[bool]]) -> None:
    ours = {line: not mistakes(f"portage/{name}", line) for name, line in LINES}
    assert ours == dict(zip((line for _, line in LINES), said[1], strict=True))
