"""What `explain` says is what the real boot process sends: the same bytes, on real sockets."""

import re
import shutil
import socket
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance import statement
from appliance.boot import BootDesk
from appliance.deadline import wait_until
from appliance.desks.chain import Walk
from appliance.farm_model import Release
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import HOME, example_site
from appliance.run import run, running
from appliance.services import Services
from appliance.statement import Statement
from appliance.store import Store
from buildfarm.signing import Signer
from pxe import dhcp
from pxe.imitation import Asker, boot_server_request, firmware_discover, ipxe_discover
from pxe.links import Link
from tests.integration.netyard import DEADLINE_SECONDS, EVERYBODY, Yard, port, yard

SERVER, CLIENT = "10.79.0.2", "10.79.0.3"
RELEASE = "20260101-00000000000a"
ARCHES = (0, 7, 16)
ROUTES = 99
"""Stands for an architecture in the MAC of machines that are asked about by every route."""
ARMED, INSTALLED, UNKNOWN = "armed", "installed", "unknown"
TOKEN = re.compile(r"distserver\.token=[0-9a-f]{32}")
MACHINES = (ARMED, INSTALLED, UNKNOWN)


def mac_of(kind: str, arch: int) -> str:
    """A machine for each case: one that seemed to boot twice would be told in another way."""
    return f"52:54:00:79:{MACHINES.index(kind):02x}:{arch:02x}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site and a state with an armed machine, an installed one and a release."""
    place = tmp_path_factory.mktemp("explained")
    site = Path(shutil.copytree(example_site(), place / "site"))
    settings = site / "appliance.toml"
    settings.write_text(settings.read_text().replace('# address = "192.168.1.5"', f'address = "{SERVER}"'))
    tree = Tree(place / "state")
    signer = Signer(tree.path / "keys")
    signer.ready()
    services = Services(site, tree)
    services.store.releases.add(Release(RELEASE, "vm", 1.0, "distserver:0123", 3, 100))
    said = Statement("vm", "stable", RELEASE, 1, "2026-01-01T00:00:00Z")
    services.desk.channels.put(said, signer.clearsign(statement.write(said)))
    disks = (Disk("/dev/vda", 8 * 2**30, "virtio"),)
    for kind, arch in ((kind, arch) for kind in (ARMED, INSTALLED) for arch in (*ARCHES, ROUTES)):
        mac, state = mac_of(kind, arch), MachineState(kind)
        facts = Facts(mac, Firmware.UEFI, 2**30, vendor="QEMU", disks=disks)
        services.store.machines.add(Machine(mac, state, profile="vm", facts=facts, release=RELEASE))
    services.store.close()
    release = tree.path / "releases" / RELEASE
    release.mkdir(parents=True)
    (release / "kernel").write_bytes(b"a kernel")
    for program in ("undionly.kpxe", "snponly.efi", "local-x64.efi"):
        (tree.room("boot") / program).write_bytes(b"a boot program")
    return place


@pytest.fixture(scope="module")
def net(place: Path) -> Iterator[Yard]:
    """The boot process as `up` starts it, and a client's room."""
    with yard() as net:
        net.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", f"{CLIENT}/24"))
        words = [sys.executable, "-m", "appliance.cli", "--state", str(place / "state"), "process", "boot"]
        words += ["--site", str(place / "site"), "--interface", "eth0"]
        log = place / "boot.log"
        with running(words, prefix=net.on("server"), output=log, env={"PYTHONPATH": str(HOME)}):
            wait_until(
                lambda: "answering on eth0" in log.read_text() or None,
                seconds=DEADLINE_SECONDS,
                what="the boot process answers",
                last_seen=log.read_text,
            )
            yield net


def walk(place: Path, scratch: Path) -> Walk:
    live = Services(place / "site", Tree(place / "state"))
    live.store.database.copy(scratch / "store.sqlite")
    store = Store(scratch / "store.sqlite")
    desk = BootDesk(live.live, live.tree, store, live.desk.channels, live.clock)
    link = Link("eth0", 0, IPv4Address(SERVER), IPv4Network("10.79.0.0/24"), "", 1500)
    return Walk(desk, place / "state" / "boot", link, 80)


