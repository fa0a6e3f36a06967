"""Writes ebuild repositories of any size in the shape of Gentoo's: everything in them is made up.

The same shape gives the same bytes. Packages depend on earlier ones only, so that any choice resolves.
"""

import gzip
import hashlib
import io
import random
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAIN, MORE = "like", "like-more"
CATEGORIES = (
    "app-like", "app-more", "dev-build", "dev-lang", "dev-libs", "dev-snake", "games-like", "media-libs",
    "net-libs", "net-like", "sys-apps", "sys-kernel", "sys-libs", "virtual", "x11-libs", "x11-like",
)  # fmt: skip
PLAIN = tuple(
    c for c in CATEGORIES if c not in ("dev-build", "dev-lang", "dev-snake", "sys-kernel", "virtual")
)
SNAKES = ("snake3_11", "snake3_12", "snake3_13")
USE_FLAGS = ("doc", "examples", "gui", "nls", "static", "systemd", "test", "threads")
PROFILE = "default/linux/amd64/23.0"
DESKTOP = "default/linux/amd64/23.0/desktop/systemd"
DATA = Path(__file__).resolve().parent.parent / "data"
SKELETON = DATA / "gentoo-like"
SOURCES = DATA / "linux"
PHASES = {
    "like-utils": "",
    "like-build": "compile configure install",
    "like-snake-r1": "",
    "like-snake-single": "setup",
}
INHERITS = {
    "like-utils": (),
    "like-build": ("like-utils",),
    "like-snake-r1": ("like-utils",),
    "like-snake-single": ("like-snake-r1",),
}
BODY = """
src_unpack() {
	default
	mkdir -p "${S}" || die
}
"""
COMPILES = """
src_compile() {
	echo "int ${PN//-/_}(void) { return 1; }" > one.c || die
	${CHOST}-gcc ${CFLAGS} -c one.c -o built || die
}
"""


@dataclass(frozen=True)
class Ebuild:
    """One ebuild; what its eclasses add is in its fields, as a metadata cache has it."""

    category: str
    name: str
    version: str
    eapi: str = "8"
    slot: str = "0"
    keywords: str = "amd64 ~arm64"
    license: str = "LIKE-FREE"
    iuse: tuple[str, ...] = ()
    rdepend: tuple[str, ...] = ()
    depend: tuple[str, ...] = ()
    pdepend: tuple[str, ...] = ()
    idepend: tuple[str, ...] = ()
    required_use: str = ""
    restrict: str = ""
    uri: str = ""
    eclasses: tuple[str, ...] = ("like-build",)
    snakes: tuple[str, ...] = ()
    body: str = BODY
    phases: tuple[str, ...] = ("unpack",)

    @property
    def cp(self) -> str:
        return f"{self.category}/{self.name}"

    @property
    def description(self) -> str:
        return f"Number {self.version} of {self.name}"

    def text(self) -> str:
        """The ebuild."""
        snakes = f"SNAKE_COMPAT=( {' '.join(self.snakes)} )\n" if self.snakes else ""
        values = {
            "DESCRIPTION": self.description,
            "HOMEPAGE": "https://example.org/",
            "SRC_URI": self.uri,
            "S": "${WORKDIR}/${P}",
            "LICENSE": self.license,
            "SLOT": self.slot,
            "KEYWORDS": self.keywords,
            "IUSE": " ".join(self.iuse),
            "REQUIRED_USE": " ".join(
                filter(None, (self.required_use, "${SNAKE_REQUIRED_USE}" * bool(snakes)))
            ),
            "RESTRICT": self.restrict,
            "RDEPEND": "\n\t".join((*self.rdepend, *["${SNAKE_DEPS}"] * bool(snakes))),
            "DEPEND": "\n\t".join(self.depend),
            "PDEPEND": " ".join(self.pdepend),
            "IDEPEND": " ".join(self.idepend),
        }
        lines = [f'{name}="{value}"' for name, value in values.items() if value]
        inherit = f"inherit {' '.join(self.eclasses)}\n" if self.eclasses else ""
        return f"EAPI={self.eapi}\n\n{snakes}{inherit}\n" + "\n".join(lines) + f"\n{self.body}"

    def cache(self, digests: Mapping[str, str]) -> str:
        """Its entry in metadata/md5-cache; `digests` are those of the eclasses (PMS 14.2)."""
        chain = sorted(_closure(self.eclasses))
        exported = {word for name in chain for word in PHASES[name].split()}
        snakes = [f"snake_targets_{one}" for one in self.snakes]
        needs = [
            f"snake_targets_{one}? ( dev-lang/snake:{one.removeprefix('snake')} )" for one in self.snakes
        ]
        required = [self.required_use, f"|| ( {' '.join(snakes)} )" if snakes else ""]
        fields = {
            "BDEPEND": "dev-build/like-make" if "like-build" in chain else "",
            "DEFINED_PHASES": " ".join(sorted(exported | set(self.phases))) or "-",
            "DEPEND": " ".join(self.depend),
            "DESCRIPTION": self.description,
            "EAPI": self.eapi,
            "HOMEPAGE": "https://example.org/",
            "IDEPEND": " ".join(self.idepend),
            "INHERIT": " ".join(self.eclasses),
            "IUSE": " ".join((*self.iuse, *snakes)),
            "KEYWORDS": self.keywords,
            "LICENSE": self.license,
            "PDEPEND": " ".join(self.pdepend),
            "RDEPEND": " ".join((*self.rdepend, *needs)),
            "REQUIRED_USE": " ".join(filter(None, required)),
            "RESTRICT": self.restrict,
            "SLOT": self.slot,
            "SRC_URI": self.uri,
            "_eclasses_": "\t".join(f"{name}\t{digests[name]}" for name in chain),
            "_md5_": _md5(self.text()),
        }
        return "".join(f"{name}={value}\n" for name, value in fields.items() if value)


