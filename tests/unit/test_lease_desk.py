"""What full DHCP is told of the site and the store."""

import shutil
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.desks.leases import LeaseDesk
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services

MAC = "52:54:00:00:00:01"
DHCP = '\n[dhcp]\n[[dhcp.subnet]]\nnetwork = "10.0.0.0/24"\nranges = ["10.0.0.100-10.0.0.110"]\n'


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


def desk(services: Services, text: str) -> LeaseDesk:
    file = services.live.path / "appliance.toml"
    file.write_text(file.read_text() + text)
    return services.leases


def test_the_example_site_gives_out_no_addresses(services: Services) -> None:
    assert services.leases.settings().subnets == ()


def test_without_a_dns_server_named_machines_are_told_ours_if_there_is_one(services: Services) -> None:
    (subnet,) = desk(services, DHCP + '[dns]\nzone = "lab.example"\n').settings().subnets
    assert (subnet.dns, subnet.domain) == ((None,), "lab.example")


def test_without_a_zone_no_dns_server_is_told(services: Services) -> None:
    (subnet,) = desk(services, DHCP).settings().subnets
    assert (subnet.dns, subnet.domain) == ((), "")


def test_what_rarp_tells_is_fixed_and_what_dhcp_fixes_wins(services: Services) -> None:
    text = f'[net]\nrarp = {{ "{MAC}" = "10.0.0.101", "52:54:00:00:00:02" = "192.0.2.1" }}\n'
    settings = desk(services, DHCP + text).settings()
    assert settings.fixed == {MAC: IPv4Address("10.0.0.101")}


def test_known_is_who_has_a_row(services: Services) -> None:
    assert not services.leases.guest(MAC).known
    services.add_machine(MAC, name="web1")
    guest = services.leases.guest(MAC)
    assert (guest.known, guest.name) == (True, "web1")
