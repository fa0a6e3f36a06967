"""An unknown machine boots the newest sound release: what another process changes counts at once."""

from pathlib import Path

from appliance.farm_model import Release
from appliance.model import Firmware, NetBoot, Silence, Tree
from appliance.services import Services, init_site
from appliance.store import Store

MAC = "52:54:00:77:00:01"
FIRST, SECOND = "20260101-0123456789ab", "20260102-0123456789ab"


def release(name: str, at: float) -> Release:
    return Release(name, "vm", at, "gentoo:1", 0, 0)


def test_an_answer_is_never_older_than_the_store(tmp_path: Path) -> None:
    init_site(tmp_path / "site")
    tree = Tree(tmp_path / "state")
    desk = Services(tmp_path / "site", tree).desk
    other = Store(tree.store)

    def booted() -> str:
        target = desk.boot_target(MAC, Firmware.UEFI)
        assert isinstance(target, NetBoot), target
        return target.release

    assert isinstance(desk.boot_target(MAC, Firmware.UEFI), Silence)
    other.releases.add(release(FIRST, 1.0))
    assert booted() == booted() == FIRST
    desk.record(MAC, "offer")
    assert booted() == FIRST
    other.releases.add(release(SECOND, 2.0))
    assert booted() == SECOND
    other.releases.forget(SECOND)
    assert booted() == FIRST
    desk.store.releases.add(release(SECOND, 2.0))
    assert booted() == SECOND
