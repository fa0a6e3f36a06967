"""Machines with real Portage follow their channel, also back."""

import shutil
from pathlib import Path

from appliance.overlays import example_site
from buildfarm import bases
from buildfarm.signing import Signer
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard
from tests.portage_client import PortageClient, offered
from tests.press import Press
from tests.readers import release_server, serving

CLIENTS = 2


def test_every_machine_has_the_old_packages_again_after_a_rollback(
    tmp_path: Path, build_stage: Stage, install_stage: Stage
) -> None:
    farm = Farmyard.make(tmp_path, build_stage, install_stage)
    site = Path(shutil.copytree(example_site(), tmp_path / "other-site"))
    press = Press(farm.tree, site, Signer(farm.tree.room("keys")))
    releases = farm.tree.room("releases")
    clients = [
        PortageClient(tmp_path / f"client{number}", install_stage.root, releases) for number in range(CLIENTS)
    ]

    def build() -> str:
        result = farm.build()
        assert result.release, result.reasons
        press.desk().publish(result.release, origins=result.origins)
        return result.release.id

    def converged(url: str, release: str) -> bool:
        followed = [client.follow(url, farm.name, press.notary) for client in clients]
        wanted = offered(releases, release)
        return followed == [release] * CLIENTS and all(client.installed() == wanted for client in clients)

    first = build()
    with serving(release_server(press)) as url:
        assert converged(url, first)
        source = farm.repository / "app-misc/witness/files/witness.c"
        source.write_text(source.read_text().replace('"witness"', '"another witness"'))
        second = build()
        assert offered(releases, first) != offered(releases, second)
        assert converged(url, second)
        press.desk().rollback(farm.name, who="ann")
        assert converged(url, first)
    origins = press.desk().origins(second)
    assert {one.origin for one in origins} == {"built", "reused"}
    assert {one.profile for one in origins} == {farm.name}
    difference = press.desk().diff(first, second)
    assert [slot for slot, *_ in difference.changed] == [("app-misc/witness", "0")]
    assert not difference.reboot
    for base in bases.parse((releases / second / "bases").read_text()):
        assert (farm.tree.room("etc-base") / base.sha256).exists()
