"""The table [tftp] of a site."""

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Problem
from appliance.site import read_site
from appliance.tftp_settings import TftpSettings, read_tftp

FILE = Path("appliance.toml")


def test_without_a_table_everything_is_as_usual() -> None:
    complaints: list[str] = []
    assert read_tftp({}, FILE, complaints) == TftpSettings()
    assert complaints == []


def test_all_settings_are_read() -> None:
    complaints: list[str] = []
    table = {
        "ports": "20000-20999",
        "per_client": 8,
        "transfers": 10,
        "rollover_1": ["10.0.0.5", "10.1.0.0/16"],
    }
    assert read_tftp(table, FILE, complaints) == TftpSettings(
        first_port=20000,
        last_port=20999,
        per_client=8,
        transfers=10,
        rollover_1=(IPv4Network("10.0.0.5/32"), IPv4Network("10.1.0.0/16")),
    )
    assert complaints == []


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"ports": "69"}, "tftp.ports: expected a range from 1024 up such as \"20000-20999\", got '69'"),
        ({"ports": "30000-20000"}, "got '30000-20000'"),
        ({"ports": "1000-2000"}, "got '1000-2000'"),
        ({"ports": "2000-70000"}, "got '2000-70000'"),
        ({"ports": "2000-3000", "single_port": True}, "tftp.ports: expected none beside tftp.single_port"),
        ({"per_client": 0}, "tftp.per_client: expected at least 1, got 0"),
        ({"transfers": -1}, "tftp.transfers: expected at least 1, got -1"),
        ({"rollover_1": ["10.0.0.5/24"]}, "tftp.rollover_1: expected addresses or networks"),
    ],
)
def test_what_makes_no_sense_is_named(table: dict[str, Any], complaint: str) -> None:
    complaints: list[str] = []
    read_tftp(table, FILE, complaints)
    assert len(complaints) == 1 and complaints[0].startswith("appliance.toml: ")
    assert complaint in complaints[0]


def test_a_site_with_a_mistake_in_the_table_is_refused(site: Path) -> None:
    with (site / "appliance.toml").open("a") as file:
        file.write('\n[tftp]\nports = "69"\n')
    with pytest.raises(Problem, match=r"tftp\.ports: expected a range from 1024 up"):
        read_site(site)
