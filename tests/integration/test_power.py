"""Machines are woken and switched on and off: magic packets, IPMI over LAN, Redfish over TLS."""

import contextlib
import re
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.desks.switching import SWITCHES
from appliance.errors import Problem
from appliance.machine_settings import Bmc
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.power import Action, State, act
from appliance.run import run
from appliance.services import Services
from appliance.wake import Sent, magic_packet
from tests.integration.bmcyard import ADDRESS, PASSWORD, SYSTEMS, USER, Controller, ipmi, redfish
from tests.integration.netyard import DEADLINE_SECONDS, Yard, inside, yard

MAC = "52:54:00:77:00:01"


@pytest.fixture(scope="module")
def net() -> Iterator[Yard]:
    with yard() as made:
        made.wire(("server", "eth0", "10.77.9.2/24"), ("lan", "eth0", "10.77.9.3/24"))
        made.wire(("server", "eth1", "10.77.8.2/24"), ("other", "eth0", "10.77.8.3/24"))
        yield made


@pytest.fixture(scope="module")
def room(net: Yard) -> str:
    return net.room("server")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


@pytest.fixture
def services(site: Path, tmp_path: Path) -> Services:
    services = Services(site, Tree(tmp_path / "state"))
    services.add_machine(MAC, name="web1")
    return services


def listen(room: str, interface: str = "eth0") -> socket.socket:
    """What arrives at an interface of a namespace, frame by frame."""
    with inside(room):
        sniffing = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        sniffing.bind((interface, 3))
        sniffing.settimeout(DEADLINE_SECONDS)
    return sniffing


def woken(sniffing: socket.socket, packet: bytes, ways: int) -> set[bytes]:
    """The Ethernet types under which a magic packet came."""
    found: set[bytes] = set()

    def came() -> bool | None:
        frame = sniffing.recv(2048)
        if packet in frame:
            assert frame[:6] == b"\xff" * 6
            assert frame.endswith(packet)
            found.add(frame[12:14])
        return len(found) == ways or None

    wait_until(came, seconds=DEADLINE_SECONDS, what="magic packets come", last_seen=lambda: str(found))
    return found


def test_a_magic_packet_goes_by_udp_and_raw_to_where_the_machine_was_seen(
    net: Yard, room: str, services: Services
) -> None:
    services.desk.saw_address(MAC, "10.77.9.40")
    with listen(net.room("lan")) as near, listen(net.room("other")) as far:
        with inside(room):
            sent = services.power.wake(services.machine("web1"))
        assert sent == [Sent("eth0", raw=False), Sent("eth0", raw=True)]
        assert woken(near, magic_packet(MAC), 2) == {b"\x08\x00", b"\x08\x42"}
        # The other link has seen nothing but what comes after it.
        with inside(room):
            services.power.wake(services.machine(MAC), ("eth1",))
        assert woken(far, magic_packet(MAC), 2) == {b"\x08\x00", b"\x08\x42"}
        far.setblocking(False)
        with pytest.raises(BlockingIOError):
            while magic_packet(MAC) not in far.recv(2048):
                pass
    stages = [(event.stage, event.message) for _, event in services.show_machine(MAC).events]
    assert stages[-2] == ("wake", "a magic packet by eth0 (UDP port 9), eth0 (raw Ethernet)")


def test_a_machine_nobody_has_seen_is_woken_on_every_lan_with_its_password(
    net: Yard, room: str, services: Services, site: Path
) -> None:
    secret = site.parent / "wake"
    secret.write_text("0a:0b:0c:0d:0e:0f\n")
    secret.chmod(0o600)
    with (site / "appliance.toml").open("a") as file:
        file.write(f'[[machine]]\nmac = "{MAC.upper()}"\nwake_password_file = "{secret}"\n')
    packet = magic_packet(MAC, bytes.fromhex("0a0b0c0d0e0f"))
    with listen(net.room("lan")) as one, listen(net.room("other")) as other:
        with inside(room):
            services.power.wake(services.machine(MAC))
        assert woken(one, packet, 2) == woken(other, packet, 2)


def test_without_the_right_to_send_frames_udp_is_left(net: Yard, room: str) -> None:
    program = (
        "from appliance.wake import magic_packet, send; "
        f"print([one.raw for one in send(magic_packet('{MAC}'), ['eth0'])])"
    )
    drop = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"]
    with listen(net.room("lan")) as near:
        said = run(["python", "-c", program], prefix=[*net.on("server"), *drop]).stdout
        assert said == "[False]\n"
        assert woken(near, magic_packet(MAC), 1) == {b"\x08\x00"}