def ask(asking: socket.socket, request: bytes, where: tuple[str, int]) -> bytes | None:
    asking.sendto(request, where)
    asking.settimeout(1.0)
    try:
        return asking.recv(2048)
    except TimeoutError:
        return None


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize("arch", ARCHES)
def test_every_datagram_is_the_one_that_explain_foretold(
    net: Yard, place: Path, tmp_path: Path, kind: str, arch: int
) -> None:
    asker = Asker(mac_of(kind, arch), arch)
    foretold = walk(place, tmp_path)
    list(foretold.steps(asker))
    real = []
    with port(net.room("client"), 68, "eth0") as asking:
        real.append(ask(asking, dhcp.encode(firmware_discover(asker)), EVERYBODY))
    if len(foretold.sent) > 1 and foretold.sent[1][1][1] == dhcp.PXE_PORT:
        request = boot_server_request(asker, IPv4Address(foretold.sent[1][1][0]))
        net.ip("client", f"addr add {request.ciaddr}/24 dev eth0")
        with port(net.room("client"), 4011, address=str(request.ciaddr)) as asking:
            real.append(ask(asking, dhcp.encode(request), (SERVER, 4011)))
        net.ip("client", f"addr del {request.ciaddr}/24 dev eth0")
    if len(foretold.sent) > len(real):
        with port(net.room("client"), 68, "eth0") as asking:
            real.append(ask(asking, dhcp.encode(ipxe_discover(asker)), EVERYBODY))
    assert real == [datagram for datagram, _ in foretold.sent]


@pytest.mark.parametrize("kind", MACHINES)
def test_the_script_is_the_one_that_explain_foretold(
    net: Yard, place: Path, tmp_path: Path, kind: str
) -> None:
    mac = mac_of(kind, 7)
    steps = walk(place, tmp_path).steps(Asker(mac, 7), ipxe=True)
    foretold = next(step for step in steps if step.title == "script")
    url = f"http://{SERVER}/boot/{mac}.ipxe"
    real = run(["curl", "-sS", "--max-time", "20", url], prefix=net.on("client")).stdout
    lines = [f"  {line}" for line in TOKEN.sub("", real).splitlines()]
    assert [TOKEN.sub("", line) for line in foretold.lines[: len(lines)]] == lines


def told(net: Yard, url: str) -> str:
    """What comes for a URL; empty when it is refused."""
    said = run(["curl", "-sf", "--max-time", "20", url], prefix=net.on("client"), ok=(0, 22, 68))
    return said.stdout


@pytest.mark.parametrize("kind", MACHINES)
def test_dhcp_tftp_and_http_never_disagree(net: Yard, place: Path, kind: str) -> None:
    mac = mac_of(kind, ROUTES)
    asker, dashed = Asker(mac, 7), mac.replace(":", "-")
    with port(net.room("client"), 68, "eth0") as asking:
        offer = ask(asking, dhcp.encode(firmware_discover(asker)), EVERYBODY)
    with port(net.room("client"), 4011, address=CLIENT) as asking:
        ack = ask(asking, dhcp.encode(boot_server_request(asker, IPv4Address(CLIENT))), (SERVER, 4011))
    assert offer and ack
    programs = {dhcp.decode(datagram).file for datagram in (offer, ack)}
    names = (f"boot/{mac}.ipxe", f"grub/grub.cfg-01-{dashed}", f"pxelinux.cfg/01-{dashed}", "autoexec.ipxe")
    texts = [told(net, f"{way}://{SERVER}/{name}") for way in ("http", "tftp") for name in names]
    assert all(texts)
    kernels = {
        told(net, f"http://{SERVER}/r/{RELEASE}/kernel?mac={mac}"),
        told(net, f"tftp://{SERVER}/r/{RELEASE}/kernel"),
    }
    if kind == INSTALLED:
        assert programs == {b"local-x64.efi"}
        assert not any(RELEASE in text.replace(f"release {RELEASE} is installed", "") for text in texts)
        assert kernels == {""}
    else:
        assert programs == {b"snponly.efi"}
        assert all(f"/r/{RELEASE}/kernel" in text for text in texts)
        assert kernels == {"a kernel"}
    assert all(("distserver.token=" in text) == (kind == ARMED) for text in texts)
