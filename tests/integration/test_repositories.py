"""Several repositories in one build: an overlay with the tiny repository as its master."""

import shutil
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.run import run
from appliance.site_model import Repository
from buildfarm import manifest
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard

EXTRA = """EAPI=8
inherit tiny
DESCRIPTION="A package of the overlay"

src_install() {
\techo extra >"${T}/extra" || die
\tinsinto /usr/share
\tdoins "${T}/extra"
}
"""


def make_overlay(place: Path) -> Repository:
    files = {
        "profiles/repo_name": "over\n",
        "profiles/categories": "app-misc\n",
        "metadata/layout.conf": "masters = tiny\nthin-manifests = true\ncache-formats = md5-dict\n",
        "app-misc/extra/extra-3.ebuild": EXTRA,
    }
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return Repository("over", place)


@pytest.fixture
def farm(tmp_path: Path, build_stage: Stage, install_stage: Stage) -> Farmyard:
    farm = Farmyard.make(tmp_path, build_stage, install_stage)
    farm.overlays = (make_overlay(tmp_path / "over"),)
    farm.world = ("app-misc/witness", "app-misc/extra", "sys-kernel/tiny-kernel")
    return farm


def test_a_release_holds_a_tree_of_each_repository(farm: Farmyard) -> None:
    result = farm.build()
    assert result.reasons == ()
    assert result.release
    assert "app-misc/extra-3" in result.built
    assert result.release.repositories == ("tiny", "over")
    place = farm.tree.room("releases") / result.release.id
    sealed = manifest.parse((place / "manifest").read_text())
    assert {"tree-tiny.sqfs", "tree-over.sqfs"} <= {item.name for item in sealed.files}
    # The overlay brought no metadata cache: its entry was made with its master's eclass.
    cache = run(
        ["unsquashfs", "-cat", place / "tree-over.sqfs", "metadata/md5-cache/app-misc/extra-3"]
    ).stdout
    assert "_eclasses_=tiny\t" in cache
    again = farm.build()
    assert again.built == ()
    assert not again.fresh
    # The overlay's package was compiled with the master's eclass, so another one is another package.
    eclass = farm.repository / "eclass/tiny.eclass"
    eclass.write_text(eclass.read_text() + "# changed\n")
    assert "app-misc/extra-3" in farm.build().built


def test_an_overlay_whose_master_is_not_of_the_site_is_refused(farm: Farmyard) -> None:
    shutil.rmtree(farm.path / "over/metadata")
    (farm.path / "over/metadata").mkdir()
    (farm.path / "over/metadata/layout.conf").write_text("masters = tiny elsewhere\n")
    with pytest.raises(Problem, match="elsewhere cannot be had"):
        farm.build()