def test_an_interface_that_is_not_there_is_a_problem(room: str, services: Services) -> None:
    with inside(room), pytest.raises(Problem, match="eth7: No such device"):
        services.power.wake(services.machine(MAC), ("eth7",))


# IPMI


@pytest.fixture(scope="module")
def controller(room: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with ipmi(tmp_path_factory.mktemp("ipmi"), room) as made:
        yield made


def told(services: Services, site: Path, bmc: Bmc) -> None:
    words = [f'{key} = "{value}"' for key, value in (("kind", bmc.kind.value), ("address", bmc.address))]
    words += [f'user = "{bmc.user}"', f'password_file = "{bmc.password_file}"']
    words += [f"cipher_suite = {bmc.cipher_suite}"] if bmc.cipher_suite else []
    words += [f'ca = "{bmc.ca}"'] if bmc.ca else []
    with (site / "appliance.toml").open("a") as file:
        file.write(f'[[machine]]\nmac = "{MAC}"\n[machine.bmc]\n' + "\n".join(words) + "\n")


def test_ipmi_switches_a_machine_on_and_off_and_its_timeline_says_so(
    controller: Controller, room: str, services: Services, site: Path
) -> None:
    told(services, site, controller.bmc)
    machine = services.machine(MAC)
    with inside(room):
        assert services.power.act(machine, Action.STATUS) is State.OFF
        services.power.act(machine, Action.ON)
        assert controller.power() == "1"
        assert services.power.act(machine, Action.STATUS) is State.ON
        services.power.act(machine, Action.OFF)
        assert controller.power() == "0"
        # What is off is cycled by switching it on.
        services.power.act(machine, Action.CYCLE)
        assert controller.power() == "1"
    messages = [event.message for _, event in services.show_machine(MAC).events if event.stage == "power"]
    assert messages == ["on, by ipmi", "off, by ipmi", "cycle, by ipmi"]


def test_the_farm_switches_a_machine_for_whoever_asked_by_the_page(
    controller: Controller, room: str, services: Services, site: Path
) -> None:
    told(services, site, controller.bmc)
    (controller.place / "power").write_text("0\n")
    for word in ("wake", "status", "on", "status"):
        services.switching.want("web1", word, who="web olga")
    with inside(room):
        said = [done.said for _ in range(3) if (done := services.errands.do_next(SWITCHES))]
    assert said[0].startswith("a magic packet was sent by ")
    # The same question that waits already is asked once.
    assert said[1:] == ["it is off", "its controller was told on"]
    assert controller.power() == "1" and not services.errands.waits(SWITCHES)
    assert {one.who for one in services.audit.page(subject=MAC) if "want" not in one.action} >= {"web olga"}


@pytest.mark.parametrize(("uefi", "flags"), [(True, 0xA0), (False, 0x80)])
def test_ipmi_sets_the_network_for_the_next_start_only(
    controller: Controller, room: str, uefi: bool, flags: int
) -> None:
    # Signed but not encrypted: the simulator forgets the flags it was sent, the wire does not.
    plain = replace(controller.bmc, cipher_suite=2)
    with listen(room, "lo") as sniffing:
        with inside(room):
            act(plain, Action.NETBOOT_ONCE, uefi=uefi)
        assert controller.boot() == "pxe"
        sniffing.setblocking(False)
        sent = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += sniffing.recv(2048)
    # IPMI 2.0, table 28-14: parameter 3 says that the flags are kept; parameter 5: valid, for the next start
    # only (no bit 6), by UEFI (bit 5), from the network.
    assert bytes((0x08, 0x03, 0x08)) in sent
    assert bytes((0x08, 0x05, flags, 0x04)) in sent


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "nobody"}, "knows no user nobody"),
        ({"port": 624}, "does not answer"),
        ({"address": "no.such.host.invalid"}, "is no name of a host"),
    ],
)
def test_ipmi_says_what_is_wrong(
    controller: Controller, room: str, change: dict[str, str], message: str
) -> None:
    with inside(room), pytest.raises(Problem, match=message):
        act(replace(controller.bmc, **change), Action.STATUS, uefi=False)  # type: ignore[arg-type]


