"""Real firmware on a LAN whose DHCP server runs on the boot server's own host: both have one address."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.lab import Lan, foreign_dhcp, lan
from appliance.vm import Vm
from appliance.vm_power import power_on
from tests.e2e.boot_server import MARKER, boot_server, entries, furnish
from tests.e2e.netboot import KINDS, MARKER_SECONDS, mac_of

MACHINES = ("ipxe", "x64")


def boot(net: Lan, place: Path, number: int) -> None:
    """Switch a machine on, and off again when the stand-in installer runs on it."""
    name = MACHINES[number]
    directory = place / name
    directory.mkdir()
    mac, tap = mac_of(number), net.taps[number]
    vm = Vm(name, directory, KINDS[name].firmware, mac=mac, tap=tap, memory_mb=384)
    with power_on(vm, prefix=net.exec_prefix("lan")) as machine:
        machine.console.wait_for(MARKER, seconds=2 * MARKER_SECONDS)


@pytest.mark.timeout(900)
def test_firmware_takes_its_lease_from_the_one_and_its_program_from_the_other(tmp_path: Path) -> None:
    furnish(tmp_path)
    numbers = range(len(MACHINES))
    with (
        lan("beside", taps=len(MACHINES)) as net,
        foreign_dhcp(net, tmp_path / "dhcp.log"),
        boot_server(tmp_path, net, "dhcp"),
        ThreadPoolExecutor(len(MACHINES)) as pool,
    ):
        list(pool.map(lambda number: boot(net, tmp_path, number), numbers))
    assert "DHCP from the wire, beside this host's DHCP server" in (tmp_path / "log").read_text()
    acknowledged = [line for line in (tmp_path / "dhcp.log").read_text().splitlines() if "DHCPACK" in line]
    for mac in map(mac_of, numbers):
        assert any(mac in line for line in acknowledged)
        assert {"offer", "script", "kernel", "installer"} <= {entry.stage for entry in entries(tmp_path, mac)}
