"""Build keys: the hash of everything that decides what a build puts into a package."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from buildfarm.index import split_cpv

VERSION = "distserver build key 2"
TOOLCHAIN = "toolchain"
KERNEL = "kernel configuration"
DEPENDENCIES = "dependencies"
NEUTRAL_DEPENDENCIES = "neutral dependencies"
OWN_TOOLCHAIN = "own toolchain"
"""Of packages that are part of it themselves: with it in their keys they would never come to rest."""
UNCOUNTED = frozenset((NEUTRAL_DEPENDENCIES, OWN_TOOLCHAIN))
# What only matters where something is compiled. CHOST and CBUILD stay: Portage refuses packages of another.
COMPILING = re.compile(
    r"(own )?toolchain|dependencies|dependency .*|variable (\w*FLAGS(_\w+)?|(BUILD_|HOST)?"
    r"(AR|AS|CC|CPP|CXX|F77|FC|LD|NM|OBJCOPY|OBJDUMP|RANLIB|READELF|STRIP))"
)
HASH = re.compile(r"[0-9a-f]{64}")
SAID_CHARACTERS = 200


@dataclass(frozen=True)
class Recipe:
    """All that decides about one package, by name: `ebuild`, `eclass tiny`, `variable CFLAGS`, `USE` ..."""

    cpv: str
    parts: Mapping[str, str] = field(default_factory=dict)

    def with_parts(self, more: Mapping[str, str]) -> "Recipe":
        return replace(self, parts={**self.parts, **more})

    def variable(self, name: str) -> str:
        return self.parts.get(f"variable {name}", "")


def build_key(recipe: Recipe) -> str:
    """sha256 in hexadecimal; equal keys mean that the package need not be built again."""
    return _digest(recipe.cpv, ((n, v) for n, v in recipe.parts.items() if n not in UNCOUNTED))


def neutral_key(recipe: Recipe) -> str:
    """The key without compiler and flags: what a package without compiled code is also known under."""
    kept = ((name, value) for name, value in recipe.parts.items() if not COMPILING.fullmatch(name))
    return _digest(f"{recipe.cpv} neutral", kept)


def _digest(title: str, parts: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for word in (VERSION, title, *(word for pair in sorted(parts) for word in pair)):
        raw = word.encode(errors="surrogateescape")
        digest.update(f"{len(raw)}:".encode() + raw)
    return digest.hexdigest()


@dataclass(frozen=True)
class Needs:
    """What one package has around it, as cpvs of the final state."""

    build: tuple[str, ...] = ()
    """DEPEND and BDEPEND."""
    run: tuple[str, ...] = ()
    """RDEPEND and IDEPEND."""


def strict(recipes: Mapping[str, Recipe], needs: Mapping[str, Needs]) -> dict[str, Recipe]:
    """Recipes that also count their build dependencies, those of these and so on; cycles are no problem.

    A direct one is a part of its own (so that a rebuild can be explained), all together are one hash. Plain
    keys are counted, so that it does not matter where a cycle is entered.
    """
    names = sorted({*needs, *(one for need in needs.values() for one in (*need.build, *need.run))})
    plain = {cpv: build_key(recipe) for cpv, recipe in recipes.items()}
    neutral = {cpv: neutral_key(recipe) for cpv, recipe in recipes.items()}
    known: dict[int, dict[str, str]] = {}
    around = _around(names, needs)
    made = {}
    for cpv, recipe in recipes.items():
        every = around.get(cpv, 0)
        if every and every not in known:
            those = [names[place] for place in _bits(every)]
            known[every] = {
                title: _digest("dependencies", ((one, keys.get(one, "")) for one in those))
                for title, keys in ((DEPENDENCIES, plain), (NEUTRAL_DEPENDENCIES, neutral))
            }
        direct = {f"dependency {one}": plain.get(one, "") for one in needs.get(cpv, Needs()).build}
        made[cpv] = recipe.with_parts({**direct, **known.get(every, {})})
    return made


def _around(names: Sequence[str], needs: Mapping[str, Needs]) -> dict[str, int]:
    """What is there while each is built, as a bit per name: thousands of packages reach thousands."""
    number = {name: place for place, name in enumerate(names)}
    near = {number[name]: [number[one] for one in (*need.build, *need.run)] for name, need in needs.items()}
    reach = [0] * len(names)
    growing = True
    while growing:
        growing = False
        for place, others in near.items():
            grown = reach[place]
            for other in others:
                grown |= reach[other] | 1 << other
            growing = growing or grown != reach[place]
            reach[place] = grown
    found = {}
    for name, need in needs.items():
        found[name] = 0
        for one in need.build:
            found[name] |= reach[number[one]] | 1 << number[one]
    return found


def _bits(value: int) -> Iterator[int]:
    place = 0
    for byte in value.to_bytes((value.bit_length() + 7) // 8, "little"):
        yield from (place + bit for bit in range(8) if byte >> bit & 1)
        place += 8


def changed(before: Recipe, after: Recipe) -> list[str]:
    """Why `after` is built though there is a package of `before`, in short sentences; empty: no reason."""
    said = [] if before.cpv == after.cpv else [f"version: {_version(before)} -> {_version(after)}"]
    names = sorted((before.parts.keys() | after.parts.keys()) - UNCOUNTED)
    differing = [name for name in names if before.parts.get(name) != after.parts.get(name)]
    if any(name.startswith("dependency ") for name in differing):
        differing = [name for name in differing if name != DEPENDENCIES]
    return said + [_say(name, before.parts.get(name), after.parts.get(name)) for name in differing]


def _version(recipe: Recipe) -> str:
    return split_cpv(recipe.cpv)[1]


def _say(name: str, before: str | None, after: str | None) -> str:
    title = name.removeprefix("variable ")
    if name in ("USE", "FEATURES"):
        old, new = set((before or "").split()), set((after or "").split())
        moves = [*(f"+{flag}" for flag in sorted(new - old)), *(f"-{flag}" for flag in sorted(old - new))]
        return f"{name}: {' '.join(moves)}"
    if name == TOOLCHAIN:
        return f"{name}: {_description(before)} -> {_description(after)}"
    if name == DEPENDENCIES:
        return "a dependency of its build dependencies changed"
    if name.startswith(("distfile ", "dependency ", KERNEL)) or _is_hash(before) or _is_hash(after):
        return f"{title} {'is new' if before is None else 'is gone' if after is None else 'changed'}"
    return f"{title}: {_short(before)} -> {_short(after)}"


def _description(value: str | None) -> str:
    """A toolchain is its identity and what people call it."""
    identity, _, name = (value or "nothing").partition(" ")
    return f"{name} ({identity[:8]})" if name else identity


def _is_hash(value: str | None) -> bool:
    return bool(value and HASH.fullmatch(value))


def _short(value: str | None) -> str:
    if value is None:
        return "nothing"
    return value if len(value) <= SAID_CHARACTERS else f"{value[:SAID_CHARACTERS]}..."
