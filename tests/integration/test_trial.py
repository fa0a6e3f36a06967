"""The gate's scratch machines: a fresh one, and those at releases that are still used."""

import shutil
from dataclasses import replace
from pathlib import Path

from appliance.farm_model import Release
from appliance.model import Tree
from buildfarm import manifest, trial
from buildfarm.build import BuildResult
from buildfarm.signing import verify
from buildfarm.trial import Trials
from tests.integration.farmyard import Farmyard

HEAD = "EAPI=8\n\ninherit tiny\n"
LIBRARY = """
src_compile() {
	echo "int one(void) { return 1; }" > one.c || die
	${CHOST}-gcc ${CFLAGS} -shared -fPIC -Wl,-soname,libone.so.1 -o libone.so.1 one.c || die
}

src_install() {
	dolib.so libone.so.1
	dosym libone.so.1 /usr/lib64/libone.so
}
"""
USER = """
DEPEND="app-misc/library"
RDEPEND="%s"

src_compile() {
	echo "int one(void); int main(void) { return one(); }" > main.c || die
	${CHOST}-gcc ${CFLAGS} -o user main.c -L/usr/lib64 -lone || die
}

src_install() {
	dobin user
}
"""


def add(farm: Farmyard, name: str, text: str, version: str = "1") -> None:
    place = farm.repository / "app-misc" / name
    place.mkdir(exist_ok=True)
    (place / f"{name}-{version}.ebuild").write_text(HEAD + f'DESCRIPTION="{name}"\n' + text)


def trials(farm: Farmyard) -> list[str]:
    return sorted(path.name for path in farm.tree.room("trials").glob("[0-9a-f]*"))


def logs(farm: Farmyard) -> str:
    return "".join(path.read_text() for path in sorted(farm.tree.room("logs").glob("*/client.out")))


def test_a_sealed_release_is_offered_again_under_the_key_it_was_tried_with(
    first: tuple[Farmyard, BuildResult],
) -> None:
    farm, result = first
    assert result.reasons == ()
    (release,) = farm.releases()
    assert trials(farm) == [trial.read_key(farm.tree.room("releases") / release)]


def test_a_release_of_the_time_of_one_repository_is_still_what_machines_run(
    first: tuple[Farmyard, BuildResult], tmp_path: Path
) -> None:
    """Its image is `tree.sqfs` and its manifest names only the revision; the update over it is tried."""
    farm, _ = first
    (release,) = farm.releases()
    place = farm.tree.room("releases") / release
    former = shutil.copytree(place, tmp_path / "former")
    sealed = manifest.parse((place / "manifest").read_text())
    name, _, revision = sealed.snapshot.partition(":")
    (former / f"tree-{name}.sqfs").rename(former / "tree.sqfs")
    files = tuple(
        replace(one, name="tree.sqfs") if one.name == f"tree-{name}.sqfs" else one for one in sealed.files
    )
    written = manifest.write(manifest.identify(replace(sealed, snapshot=revision, files=files)))
    (former / "manifest").write_text(written)
    assert trial.read_key(former) == trial.read_key(place)
    like = trial.Offer(
        tmp_path, next(one.sha256 for one in files if one.name == "stage"), (), {}, "", tmp_path
    )
    (snapshot,) = trial.read_offer(former, like, tmp_path).snapshots
    assert (snapshot.repository, snapshot.revision) == (name, revision)
    assert snapshot.image.is_file()


def test_a_machine_at_a_release_in_use_is_updated_before_the_next_one_is_sealed(grown: Farmyard) -> None:
    (before,) = grown.releases()
    grown.live = (before,)
    source = grown.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text().replace('"witness"', '"still a witness"'))
    grown.world = ("app-misc/witness", "sys-kernel/tiny-kernel")
    result = grown.build()
    assert result.reasons == ()
    assert result.release
    old, new = (trial.read_key(grown.tree.room("releases") / name) for name in (before, result.release.id))
    assert trials(grown) == sorted([old, new, f"{new}-over-{old}"])
    # What only the update meets: the fresh machine has no app-misc/slow that could be in the way.
    add(grown, "witness", 'RDEPEND="!!app-misc/slow"\nsrc_install() { newbin - witness <<< new; }\n', "2")
    refused = grown.build()
    assert refused.release is None
    (reason,) = refused.reasons
    assert reason.startswith(f"a machine at release {before} cannot install it")
    assert "app-misc/slow" in reason
    assert grown.releases() == sorted([before, result.release.id])

    place = grown.tree.room("trials")
    Trials(place).prune([grown.tree.room("releases") / result.release.id])
    assert trials(grown) == [new]


def test_a_package_that_does_not_say_which_library_it_needs_is_found_on_a_fresh_machine(
    grown: Farmyard,
) -> None:
    add(grown, "library", LIBRARY)
    add(grown, "user", USER % "")
    grown.world = (*grown.world, "app-misc/user")
    refused = grown.build()
    assert refused.release is None
    (reason,) = refused.reasons
    assert "libone.so.1 (x86_64) of app-misc/user-1" in reason
    # Nothing else is missing: what no package brings is in the stage.
    assert "libc.so.6" not in reason
    shutil.rmtree(grown.repository / "app-misc/user")
    add(grown, "user", USER % "app-misc/library")
    result = grown.build()
    assert result.reasons == ()


def test_an_equal_release_is_not_installed_twice(grown: Farmyard) -> None:
    shutil.rmtree(grown.tree.room("releases"))
    before = logs(grown)
    result = grown.build()
    assert result.fresh
    assert logs(grown) == before


def test_a_profile_may_ask_that_a_machine_boots_each_release_before_it_is_seen(grown: Farmyard) -> None:
    before = grown.releases()
    seen: list[str] = []
    said = "a virtual machine does not boot with it"

    def rehearse(stage: Tree, release: Release) -> str:
        place = stage.room("releases") / release.id
        verify(grown.tree.room("keys") / "public.gpg", place / "manifest", place / "manifest.sig")
        assert grown.releases() == before
        seen.append(release.id)
        return said

    grown.boot, grown.rehearse = True, rehearse
    grown.world = ("app-misc/witness", "sys-kernel/tiny-kernel")
    refused = grown.build()
    assert refused.reasons == (said,)
    assert grown.releases() == before
    said = ""
    result = grown.build()
    assert result.release
    assert seen == [result.release.id] * 2
    assert not (grown.tree.path / "rehearsals/one").exists()
    # What passed once need not be tried again, such as after a kill between the trial and the seal.
    shutil.rmtree(grown.tree.room("releases"))
    before = []
    assert grown.build().fresh
    assert len(seen) == 2
