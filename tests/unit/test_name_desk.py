"""The names of machines: from the site and the store to what a DNS server answers with."""

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.desks.names import places
from appliance.dns_settings import DnsSettings, domain
from appliance.errors import Problem
from appliance.leases import Lease, LeaseState
from appliance.model import Tree
from appliance.services import Services
from appliance.site import read_site
from tests.clock import Clock

MAC, OTHER = "52:54:00:00:00:01", "52:54:00:00:00:02"
DNS = '[dns]\nzone = "Lab.Example."\nforward = ["10.0.0.1"]\nallow = ["gentoo.org", "bücher.example"]\n'


@pytest.fixture
def services(tmp_path: Path, site: Path, clock: Clock) -> Services:
    return Services(site, Tree(tmp_path / "state"), clock)


def add(site: Path, text: str) -> None:
    with (site / "appliance.toml").open("a") as file:
        file.write(text)


def test_a_site_without_the_table_has_no_dns(site: Path) -> None:
    assert read_site(site).dns == DnsSettings()


def test_names_are_read_as_dns_writes_them(site: Path) -> None:
    add(site, DNS)
    allow = ("gentoo.org", "xn--bcher-kva.example")
    assert read_site(site).dns == DnsSettings("lab.example", ("10.0.0.1",), allow)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('zone = "lab..example"', "dns.zone: expected a domain"),
        ('zone = ""', "dns.zone: expected a domain"),
        ('zone = "' + "x" * 64 + '.example"', "dns.zone: expected a domain"),
        ('zone = "lab.example"\nforward = ["dns.google"]\nallow = ["."]', "dns.forward: expected IPv4"),
        ('zone = "lab.example"\nforward = ["0.0.0.0"]\nallow = ["."]', "dns.forward: expected IPv4"),
        ('zone = "lab.example"\nforward = ["10.0.0.1"]', "`forward` (whom to ask) and `allow`"),
        ('zone = "lab.example"\nallow = ["gentoo.org"]', "`forward` (whom to ask) and `allow`"),
        ('zone = "lab.example"\nforward = ["10.0.0.1"]\nallow = ["*.org"]', "dns.allow: expected domains"),
        ('forward = ["10.0.0.1"]', "dns.zone: missing"),
        ('zone = "lab.example"\nforwards = []', "did you mean forward?"),
    ],
)
def test_mistakes_are_named(site: Path, table: str, complaint: str) -> None:
    add(site, f"[dns]\n{table}\n")
    with pytest.raises(Problem) as caught:
        read_site(site)
    assert complaint in caught.value.message


@pytest.mark.parametrize(
    ("text", "name"),
    [("Lab.Example.", "lab.example"), ("straße.example", "xn--strae-oqa.example"), ("_x.y", "_x.y")],
)
def test_a_domain_is_encoded_once(text: str, name: str) -> None:
    assert domain(text) == name


@pytest.mark.parametrize("text", [".", "a b", "ex\u0000ample", "a.-b", "\u200d.example", "x" * 300])
def test_what_is_no_domain_is_none(text: str) -> None:
    assert domain(text) is None


def test_a_machine_is_found_where_it_was_last_seen(services: Services, clock: Clock) -> None:
    services.add_machine(MAC, name="web1")
    services.add_machine(OTHER)
    assert services.names.book().hosts == {}
    services.desk.saw_address(MAC, "10.0.0.7")
    services.desk.saw_address(OTHER, "10.0.0.8")
    clock.now += 2
    assert services.names.book().hosts == {
        "m000002": (IPv4Address("10.0.0.8"),),
        "web1": (IPv4Address("10.0.0.7"),),
    }
    services.desk.saw_address(MAC, "10.0.0.9")
    clock.now += 2
    assert services.names.book().hosts["web1"] == (IPv4Address("10.0.0.9"),)


