"""A machine that nobody knows gets the installer its processor can run: iPXE asks the processor itself."""

import re
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.boards import PC, PENTIUM2, Board
from appliance.deadline import wait_until
from appliance.lab import foreign_dhcp, lan
from appliance.model import Firmware
from appliance.stages import Stage
from appliance.vm import Vm
from appliance.vm_power import power_on
from tests.e2e.boot_server import NARROW, RELEASE, boot_server, entries, furnish
from tests.e2e.relay import relayed

SECONDS = 600.0
MAC = "52:54:00:7c:00:01"
OLD = "r32"


@dataclass(frozen=True)
class Asked:
    board: Board
    poor: bool
    """The machine runs our iPXE, not the one of its ROM."""
    release: str


MACHINES: Mapping[str, Asked] = {
    "pentium2-rom": Asked(PENTIUM2, False, OLD),
    "pentium2-ours": Asked(PENTIUM2, True, OLD),
    "pc-rom": Asked(PC, False, RELEASE),
    "pc-ours": Asked(PC, True, RELEASE),
}


def watch(name: str, place: Path) -> str:
    """What a machine said it would fetch; it did fetch a kernel and an installer."""
    one = MACHINES[name]
    with ExitStack() as stack:
        net = stack.enter_context(lan("processor"))
        stack.enter_context(foreign_dhcp(net, place / "dhcp.log"))
        stack.enter_context(boot_server(place, net))
        tap, vm = net.taps[0], place / "vm"
        machine = Vm(name, vm, Firmware.BIOS, mac=MAC, tap=tap, memory_mb=256, board=one.board, nic="rtl8139")
        if one.poor:
            stack.enter_context(relayed(net, tap, place / "relay.log", poor=True))
        on = stack.enter_context(power_on(machine, prefix=net.exec_prefix("lan")))

        said = on.console.wait_for(re.compile(r"Release \S+ for"), seconds=SECONDS)

        def fetched() -> bool | None:
            return {Stage.KERNEL, Stage.INSTALLER} <= {one.stage for one in entries(place, MAC)} or None

        wait_until(fetched, seconds=SECONDS, what="both files are fetched", last_seen=on.console.tail)
        return said.text


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    path = tmp_path_factory.mktemp("processor")
    furnish(path / "furnished")
    shutil.copytree(path / "furnished/releases" / RELEASE, path / "furnished/releases" / OLD)
    (path / "furnished" / NARROW).write_text(OLD)
    for name in MACHINES:
        shutil.copytree(path / "furnished", path / name)
    with ThreadPoolExecutor(2) as pool:
        seen = pool.map(lambda name: watch(name, path / name), MACHINES)
        return dict(zip(MACHINES, seen, strict=True))


@pytest.mark.parametrize("name", MACHINES)
def test_an_unknown_machine_boots_what_its_processor_can_run(said: Mapping[str, str], name: str) -> None:
    assert said[name] == f"Release {MACHINES[name].release} for"
