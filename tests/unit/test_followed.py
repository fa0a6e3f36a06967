"""The site's word on strategies, and what the store remembers of them."""

from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.followed import LOOK_SECONDS, Followed
from appliance.live import LiveSite
from appliance.net_settings import NetSettings
from appliance.site import read_site
from appliance.store import Store, strategies
from appliance.strategies import Preference, Source, Strategy
from tests.clock import Clock

MAC = "52:54:00:77:00:01"
KIND = "PXEClient 52:54:00 7"


@pytest.fixture
def followed(site: Path, tmp_path: Path, clock: Clock) -> Followed:
    return Followed(LiveSite(site), Store(tmp_path / "store.sqlite"), clock)


def net(site: Path, text: str) -> None:
    with (site / "appliance.toml").open("a") as file:
        file.write(f"\n[net]\n{text}\n")


def test_nobody_knows_anything_of_a_new_machine(followed: Followed) -> None:
    assert followed.strategy_of(MAC, KIND) is None


def test_what_a_machine_followed_is_its_own_and_a_hint_for_its_kind(followed: Followed) -> None:
    followed.strategy_won(MAC, KIND, Strategy.MENU)
    assert followed.strategy_of(MAC, KIND) == Preference(Strategy.MENU, Source.MACHINE)
    assert followed.strategy_of("52:54:00:77:00:02", KIND) == Preference(Strategy.MENU, Source.KIND)
    followed.strategy_won("52:54:00:77:00:02", KIND, Strategy.DIRECT)
    assert followed.strategy_of(MAC, KIND) == Preference(Strategy.MENU, Source.MACHINE)
    assert followed.strategy_of("52:54:00:77:00:03", KIND) == Preference(Strategy.DIRECT, Source.KIND)


def test_what_a_machine_followed_as_uefi_says_nothing_of_it_as_bios(followed: Followed) -> None:
    followed.strategy_won(MAC, KIND, Strategy.MENU)
    assert followed.strategy_of(MAC, "PXEClient 52:54:00 0") is None


def test_the_sites_word_counts_most_and_is_heard_while_running(
    followed: Followed, site: Path, clock: Clock
) -> None:
    followed.strategy_won(MAC, KIND, Strategy.MENU)
    net(site, f'strategy = {{ "52-54-00" = "direct", "{MAC.upper()}" = "plain" }}')
    clock.now += LOOK_SECONDS
    assert followed.strategy_of(MAC, KIND) == Preference(Strategy.PLAIN, Source.SITE)
    assert followed.strategy_of("52:54:00:00:00:09", KIND) == Preference(Strategy.DIRECT, Source.SITE)


def test_made_up_machines_do_not_fill_the_store(
    followed: Followed, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(strategies, "MOST", 10)
    for number in range(30):
        clock.now += 1
        followed.strategy_won(f"02:00:00:00:00:{number:02x}", KIND, Strategy.BINL)
    rows = Store(tmp_path / "store.sqlite").database.rows("SELECT subject FROM strategy")
    assert len(rows) == 10
    assert followed.strategy_of("02:00:00:00:00:1d", KIND) == Preference(Strategy.BINL, Source.MACHINE)


def test_the_example_says_nothing_of_its_networks(site: Path) -> None:
    assert read_site(site).net == NetSettings()


def test_a_table_net_is_read(site: Path) -> None:
    (site / "pi").mkdir()
    net(site, 'vendor_classes = ["ACME", "HW-Client"]\nraspberry_pi = "pi"')
    read = read_site(site).net
    assert read.vendor_classes == ("HW-Client", "ACME")
    assert read.raspberry_pi == site / "pi"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('strategy = { "52:54:00:77:00:01" = "menue" }', "'menue' is none, did you mean menu?"),
        (
            'strategy = { "52:54" = "menu" }',
            "expected a MAC or its first three bytes with colons, got '52:54'",
        ),
        ('strategy = { "52:54:00" = 3 }', "expected a text in quotes, got 3"),
        ('vendor_classes = ["x"]', "expected 3 to 64 characters"),
        ('raspberry_pi = "nowhere"', "nowhere is no directory"),
        ('interfaces = ["eth0", "eth 1"]', "expected names such as eth0 or eth0.5, got 'eth 1'"),
        ('interfaces = ["eth0", "eth0"]', "eth0 is there twice"),
        (
            'rarp = { "8:0:20:1:2:3" = "10.0.0.7" }',
            "net.rarp: expected a MAC with colons, got '8:0:20:1:2:3'",
        ),
        ('rarp = { "08:00:20:01:02:03" = "10.0.0" }', "expected an IPv4 address, got '10.0.0'"),
        (
            'rarp = { "08:00:20:01:02:03" = "10.0.0.7", "08:00:20:01:02:04" = "10.0.0.7" }',
            "net.rarp: 08:00:20:01:02:04: 10.0.0.7 is there twice",
        ),
        ("stratagy = {}", "did you mean strategy?"),
    ],
)
def test_a_mistake_in_the_table_is_named(site: Path, text: str, said: str) -> None:
    net(site, text)
    with pytest.raises(Problem) as caught:
        read_site(site)
    assert said in caught.value.message