@dataclass(frozen=True)
class Shape:
    """How large a tree is; `cached`: it brings its metadata cache, as a mirror's does."""

    ebuilds: int = 300
    world: int = 30
    """Of the plain packages; those of special kinds come in any case."""
    cached: bool = True
    seed: int = 1


@dataclass(frozen=True)
class Written:
    """What there is to build."""

    main: Path
    more: Path
    world: tuple[str, ...]
    """Atoms of every kind."""
    distfiles: Mapping[str, bytes] = field(default_factory=dict)


def write(place: Path, shape: Shape) -> Written:
    """Two repositories below `place`, the second with the first as its master."""
    ebuilds = [*_fixed(), *_many(shape)]
    shutil.copytree(SKELETON, place / MAIN)
    eclasses = (SKELETON / "eclass").glob("*.eclass")
    digests = {path.stem: _md5(path.read_text()) for path in eclasses}
    _write(place / MAIN, _repository(ebuilds, digests if shape.cached else None))
    _write(place / MORE, _overlay())
    sources = place / MAIN / "sys-kernel/like-sources/files/linux"
    for path in sorted(one for one in SOURCES.rglob("*") if one.is_file()):
        _write(sources, [(str(path.relative_to(SOURCES)), path.read_text())])
    return Written(place / MAIN, place / MORE, _world(ebuilds, shape.world), FETCHED)


def _write(top: Path, files: Iterable[tuple[str, str]]) -> None:
    for name, text in files:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)


# Packages


