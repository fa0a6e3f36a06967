"""What a site says of machines, where magic packets go, and what they are."""

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from appliance.desks.power import towards
from appliance.errors import Problem
from appliance.machine_settings import Bmc, BmcKind, MachineSettings
from appliance.secret import read_secret
from appliance.site import read_site
from appliance.wake import magic_packet, secure_on
from pxe.links import Interface

MAC = "52:54:00:12:34:56"
BMC = 'kind = "ipmi"\naddress = "10.0.2.5"\nuser = "operator"\npassword_file = "keys/bmc"\n'


def add(site: Path, text: str) -> None:
    with (site / "appliance.toml").open("a") as file:
        file.write(text)


def test_machines_are_read_with_paths_relative_to_the_site(site: Path) -> None:
    add(site, f'[[machine]]\nmac = "{MAC.upper()}"\nwake_password_file = "/etc/wake"\n[machine.bmc]\n{BMC}')
    bmc = Bmc(BmcKind.IPMI, "10.0.2.5", 623, "operator", (site / "keys/bmc").resolve())
    assert read_site(site).machines == {MAC: MachineSettings(MAC, bmc, wake_password_file=Path("/etc/wake"))}


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('mac = "52:54"', "machine[1].mac: expected one such as"),
        ("wake_password_file = 'x'", "machine[1].mac: missing"),
        (f'mac = "{MAC}"\nbcm = 1', "did you mean bmc?"),
        (f'mac = "{MAC}"\n[[machine]]\nmac = "{MAC}"', "is there twice"),
        (f'mac = "{MAC}"\n[machine.bmc]\n{BMC}password = "x"', "did you mean password_file?"),
        (f'mac = "{MAC}"\n[machine.bmc]\n{BMC}ca = "x"', "bmc.ca: ipmi knows no such key"),
        (f'mac = "{MAC}"\n[machine.bmc]\n{BMC}port = 0', "bmc.port: expected a port"),
        (
            f'mac = "{MAC}"\n[machine.bmc]\n' + BMC.replace("ipmi", "ilo"),
            "bmc.kind: expected ipmi or redfish",
        ),
        (f'mac = "{MAC}"\n[machine.bmc]\n' + BMC.replace("10.0.2.5", "-x"), "bmc.address: expected"),
        (f'mac = "{MAC}"\n[machine.bmc]\n' + BMC.replace("operator", "-x"), "bmc.user: expected"),
    ],
)
def test_mistakes_are_named(site: Path, table: str, complaint: str) -> None:
    add(site, f"[[machine]]\n{table}\n")
    with pytest.raises(Problem) as caught:
        read_site(site)
    assert complaint in caught.value.message


def test_a_magic_packet_is_ones_sixteen_macs_and_the_password() -> None:
    mac = bytes.fromhex("525400123456")
    assert magic_packet(MAC) == b"\xff" * 6 + mac * 16
    assert magic_packet(MAC, b"\1\2\3\4") == b"\xff" * 6 + mac * 16 + b"\1\2\3\4"
    with pytest.raises(ValueError, match="4 or 6 bytes"):
        magic_packet(MAC, b"12345")


def test_a_secure_on_password_is_written_in_two_ways() -> None:
    assert secure_on("0A:0b:0c:0d:0e:0f") == bytes(range(10, 16))
    assert secure_on("192.168.1.7") == bytes((192, 168, 1, 7))
    for wrong in ("", "secret", "0a:0b", "1.2.3", "1.2.3.256"):
        with pytest.raises(Problem, match="SecureOn"):
            secure_on(wrong)


def link(name: str, *addresses: str, up: bool = True) -> Interface:
    return Interface(1, name, MAC, 1500, up, tuple(IPv4Interface(one) for one in addresses))


THERE = (
    link("lo", "127.0.0.1/8"),
    link("eth0", "10.0.0.1/24"),
    link("eth1", "10.0.1.1/24", "10.0.9.1/24"),
    link("eth2", "10.0.2.1/24", up=False),
    link("eth3"),
)


@pytest.mark.parametrize(
    ("served", "seen", "names"),
    [
        ((), None, ("eth0", "eth1")),
        ((), "10.0.9.77", ("eth1",)),
        ((), "172.16.0.1", ("eth0", "eth1")),
        (("eth0",), None, ("eth0",)),
        (("eth0",), "10.0.9.77", ("eth0",)),
        (("eth2",), "10.0.2.7", ()),
    ],
)
def test_a_machine_is_behind_the_interface_it_was_seen_at(
    served: tuple[str, ...], seen: str | None, names: tuple[str, ...]
) -> None:
    assert towards(THERE, served, IPv4Address(seen) if seen else None) == names


def test_a_secret_is_the_first_line_of_a_file_of_ones_own(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    with pytest.raises(Problem, match="No such file"):
        read_secret(secret)
    secret.write_text("se cret \nmore\n")
    secret.chmod(0o644)
    with pytest.raises(Problem, match="mode 0644"):
        read_secret(secret)
    secret.chmod(0o400)
    assert read_secret(secret) == "se cret "
    secret.chmod(0o600)
    secret.write_text("\n")
    with pytest.raises(Problem, match="is empty"):
        read_secret(secret)
    with pytest.raises(Problem, match="is no file"):
        read_secret(tmp_path)
