"""What the boot process may do once it runs, and that a thousand machines at once are heard all the same."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.daemon import BOOT_CAPABILITIES
from appliance.deadline import wait_until
from appliance.demo import Scene, serving
from appliance.lab import APPLIANCE_ADDRESS, Lan, lan
from appliance.model import Machine, MachineState
from appliance.overlays import HOME
from appliance.rights import USER, service_user, unprivileged
from appliance.run import run
from pxe import dhcp, maker, packets
from pxe.dhcp import MessageType
from pxe.maker import Kind, RemoteMaker
from pxe.packets import Datagram
from tests.integration.netyard import DEADLINE_SECONDS, UEFI, discover, inside, packet, port
from tests.quiet import quiet_scene

BIND_SERVICE_AND_RAW = (1 << 10) | (1 << 13)
MACHINES = [f"52:54:00:7a:{number >> 8:02x}:{number & 255:02x}" for number in range(1000)]


@pytest.fixture
def scene() -> Iterator[Scene]:
    # Where other users may come: pytest's own directories are closed to them.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="distserver-rights-") as name:
        place = Path(name)
        place.chmod(0o755)
        made = quiet_scene(place)
        services = made.services()
        with services.store.database.change():
            for mac in MACHINES:
                services.store.machines.add(Machine(mac, MachineState.INSTALLED))
        yield made


@pytest.fixture
def net() -> Iterator[Lan]:
    with lan("rights", clients={"client": ""}) as made:
        yield made


def boot_process(parent: int) -> int:
    """The PID of the boot process of `up`."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"\0process\0boot\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise AssertionError("there is no boot process")


def rights(status: str) -> dict[str, int]:
    """Effective, permitted, bounding, inheritable and ambient capabilities, and the user."""
    sets = {name: int(value, 16) for name, value in re.findall(r"^(Cap\w+):\s+(\w+)$", status, re.MULTILINE)}
    uids = re.search(r"^Uid:\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$", status, re.MULTILINE)
    assert uids and len(set(uids.groups())) == 1
    return {**sets, "uid": int(uids[1])}


def test_the_boot_process_is_the_service_user_with_two_capabilities_and_serves_what_comes_later(
    scene: Scene, net: Lan
) -> None:
    with serving(scene, net) as pid:
        status = Path(f"/proc/{boot_process(pid)}/status").read_text()
        before = sockets_of(net)
        make_anew(net)
        with port(net.namespace("client"), 68, "eth0") as asking:
            assert str(discover(asking, mac=MACHINES[0]).server) == APPLIANCE_ADDRESS
        assert sockets_of(net) == before
        assert len(before) == 3
        assert all(one.endswith(f" {2 * maker.RECEIVE_BUFFER_BYTES}") for one in before)
    found = rights(status)
    # A checkout in a closed directory (/root) can only be run by root.
    program = (HOME, Path(sys.executable), Path(sys.executable).resolve())
    is_open = all(up.stat().st_mode & 5 == 5 for one in program for up in (one, *one.parents))
    uid = pwd.getpwnam(USER).pw_uid if is_open else 0
    ambient = BIND_SERVICE_AND_RAW if uid else 0
    assert found == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd"), BIND_SERVICE_AND_RAW),
        "CapAmb": ambient,
        "uid": uid,
    }


def test_what_is_started_for_the_service_user_has_these_capabilities_and_no_others() -> None:
    user = service_user()
    status = run([*unprivileged(user, BOOT_CAPABILITIES), "cat", "/proc/self/status"]).stdout
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert rights(status) == {**dict.fromkeys(sets, BIND_SERVICE_AND_RAW), "uid": user.pw_uid}


def make_anew(net: Lan) -> None:
    """Take the appliance's interface away and give it another one of the same name."""
    appliance, bridge = net.namespace("appliance"), net.namespace("lan")
    run(["ip", "-n", appliance, "link", "del", "eth0"])
    peer = ["peer", "name", "eth0", "netns", appliance]
    run(["ip", "-n", bridge, "link", "add", "anew", "type", "veth", *peer])
    run(["ip", "-n", bridge, "link", "set", "anew", "master", "br0", "up"])
    run(["ip", "-n", appliance, "link", "set", "eth0", "up"])
    run(["ip", "-n", appliance, "addr", "add", f"{APPLIANCE_ADDRESS}/24", "dev", "eth0"])