def _fixed() -> Iterator[Ebuild]:
    """One of each kind that a resolver finds hard."""
    yield Ebuild("dev-build", "like-make", "4.4", eclasses=())
    yield Ebuild("dev-build", "like-make", "4.5", eclasses=(), keywords="~amd64")
    for snake in SNAKES:
        yield Ebuild("dev-lang", "snake", f"{snake.removeprefix('snake').replace('_', '.')}.1",
                     slot=snake.removeprefix("snake"))  # fmt: skip
    yield Ebuild("sys-apps", "core", "9.1", iuse=("+nls", "static"), required_use="?? ( nls static )")
    yield Ebuild("sys-libs", "bound", "1.2", slot="0/1.2")
    yield Ebuild("sys-libs", "bound", "1.3", slot="0/1.3")
    yield Ebuild("sys-libs", "bound", "2.0", slot="0/2.0", keywords="~amd64")
    yield Ebuild(
        "dev-libs", "user-of-bound", "1", rdepend=("sys-libs/bound:=",), depend=("sys-libs/bound:=",)
    )
    for major in ("1", "2"):
        yield Ebuild("dev-libs", "slotted", f"{major}.5", slot=major)
    yield Ebuild("app-like", "either", "1", rdepend=("|| ( dev-libs/slotted:2 dev-libs/slotted:1 )",))
    for name in ("first", "second"):
        yield Ebuild(
            "net-like", name, "1", rdepend=(f"!net-like/{'second' if name == 'first' else 'first'}",)
        )
    yield Ebuild("virtual", "server", "0", eclasses=(), body="", phases=(),
                 rdepend=("|| ( net-like/first net-like/second )",))  # fmt: skip
    yield Ebuild("app-like", "blocker", "2", rdepend=("!!<app-like/blocked-2", "app-like/blocked"))
    yield Ebuild("app-like", "blocked", "1")
    yield Ebuild("app-like", "blocked", "2", pdepend=("app-like/after",))
    yield Ebuild("app-like", "after", "1", rdepend=("app-like/blocked",))
    yield Ebuild("app-like", "chooser", "1", iuse=("+gui", "text"), required_use="^^ ( gui text )",
                 rdepend=("gui? ( x11-libs/widgets[threads(+)] ) !gui? ( app-like/after )",))  # fmt: skip
    yield Ebuild("x11-libs", "widgets", "7", iuse=("threads", "systemd"), eapi="7",
                 rdepend=("systemd? ( sys-apps/core )",))  # fmt: skip
    yield Ebuild("dev-snake", "egg", "1", snakes=SNAKES, eclasses=("like-build", "like-snake-r1"))
    yield Ebuild("dev-snake", "nest", "1", snakes=SNAKES[1:], eclasses=("like-build", "like-snake-single"),
                 rdepend=(f"dev-snake/egg[{','.join(f'snake_targets_{one}(-)?' for one in SNAKES[1:])}]",),
                 )  # fmt: skip
    yield Ebuild("games-like", "eula", "1", license="LIKE-EULA")
    yield Ebuild("app-like", "dual", "1", license="|| ( LIKE-EULA LIKE-FREE )")
    yield Ebuild("app-like", "fetched", "1.0", uri="https://example.org/fetched-1.0.tar.gz")
    yield Ebuild("sys-libs", "object", "1", body=BODY + COMPILES, phases=("compile", "unpack"))
    yield Ebuild("app-like", "moved", "3")
    yield Ebuild("sys-kernel", "like-kernel", "6.6.30", slot="6.6.30", eclasses=(), body=KERNEL,
                 phases=("install", "unpack"))  # fmt: skip
    yield Ebuild("sys-kernel", "like-sources", "6.6.30", slot="6.6.30", eclasses=(), body=LINUX,
                 phases=("install", "unpack"))  # fmt: skip


LINUX = (
    BODY
    + """
src_install() {
	dodir /usr/src
	cp -r "${FILESDIR}/linux" "${ED}/usr/src/linux-6.6.30-test" || die
}
"""
)
# The places of Gentoo's kernel-build.eclass: everything in the build tree, links beside the modules.
KERNEL = (
    BODY
    + """
src_install() {
	local tree=/usr/src/linux-6.6.30-like modules=/lib/modules/6.6.30-like
	insinto "${tree}/arch/x86/boot"
	newins - bzImage <<< "an image"
	insinto "${tree}"
	cat "${BROOT}"/etc/kernel/config.d/*.config | newins - .config
	insinto "${modules}/kernel"
	newins - driver.ko <<< "a module"
	dosym "../../..${tree}/arch/x86/boot/bzImage" "${modules}/vmlinuz"
	dosym "../../..${tree}" "${modules}/build"
}
"""
)
FIXED_WORLD = (
    "app-like/blocker", "app-like/chooser", "app-like/dual", "app-like/either", "app-like/fetched",
    "app-like/moved", "app-more/extra", "dev-libs/user-of-bound", "dev-snake/nest", "sys-libs/object",
    "virtual/server",
)  # fmt: skip


def _many(shape: Shape) -> Iterator[Ebuild]:
    """Packages with two or three versions each, whose dependencies point at earlier ones."""
    dice = random.Random(shape.seed)
    earlier: list[Ebuild] = []
    count = sum(1 for _ in _fixed())
    number = 0
    while count < shape.ebuilds:
        number += 1
        newest = _one(dice, number, earlier)
        versions = dice.choice((("1.0", "1.1"), ("0.9_rc1", "1.0-r2", "1.1"), ("2.4.1",)))
        for version in versions:
            unstable = version == versions[-1] and len(versions) > 2
            keywords = "~amd64 ~arm64" if unstable else newest.keywords
            yield _at(newest, version, keywords)
            count += 1
        earlier.append(newest)


