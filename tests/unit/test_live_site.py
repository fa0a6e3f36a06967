"""A site that is broken by hand: the last good one stays in force, also for processes that start then."""

import os
import shutil
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.good_site import CURRENT, KEPT, keep_good, read_good
from appliance.live import LiveSite
from appliance.overlays import example_site
from appliance.site import WrongSite, read_site
from appliance.site_files import read_files


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


def keep(good: Path, site: Path) -> bool:
    return keep_good(good, site, read_files(site), group=os.getgid())


def test_the_last_good_one_stays_and_says_what_is_wrong(site: Path) -> None:
    live = LiveSite(site)
    before, files = live.now(), live.files()
    toml = site / "profiles/vm/profile.toml"
    text = toml.read_text()
    toml.write_text(text + "colour = 1\n[[")
    assert live.now() is before and live.files() is files
    wrong = live.wrong()
    assert wrong and f"{toml}:{len(text.splitlines()) + 2}: " in wrong.complaints[0]
    toml.write_text(text)
    assert live.wrong() is None and live.now() is not before


def test_who_holds_looks_at_the_disk_once(site: Path) -> None:
    live = LiveSite(site)
    world = site / "profiles/vm/world"
    live.hold()
    before = live.now()
    world.write_text("app-misc/fresh\n")
    assert live.now() is before and b"fresh" not in live.files()["profiles/vm/world"]
    live.hold()
    assert "app-misc/fresh" in live.now().profiles["vm"].world
    world.write_text("app-misc/fresher\n")
    live.let_go()
    assert "app-misc/fresher" in live.now().profiles["vm"].world


def test_those_that_share_read_once_and_see_each_change(site: Path) -> None:
    first, second = LiveSite(site), LiveSite(site)
    assert second.now() is not first.now()
    second.share(first)
    assert second.now() is first.now()
    place = site / "profiles/vm/portage/package.use"
    place.mkdir(parents=True)
    (place / "lua").write_text("dev-lang/lua readline\n")
    assert second.now().profiles["vm"].portage["package.use/lua"] and second.now() is first.now()
    (place / "lua").unlink()
    assert "package.use/lua" not in first.now().profiles["vm"].portage


@pytest.mark.parametrize("name", ["world", "kernel.config", "authorized_keys", "profile.toml"])
def test_bytes_that_are_no_text_are_a_mistake_with_their_file(site: Path, name: str) -> None:
    (site / "profiles/vm" / name).write_bytes(b"\xff\xfe\0")
    with pytest.raises(WrongSite) as caught:
        read_site(site)
    assert [f"{site}/profiles/vm/{name}: byte 0 is not UTF-8" in one for one in caught.value.complaints] == [
        True
    ]


def test_a_site_that_went_away_is_a_mistake(site: Path) -> None:
    live = LiveSite(site)
    before = live.now()
    site.rename(site.with_name("elsewhere"))
    assert live.now() is before
    wrong = live.wrong()
    assert wrong and "appliance.toml: no such file" in wrong.message


def test_who_starts_on_a_broken_site_goes_on_with_the_copy(site: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    assert keep(good, site) and not keep(good, site)
    right = read_site(site)
    (site / "profiles/vm/profile.toml").write_text("nonsense")
    live = LiveSite(site, good)
    assert live.now() == right
    assert live.now().profiles["vm"].match[0].source == right.profiles["vm"].match[0].source
    wrong = live.wrong()
    assert wrong and f"{site}/profiles/vm/profile.toml" in wrong.message
    with pytest.raises(Problem):
        LiveSite(site).now()
    with pytest.raises(Problem):
        LiveSite(Path(shutil.copytree(site, tmp_path / "another")), good).now()


def test_a_copy_that_somebody_changed_or_that_does_not_read_any_more_is_none(
    site: Path, tmp_path: Path
) -> None:
    good = tmp_path / "good"
    keep(good, site)
    (good / CURRENT / "profiles/vm/world").write_text("app-misc/other\n")
    assert read_good(good, site) is None
    assert read_good(tmp_path / "none", site) is None


def test_old_copies_and_what_was_left_half_made_go(site: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    for number in range(4):
        (site / "profiles/vm/world").write_text(f"app-misc/n{number}\n")
        keep(good, site)
        (good / ".part-1").mkdir(exist_ok=True)
    assert keep(good, site) is False
    (site / "profiles/vm/world").write_text("app-misc/last\n")
    keep(good, site)
    copies = [one for one in good.iterdir() if not one.is_symlink()]
    assert len(copies) == KEPT and not [one for one in copies if one.name.startswith(".part")]
    assert (good / CURRENT / "profiles/vm/world").read_text() == "app-misc/last\n"
    assert (good / CURRENT).resolve().stat().st_mode & 0o777 == 0o750


def test_a_complaint_about_a_copy_names_the_file_that_it_stands_for(site: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(site, tmp_path / "copy"))
    (copy / "profiles/vm/profile.toml").write_text("colour = 1\n")
    with pytest.raises(WrongSite) as caught:
        read_site(site, copy=copy)
    assert (
        str(copy) not in caught.value.message and f"{site}/profiles/vm/profile.toml:1" in caught.value.message
    )