def test_a_wrong_password_is_told_from_silence_and_shown_nowhere(
    controller: Controller,
    room: str,
    services: Services,
    site: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2\n")
    wrong.chmod(0o600)
    told(services, site, replace(controller.bmc, password_file=wrong))
    with caplog.at_level("DEBUG"), inside(room):
        with pytest.raises(Problem, match=f"refuses the password of {USER}") as problem:
            services.power.act(services.machine(MAC), Action.ON)
        act(controller.bmc, Action.STATUS, uefi=False)
    assert str(wrong) in problem.value.hint
    for secret in ("hunter2", PASSWORD):
        assert secret not in caplog.text
    (_, failed) = services.show_machine(MAC).events[-1]
    assert (failed.stage, failed.status) == ("power", "failed")
    assert "hunter2" not in failed.message


def test_a_password_others_may_read_is_not_used(controller: Controller, room: str, tmp_path: Path) -> None:
    open_to_all = tmp_path / "password"
    open_to_all.write_text(PASSWORD)
    open_to_all.chmod(0o640)
    with inside(room), pytest.raises(Problem, match=r"mode 0640") as problem:
        act(replace(controller.bmc, password_file=open_to_all), Action.STATUS, uefi=False)
    assert problem.value.hint == f"chmod 600 {open_to_all}"


def test_a_missing_program_is_named_with_its_package(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="needs the program ipmitool") as problem:
        act(controller.bmc, Action.STATUS, uefi=False)
    assert problem.value.hint == "apt-get install ipmitool"


def test_a_machine_without_a_controller_says_what_the_site_lacks(services: Services) -> None:
    with pytest.raises(Problem, match="names no controller") as problem:
        services.power.act(services.machine(MAC), Action.ON)
    assert "[[machine]]" in problem.value.hint


# Redfish


@pytest.fixture(scope="module")
def chassis(net: Yard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bmc]:
    with redfish(tmp_path_factory.mktemp("redfish"), net.room("other"), systems=2) as made:
        yield replace(made, system="blade2")


@pytest.fixture(scope="module")
def far(net: Yard) -> str:
    return net.room("other")


def resets(bmc: Bmc, number: int) -> int:
    """How often a machine was reset, by the controller's own log."""
    log = bmc.password_file.with_name("log").read_text()
    return log.count(f"POST /redfish/v1/Systems/{SYSTEMS[number]['uuid']}/Actions/ComputerSystem.Reset")


def test_redfish_switches_one_of_two_machines_on_and_off(chassis: Bmc, far: str) -> None:
    neighbour = replace(chassis, system="blade1")

    def until(bmc: Bmc, state: State) -> None:
        def reached() -> bool | None:
            return act(bmc, Action.STATUS, uefi=True) is state or None

        wait_until(reached, seconds=DEADLINE_SECONDS, what=f"{bmc.system} is {state.value}")

    with inside(far):
        assert act(neighbour, Action.STATUS, uefi=True) is State.OFF
        assert act(chassis, Action.STATUS, uefi=True) is State.ON
        # The emulator takes up to 11 s for each, and is off in between.
        act(chassis, Action.CYCLE, uefi=True)
        assert resets(chassis, 0) == 0 and resets(chassis, 1) == 1
        assert act(neighbour, Action.STATUS, uefi=True) is State.OFF
        act(neighbour, Action.CYCLE, uefi=True)
        until(chassis, State.ON)
        act(chassis, Action.OFF, uefi=True)
        until(neighbour, State.ON)
        until(chassis, State.OFF)


def test_redfish_sets_the_network_for_the_next_start_only(chassis: Bmc, net: Yard, far: str) -> None:
    with inside(far):
        act(chassis, Action.NETBOOT_ONCE, uefi=True)
    url = f"https://{ADDRESS}/redfish/v1/Systems/{SYSTEMS[1]['uuid']}"
    said = run(
        ["curl", "-s", "--cacert", str(chassis.ca), "-u", f"{USER}:{PASSWORD}", url], prefix=net.on("other")
    ).stdout
    assert re.search(r'"BootSourceOverrideTarget": *"Pxe"', said)
    assert re.search(r'"BootSourceOverrideMode": *"UEFI"', said)


def test_redfish_says_what_is_wrong(chassis: Bmc, far: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("hunter2\n")
    wrong.chmod(0o600)
    cases = [
        (replace(chassis, password_file=wrong), "refuses operator or the password"),
        (replace(chassis, ca=None), "a certificate that is not believed"),
        (replace(chassis, port=444), "does not answer"),
        (replace(chassis, system=""), "has 2 systems, expected one"),
        (replace(chassis, system="blade9"), "has no system blade9"),
        (replace(chassis, ca=tmp_path / "none.pem"), "is no file"),
    ]
    for bmc, message in cases:
        with inside(far), pytest.raises(Problem, match=message):
            act(bmc, Action.STATUS, uefi=True)