def _at(ebuild: Ebuild, version: str, keywords: str) -> Ebuild:
    return Ebuild(**{**vars(ebuild), "version": version, "keywords": keywords})


def _one(dice: random.Random, number: int, earlier: Sequence[Ebuild]) -> Ebuild:
    flags = tuple(sorted(dice.sample(USE_FLAGS, dice.randrange(4))))
    needed = dice.sample(earlier[-400:], min(len(earlier), dice.choice((0, 1, 1, 2, 3))))
    atoms = []
    for one in needed:
        flag = dice.choice(flags) if flags and dice.random() < 0.4 else ""
        atom = f">={one.cp}-0.5" if dice.random() < 0.3 else one.cp
        atoms.append(f"{flag}? ( {atom} )" if flag else atom)
    snakes = SNAKES[dice.randrange(2) :] if dice.random() < 0.2 else ()
    return Ebuild(
        category="dev-snake" if snakes else dice.choice(PLAIN),
        name=f"thing{number}",
        version="0",
        eapi=dice.choice(("7", "8", "8")),
        iuse=flags,
        rdepend=tuple(atoms),
        depend=tuple(atoms) if dice.random() < 0.7 else (),
        restrict=dice.choice(("", "", "!test? ( test )")) if "test" in flags else "",
        snakes=snakes,
        eclasses=("like-build", *(["like-snake-r1"] if snakes else [])),
    )


def _world(ebuilds: Sequence[Ebuild], count: int) -> tuple[str, ...]:
    things = list(dict.fromkeys(one.cp for one in ebuilds if one.name.startswith("thing")))
    step = max(1, len(things) // max(1, count))
    return tuple(sorted({*FIXED_WORLD, *things[::step][:count]}))


# Repositories


def _tarball(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


FETCHED = {"fetched-1.0.tar.gz": _tarball("fetched-1.0/README", b"Fetched.\n")}


def _repository(ebuilds: Sequence[Ebuild], digests: Mapping[str, str] | None) -> Iterator[tuple[str, str]]:
    """Eclasses, profiles and the like are files of tests/data; these are the ebuilds."""
    for ebuild in ebuilds:
        yield f"{ebuild.cp}/{ebuild.name}-{ebuild.version}.ebuild", ebuild.text()
        if digests is not None:
            place = f"metadata/md5-cache/{ebuild.category}/{ebuild.name}-{ebuild.version}"
            yield place, ebuild.cache(digests)
        if ebuild.uri:
            name = ebuild.uri.rpartition("/")[2]
            yield f"{ebuild.cp}/Manifest", _entry("DIST", name, FETCHED[name])


def _overlay() -> Iterator[tuple[str, str]]:
    """A repository with thick Manifests, an eclass that overrides nothing and a newer version."""
    yield "profiles/repo_name", f"{MORE}\n"
    yield "metadata/layout.conf", f"masters = {MAIN}\nthin-manifests = false\nsign-manifests = false\n"
    eclass = "# Of the overlay.\ninherit like-build\n"
    yield "eclass/more.eclass", eclass
    extra = Ebuild("app-more", "extra", "1", eclasses=("more",), rdepend=("app-like/moved",))
    newer = Ebuild("app-like", "moved", "4")
    for ebuild in (extra, newer):
        text = ebuild.text()
        name = f"{ebuild.name}-{ebuild.version}.ebuild"
        yield f"{ebuild.cp}/{name}", text
        yield f"{ebuild.cp}/files/note", "a note\n"
        lines = (_entry("AUX", "note", b"a note\n"), _entry("EBUILD", name, text.encode()))
        yield f"{ebuild.cp}/Manifest", "".join(lines)


def _entry(kind: str, name: str, content: bytes) -> str:
    blake = hashlib.blake2b(content).hexdigest()
    return f"{kind} {name} {len(content)} BLAKE2B {blake} SHA512 {hashlib.sha512(content).hexdigest()}\n"


def _closure(eclasses: Sequence[str]) -> set[str]:
    return {found for name in eclasses for found in (name, *_closure(INHERITS[name]))}


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
