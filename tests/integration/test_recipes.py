"""What real Portage resolves for a package, in words that differ and words that do not."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.sandbox import Bind, Overlay
from buildfarm import recipes, root
from buildfarm.key import TOOLCHAIN, Recipe, build_key, changed, neutral_key
from buildfarm.stage import Stage
from tests.integration import portages

TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"
WITNESS, SLOW, KERNEL = "app-misc/witness-1", "app-misc/slow-1", "sys-kernel/tiny-kernel-1"
MAKE_CONF = b'CFLAGS="-O2 -pipe"\n'
LIBRARY = 'EAPI=8\ninherit tiny\nDESCRIPTION="A library"\nSLOT="0/{abi}"\nIUSE="nls"\n'
USER = """EAPI=7
inherit tiny
DESCRIPTION="Uses it"
DEPEND="app-misc/library:= app-misc/witness"
RDEPEND="${DEPEND}"
"""


@dataclass
class Asker:
    """Asks for recipes under a configuration; every configuration has a root of its own."""

    path: Path
    stage: Stage
    asked: int = 0

    @property
    def tiny(self) -> Path:
        return self.path / "tiny"

    def ask(
        self,
        files: dict[str, bytes] | None = None,
        *,
        profile: str = "base",
        wanted: tuple[str, ...] = (WITNESS, SLOW, KERNEL),
        final: dict[str, str] | None = None,
        strict: bool = False,
        kernel_config: str = "",
        portage: str = "",
    ) -> dict[str, Recipe]:
        self.asked += 1
        scratch = self.path / str(self.asked)
        laid: dict[str, root.Content] = {"make.conf": MAKE_CONF, **(files or {})}
        laid["make.profile"] = PurePosixPath(f"../../var/db/repos/tiny/profiles/{profile}")
        places = sorted(p.parent.parent for p in self.path.glob("*/profiles/repo_name"))
        text = "[DEFAULT]\nmain-repo = tiny\n"
        text += "".join(f"[{p.name}]\nlocation = {root.REPOS / p.name}\nauto-sync = no\n" for p in places)
        laid["repos.conf/all.conf"] = text.encode()
        root.lay(
            scratch / "upper", self.stage.root, {f"etc/portage/{name}": data for name, data in laid.items()}
        )
        sandbox = root.client_sandbox(
            scratch,
            self.stage.root,
            (),
            shelves=[Bind(place, root.REPOS / place.name) for place in places],
            env={"FEATURES": "-news"},
        )
        if portage:
            over = Overlay(
                (portages.layer(portage, self.stage), self.stage.root), scratch / "upper", scratch / "work"
            )
            rest = [mount for mount in sandbox.mounts if not isinstance(mount, Overlay)]
            sandbox = replace(sandbox, mounts=[over, *rest])
        return recipes.read(sandbox, wanted, final=final, strict=strict, kernel_config=kernel_config)

    def add(self, name: str, text: str, *, repository: str = "tiny") -> None:
        category, package, _ = name.split("/")
        place = self.path / repository / category / package
        place.mkdir(parents=True, exist_ok=True)
        (self.path / repository / name).write_text(text)


@pytest.fixture
def asker(tmp_path: Path, build_stage: Stage) -> Asker:
    shutil.copytree(TINY, tmp_path / "tiny")
    return Asker(tmp_path, build_stage)


def keys(found: dict[str, Recipe]) -> dict[str, str]:
    return {cpv: build_key(recipe) for cpv, recipe in found.items()}


def differing(before: dict[str, Recipe], after: dict[str, Recipe]) -> set[str]:
    return {cpv for cpv in before if keys(before)[cpv] != keys(after)[cpv]}


def test_what_is_the_same_in_other_words_has_the_same_key(asker: Asker) -> None:
    plain = asker.ask({"make.conf": b'CFLAGS="-O3 -pipe"\n'})
    other_words = {
        "make.conf": b'# why\n\n  CFLAGS="-O3   -pipe"  # flags\nMAKEOPTS="-j7 -l 3"\nPKGDIR="/elsewhere"\n'
        b'EMERGE_DEFAULT_OPTS="--quiet"\nACCEPT_LICENSE="*"\nFEATURES="parallel-fetch -news"\n',
        "package.accept_keywords": b"app-misc/witness **\n",
        "package.use": b"# nothing\napp-misc/slow loud\n",
        "package.mask": b"app-misc/broken\n",
        "patches/app-misc/witness-2/a.patch": b"for another version\n",
    }
    assert keys(asker.ask(other_words)) == keys(plain)
    # The profile `fast` says -O3 in its make.defaults.
    assert keys(asker.ask({"make.conf": b""}, profile="fast")) == keys(plain)


def test_a_setting_for_one_package_changes_only_its_key(asker: Asker) -> None:
    plain = asker.ask()
    everything = asker.ask(
        {
            "package.env": b"app-misc/witness fast\n",
            "env/fast": b'CFLAGS="-O3"\nEXTRA_ECONF="--with-speed"\n',
        }
    )
    assert differing(plain, everything) == {WITNESS}
    assert changed(plain[WITNESS], everything[WITNESS]) == [
        "CFLAGS: -O2 -pipe -> -O3",
        "EXTRA_ECONF: nothing -> --with-speed",
    ]
    others = asker.ask(
        {
            "package.use": b"app-misc/witness loud\n",
            "patches/app-misc/slow:0/a.patch": b"--- a\n",
            "env/app-misc/slow-1": b"post_src_install() { :; }\n",
        }
    )
    assert changed(plain[WITNESS], others[WITNESS]) == ["USE: +loud"]
    assert changed(plain[SLOW], others[SLOW]) == [
        "patch app-misc/slow:0/a.patch is new",
        "script /etc/portage/env/app-misc/slow-1 is new",
    ]
    assert differing(plain, others) == {WITNESS, SLOW}


def test_what_nobody_here_has_heard_of_counts(asker: Asker) -> None:
    plain = asker.ask(kernel_config="A=y")
    for more in (b'NEVER_HEARD_OF="1"\n', b'FEATURES="splitdebug"\n', b'LINGUAS="de"\n', b'MAKEOPTS="V=1"\n'):
        assert differing(plain, asker.ask({"make.conf": MAKE_CONF + more}, kernel_config="A=y")) == {
            WITNESS,
            SLOW,
            KERNEL,
        }
    assert differing(plain, asker.ask({"bashrc": b"umask 077\n"}, kernel_config="A=y")) == set(plain)
    assert differing(plain, asker.ask(kernel_config="A=m")) == {KERNEL}


def test_sources_count_for_who_uses_them(asker: Asker) -> None:
    plain = asker.ask()
    witness = asker.tiny / "app-misc/witness/files/witness.c"
    witness.write_text(witness.read_text() + "\n")
    assert changed(plain[WITNESS], asker.ask()[WITNESS]) == ["file witness.c changed"]
    eclass = asker.tiny / "eclass/tiny.eclass"
    eclass.write_text(eclass.read_text() + "\n")
    assert differing(plain, asker.ask()) == set(plain)


def test_two_compilers_of_one_stage_have_two_keys_and_one_neutral_key(asker: Asker) -> None:
    eleven, twelve = (
        asker.ask({"make.conf": MAKE_CONF + f'CC="x86_64-pc-linux-gnu-gcc-{n}"\n'.encode()}) for n in (11, 12)
    )
    plain = asker.ask()
    assert differing(eleven, twelve) == {WITNESS, SLOW, KERNEL}
    assert " gcc 11." in eleven[WITNESS].parts[TOOLCHAIN]
    assert " gcc 12." in twelve[WITNESS].parts[TOOLCHAIN]
    assert neutral_key(eleven[WITNESS]) == neutral_key(twelve[WITNESS]) == neutral_key(plain[WITNESS])


def test_the_slot_that_will_be_bound_counts_and_eapi_7_is_understood(asker: Asker) -> None:
    asker.add("app-misc/library/library-1.ebuild", LIBRARY.format(abi="1"))
    asker.add("app-misc/library/library-2.ebuild", LIBRARY.format(abi="2"))
    asker.add("app-misc/user/user-1.ebuild", USER)
    old, new = (
        asker.ask(wanted=("app-misc/user-1",), final={f"app-misc/library-{n}": f"0/{n}", WITNESS: "0"})
        for n in (1, 2)
    )
    assert changed(old["app-misc/user-1"], new["app-misc/user-1"]) == ["slot app-misc/library:=: 0/1 -> 0/2"]


def test_strict_keys_follow_what_a_package_is_built_with(asker: Asker) -> None:
    asker.add("app-misc/library/library-1.ebuild", LIBRARY.format(abi="1"))
    asker.add("app-misc/user/user-1.ebuild", USER)
    wanted = ("app-misc/user-1", "app-misc/library-1", WITNESS)
    loud = {"package.use": b"app-misc/library nls\n"}
    plain, other = asker.ask(wanted=wanted), asker.ask(loud, wanted=wanted)
    assert differing(plain, other) == {"app-misc/library-1"}
    plain, other = asker.ask(wanted=wanted, strict=True), asker.ask(loud, wanted=wanted, strict=True)
    assert differing(plain, other) == {"app-misc/library-1", "app-misc/user-1"}
    assert changed(plain["app-misc/user-1"], other["app-misc/user-1"]) == [
        "dependency app-misc/library-1 changed"
    ]


def test_an_overlay_uses_its_masters_eclasses_and_may_have_the_same_version(asker: Asker) -> None:
    overlay = asker.path / "over"
    for name, text in (
        ("profiles/repo_name", "over\n"),
        ("metadata/layout.conf", "masters = tiny\nthin-manifests = true\n"),
    ):
        (overlay / name).parent.mkdir(parents=True, exist_ok=True)
        (overlay / name).write_text(text)
    (overlay / "profiles/categories").write_text("app-misc\n")
    asker.add(
        "app-misc/witness/witness-1.ebuild", 'EAPI=8\ninherit tiny\nDESCRIPTION="x"\n', repository="over"
    )
    ours, theirs = (asker.ask(wanted=(f"{WITNESS}::{name}",))[WITNESS] for name in ("tiny", "over"))
    assert (ours.parts["repository"], theirs.parts["repository"]) == ("tiny", "over")
    assert ours.parts["eclass tiny"] == theirs.parts["eclass tiny"]
    assert ours.parts["ebuild"] != theirs.parts["ebuild"]
    assert "file witness.c" not in theirs.parts
    assert asker.ask(wanted=("app-misc/nothing-1", f"{SLOW}::over")) == {}


# What the release has by default itself: 3.0.63 takes bits off setuid programs, which is another image.
OWN_DEFAULTS = {"3.0.77": (), "3.0.69.1": (), "3.0.63": ("FEATURES: +sfperms", "PORTAGE_XATTR_EXCLUDE: ")}


@pytest.mark.parametrize("version", sorted(OWN_DEFAULTS))
def test_another_release_of_portage_gives_the_same_recipes(asker: Asker, version: str) -> None:
    asker.add("app-misc/library/library-1.ebuild", LIBRARY.format(abi="1"))
    asker.add("app-misc/user/user-1.ebuild", USER)
    wanted = (WITNESS, KERNEL, "app-misc/user-1", "app-misc/library-1")
    files = {
        "package.env": b"app-misc/witness fast\n",
        "env/fast": b'CFLAGS="-O3"\n',
        "patches/app-misc/user/a.patch": b"--- a\n",
    }
    ours = asker.ask(files, wanted=wanted)
    theirs = asker.ask(files, wanted=wanted, portage=version)
    for cpv in wanted:
        said = changed(ours[cpv], theirs[cpv])
        assert len(said) == len(OWN_DEFAULTS[version]), said
        assert all(one.startswith(begin) for one, begin in zip(said, OWN_DEFAULTS[version], strict=True))