def test_an_address_belongs_to_who_had_it_last(services: Services, clock: Clock) -> None:
    for mac in (MAC, OTHER, MAC):
        if services.store.machines.get(mac) is None:
            services.add_machine(mac)
        clock.now += 1000
        services.desk.saw_address(mac, "10.0.0.7")
    clock.now += 2
    assert services.names.book().hosts == {"m000001": (IPv4Address("10.0.0.7"),)}


def test_a_lease_says_where_a_machine_is_until_it_ends(services: Services, clock: Clock) -> None:
    services.add_machine(MAC, name="web1")
    services.add_machine(OTHER, name="web2")
    services.desk.saw_address(MAC, "10.0.0.7")
    services.desk.saw_address(OTHER, "10.0.0.20")
    lease = Lease(IPv4Address("10.0.0.20"), MAC, LeaseState.BOUND, clock.now, clock.now + 100)
    services.store.leases.keep([lease])
    # What is leased to one machine is not another's, whatever a packet claimed.
    assert services.names.book().hosts == {"web1": (IPv4Address("10.0.0.20"),)}
    clock.now += 200
    assert services.names.book().hosts == {
        "web1": (IPv4Address("10.0.0.7"),),
        "web2": (IPv4Address("10.0.0.20"),),
    }


def test_where_each_machine_is_known_from() -> None:
    one, two, three = (IPv4Address(f"10.0.0.{number}") for number in (1, 2, 3))
    names = {MAC: "web1", OTHER: "web2"}
    assert places(names, fixed={"web1": one, OTHER: two}, leases={}, seen={}) == {MAC: one, OTHER: two}
    assert places(names, fixed={MAC: one}, leases={}, seen={MAC: three}) == {MAC: three}
    assert places(names, fixed={MAC: one}, leases={MAC: two}, seen={MAC: three}) == {MAC: two}
    assert places(names, fixed={MAC: one}, leases={}, seen={OTHER: one}) == {MAC: one}
    assert places(names, fixed={}, leases={"52:54:00:00:00:09": one}, seen={OTHER: two}) == {OTHER: two}


def test_strangers_are_not_remembered(services: Services) -> None:
    services.desk.saw_address(MAC, "10.0.0.7")
    assert services.store.addresses.all() == {}


def test_a_machine_seen_where_it_is_known_to_be_writes_nothing(services: Services, clock: Clock) -> None:
    services.add_machine(MAC)
    services.desk.saw_address(MAC, "10.0.0.7")
    before = services.store.database.stamp()
    clock.now += 30
    services.desk.saw_address(MAC, "10.0.0.7")
    assert services.store.database.stamp() == before


def test_the_book_stays_the_same_until_a_name_changes_and_then_its_serial_grows(
    services: Services, tmp_path: Path, clock: Clock
) -> None:
    services.add_machine(MAC, name="web1")
    services.desk.saw_address(MAC, "10.0.0.7")
    first = services.names.book()
    clock.now += 2
    # Something else is written, by another process.
    another = Services(services.live.path, services.tree, clock)
    another.add_machine(OTHER)
    assert services.names.book() is first
    another.desk.saw_address(OTHER, "10.0.0.8")
    clock.now += 2
    second = services.names.book()
    assert second.hosts.keys() == {"web1", "m000002"}
    assert second.serial > first.serial


def test_networks_behind_relays_belong_to_the_zone(services: Services, site: Path, clock: Clock) -> None:
    add(site, DNS + '[dhcp]\n[[dhcp.subnet]]\nnetwork = "10.9.0.0/24"\nranges = ["10.9.0.10-10.9.0.20"]\n')
    assert services.names.book().networks == (IPv4Network("10.9.0.0/24"),)


def test_a_changed_site_changes_the_zone(services: Services, site: Path, clock: Clock) -> None:
    assert services.names.book().settings.zone == ""
    add(site, DNS)
    clock.now += 2
    assert services.names.book().settings.zone == "lab.example"