def sockets_of(net: Lan) -> list[str]:
    """The appliance's DHCP and TFTP ports, and the room of each for what waits."""
    words = ["ss", "--no-header", "--numeric", "--udp", "--listening", "--memory", "--oneline"]
    listed = run(words, prefix=net.exec_prefix("appliance")).stdout.splitlines()
    found = (re.search(r"(\S+:(?:67|69|4011))\s.*skmem:\(r\d+,rb(\d+),", line) for line in listed)
    return sorted(f"{one[1]} {one[2]}" for one in found if one)


def frame(mac: str) -> bytes:
    """A DISCOVER of a machine, from the Ethernet header on."""
    discover = packet(MessageType.DISCOVER, *UEFI, mac=mac)
    nobody, everybody = IPv4Address("0.0.0.0"), IPv4Address("255.255.255.255")
    data = packets.encode(Datagram(nobody, 68, everybody, 67, discover))
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) + b"\x08\0" + data


@pytest.mark.parametrize("beside", [False, True])
def test_a_thousand_discovers_wait_for_a_stopped_process(
    scene: Scene, net: Lan, tmp_path: Path, beside: bool
) -> None:
    if beside:
        file = scene.site / "appliance.toml"
        file.write_text(file.read_text() + "\n[net]\nbeside_dhcp = true\n")
    client = net.namespace("client")
    with (
        serving(scene, net) as pid,
        port(client, 68, "eth0") as hearing,
        inside(client),
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire,
    ):
        hearing.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        hearing.settimeout(DEADLINE_SECONDS)
        wire.bind(("eth0", 0))
        boot = boot_process(pid)
        os.kill(boot, signal.SIGSTOP)
        stopped(boot)
        for mac in MACHINES:
            wire.send(frame(mac))
        os.kill(boot, signal.SIGCONT)
        offered = [dhcp.decode(hearing.recv(2048)).chaddr[:6].hex(":") for _ in MACHINES]
    assert sorted(offered) == MACHINES


def stopped(pid: int) -> None:
    def state() -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    wait_until(lambda: True if state() == "T" else None, seconds=DEADLINE_SECONDS, what=f"{pid} is stopped")


def test_sockets_come_from_the_parent_with_a_buffer_the_process_may_not_make() -> None:
    asking, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own = maker.make
    program = (
        "import socket, sys; from pxe.maker import Kind, RemoteMaker, make\n"
        "remote = RemoteMaker(socket.socket(fileno=int(sys.argv[1])))\n"
        "for made in (remote(Kind.UDP), remote(Kind.PACKET), make(Kind.UDP)):\n"
        "    print(made.family.name, made.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))\n"
    )
    words = [*unprivileged(None, BOOT_CAPABILITIES), sys.executable, "-c", program, str(asking.fileno())]
    with subprocess.Popen(
        words, pass_fds=[asking.fileno()], stdout=subprocess.PIPE, text=True, cwd=HOME.parent
    ) as child:
        assert maker.answer(answering) and maker.answer(answering)
        asking.close()
        said, _ = child.communicate(timeout=DEADLINE_SECONDS)
    assert not maker.answer(answering)
    answering.close()
    most = int(Path("/proc/sys/net/core/rmem_max").read_text())
    with own(Kind.UDP) as here:
        forced = here.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert forced == 2 * maker.RECEIVE_BUFFER_BYTES
    usual = 2 * min(most, maker.RECEIVE_BUFFER_BYTES)
    assert said.split("\n")[:3] == [f"AF_INET {forced}", f"AF_PACKET {forced}", f"AF_INET {usual}"]


def test_without_a_parent_the_process_makes_what_it_may(caplog: pytest.LogCaptureFixture) -> None:
    asking, answering = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answering.close()
    with RemoteMaker(asking)(Kind.UDP) as made, asking:
        assert made.type == socket.SOCK_DGRAM
    assert "no sockets come from the parent" in caplog.text
