"""A real iPXE waits for its turn as it is told, by its script and by HTTP's own word."""

import socket
from pathlib import Path

from appliance.lab import APPLIANCE_ADDRESS, foreign_dhcp, lan
from appliance.model import Firmware
from appliance.vm import Vm
from appliance.vm_power import power_on
from tests.e2e.boot_server import ADMISSION, MARKER, RELEASE, boot_server, entries, furnish
from tests.integration.netyard import inside

SECONDS = 180.0
MAC, OTHER = "52:54:00:7c:00:01", "52:54:00:7c:00:02"


def test_ipxe_waits_until_the_one_before_it_has_its_kernel(tmp_path: Path) -> None:
    furnish(tmp_path)
    (tmp_path / ADMISSION).write_text("1")
    kernel = f"/r/{RELEASE}/kernel?mac={OTHER}"
    with (
        lan("turns", taps=1) as net,
        foreign_dhcp(net, tmp_path / "dhcp.log"),
        boot_server(tmp_path, net),
        inside(net.namespace("dhcp")),
        socket.create_connection((APPLIANCE_ADDRESS, 80)) as slow,
    ):
        # Another machine has the only place, and is slow: it reads nothing of its kernel.
        slow.sendall(f"GET {kernel} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert slow.recv(12) == b"HTTP/1.1 200"
        vm = Vm("waits", tmp_path, Firmware.BIOS, mac=MAC, tap=net.taps[0], memory_mb=384)
        with power_on(vm, prefix=net.exec_prefix("lan")) as machine:
            for _ in range(3):
                machine.console.wait_for("waiting for its turn after 0 more", seconds=SECONDS)
            slow.close()
            machine.console.wait_for(MARKER, seconds=SECONDS)
    (waited,) = [one for one in entries(tmp_path, MAC) if one.status == "note"]
    assert waited.stage == "script" and "waits for its turn" in waited.message
