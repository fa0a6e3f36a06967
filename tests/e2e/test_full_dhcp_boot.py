"""Real firmware on a LAN where DistServer gives out the addresses, too, until the stand-in installer runs."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from appliance.lab import lan
from appliance.store import Store
from appliance.vm import Vm
from appliance.vm_power import power_on
from tests.e2e.boot_server import MARKER, entries, furnish
from tests.e2e.full_boot_server import OFFICE, full_boot_server
from tests.e2e.netboot import KINDS, MARKER_SECONDS, mac_of
from tests.e2e.relay import relayed

FIRMWARE = ("ipxe", "bios", "x64", "http")


def test_every_firmware_boots_with_one_address_from_one_server(tmp_path: Path) -> None:
    furnish(tmp_path)
    with lan("full", taps=len(FIRMWARE)) as net, full_boot_server(tmp_path, net), ExitStack() as stack:

        def boots(number: int) -> str:
            kind = KINDS[FIRMWARE[number]]
            directory = tmp_path / FIRMWARE[number]
            directory.mkdir()
            vm = Vm(directory.name, directory, kind.firmware, mac=mac_of(number), memory_mb=384)
            vm = replace(vm, tap=net.taps[number], ipv4_pxe=kind.ipv4_pxe)
            if kind.poor:
                stack.enter_context(relayed(net, net.taps[number], directory / "relay.log", poor=True))
            with power_on(vm, prefix=net.exec_prefix("lan")) as machine:
                machine.console.wait_for(MARKER, seconds=MARKER_SECONDS)
            return mac_of(number)

        with ThreadPoolExecutor(len(FIRMWARE)) as pool:
            macs = list(pool.map(boots, range(len(FIRMWARE))))
    leases = Store(tmp_path / "store.sqlite").leases.all()
    # Firmware, its boot program and iPXE after it had the same address; nobody needed port 4011.
    assert sorted(lease.mac for lease in leases) == sorted(macs)
    assert all(OFFICE.covers(lease.address) for lease in leases)
    for mac in macs:
        stages = [entry.stage for entry in entries(tmp_path, mac)]
        assert stages[0] == "discover" and "kernel" in stages and "proxy" not in stages, stages
