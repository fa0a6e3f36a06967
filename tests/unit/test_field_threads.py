"""One test for each thread of the field on DHCP, architectures and names: what failed there."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.model import LocalBoot, NetBoot
from appliance.strategies import Preference, Source, Strategy
from pxe import dhcp
from pxe.client import RASPBERRY_PI, Role, identify
from pxe.dhcp import MessageType, Packet, sub_options
from pxe.names import Names
from pxe.policy import House, Ignore
from pxe.programs import PROGRAMS
from pxe.sightings import Sightings
from tests.boot_packets import BIOS, HERE, HTTP, IPXE_175, MAC, UEFI, decided, packet, replied
from tests.fake_director import FakeDirector
from tests.pxe_lan import ADDRESS, FOREIGN, PxeLan


def offer(*options: tuple[int, bytes], strategy: Strategy | None = None) -> Packet:
    return replied(packet(MessageType.DISCOVER, *options), strategy=strategy).packet


def vendor(answer: Packet) -> dict[int, bytes]:
    return dict(sub_options(answer.option(43) or b"", "sub-option"))


@pytest.fixture
def names(tmp_path: Path) -> Names:
    (tmp_path / "boot").mkdir()
    (tmp_path / "r1").mkdir()
    (tmp_path / "r1" / "kernel").write_text("kernel")
    director = FakeDirector(
        {MAC: NetBoot("r1", "quiet", "armed"), "*": LocalBoot("installed")}, releases=tmp_path
    )
    sightings = Sightings()
    sightings.saw_address(MAC, ADDRESS)
    sightings.saw_address("52:54:00:77:00:02", "10.77.0.102")
    return Names(director, tmp_path / "boot", sightings)


def test_siderolabs_booter_10_edk2_loops_on_offers_without_option_54() -> None:
    for strategy in Strategy:
        assert offer(*UEFI, strategy=strategy).server == HERE.address


@pytest.mark.parametrize("thread", ["siderolabs/booter#4", "siderolabs/sidero#1212"])
def test_booter_4_and_sidero_1212_pxe_e55_when_nobody_answers_on_4011(thread: str) -> None:
    lan = PxeLan()
    request = packet(MessageType.REQUEST, *UEFI, ciaddr=ADDRESS, flags=0)
    answer = lan.ask(request, port=4011, sender=(ADDRESS, 4011))
    assert answer is not None and answer.message_type == MessageType.ACK, thread
    # The reply goes to where the question came from; to port 68 it is PXE-E16.
    assert lan.sent[-1][0] == 4011 and lan.sent[-1][2] == (ADDRESS, 4011)


def test_tianocore_edk2_6944_old_forks_never_keep_an_offer_with_option_43() -> None:
    assert offer(*UEFI).option(43) is None


def test_tianocore_edk2_8149_an_offer_without_option_43_makes_the_client_ask_4011() -> None:
    answer = replied(packet(MessageType.REQUEST, *UEFI, ciaddr=ADDRESS), port=4011, sender=(ADDRESS, 4011))
    assert answer.packet.file == offer(*UEFI).file and answer.packet.siaddr == HERE.address


def test_tianocore_edk2_8558_a_server_list_beside_6_8_is_taken_for_the_tftp_server() -> None:
    assert set(vendor(offer(*UEFI, strategy=Strategy.DIRECT))) == {6}


def test_fogproject_fog_docs_188_the_other_server_sends_option_60() -> None:
    lan = PxeLan()
    lan.ask(packet(MessageType.REQUEST, *UEFI, (54, FOREIGN.packed), (50, IPv4Address(ADDRESS).packed)))
    for xid in range(3):
        lan.boot(xid)
    assert "10.77.0.1, which may itself send option 60 or 43 (remove them)" in lan.alarms()[0]


def test_garybowers_bootimus_77_an_hp_laptop_merges_no_two_offers() -> None:
    lan = PxeLan()
    for xid in range(3):
        lan.boot(xid)
    (said,) = lan.alarms()
    assert "option 66 (next-server) 10.77.0.2, option 67 (filename) snponly.efi" in said


def test_danderson_netboot_43_a_dl380_gen9_stays_silent_after_binl() -> None:
    assert PxeLan().boot(1)[:3] == ["binl", "direct", "menu"]


def test_danderson_pixiecore_21_a_client_has_no_option_97() -> None:
    answer = replied(packet(MessageType.DISCOVER, *UEFI, machine_id=None)).packet
    assert answer.option(97) is None and answer.file == b"snponly.efi"


def test_tinkerbell_smee_228_ampere_emag_ignores_the_file_of_a_pxeclient() -> None:
    lan = PxeLan(house=House(PROGRAMS))
    lan.director.preferences[MAC] = Preference(Strategy.PLAIN, Source.SITE)
    arm64 = ((93, b"\0\x0b"), (60, b"PXEClient:Arch:00011:UNDI:003000"))
    answer = lan.ask(packet(MessageType.DISCOVER, *arm64))
    assert answer is not None and answer.option(60) is None and answer.file == b"grub-arm64.efi"


@pytest.mark.parametrize("thread", ["siderolabs/booter#11", "siderolabs/booter#12"])
def test_booter_11_and_12_u_boot_reads_the_header_only(thread: str) -> None:
    answer = offer((60, b"U-Boot.armv8"), (93, b"\0\x16"))
    assert (answer.file, answer.siaddr) == (b"boot.scr.uimg", HERE.address), thread


@pytest.mark.parametrize("user_class", [b"\x09iPXE", b"\xff", b"\x04iPXE\x20", b"\0", b""])
def test_metal3_baremetal_operator_446_option_77_is_not_framed_as_it_should_be(user_class: bytes) -> None:
    answer = offer(*UEFI, (77, user_class))
    assert answer.file.endswith(b".ipxe") == (b"iPXE" in user_class)


def test_warewulf_warewulf3_104_flexboot_leaves_the_user_class_of_ipxe_out() -> None:
    flexboot = (*BIOS, IPXE_175)
    assert identify(packet(MessageType.DISCOVER, *flexboot)).role is Role.IPXE
    assert offer(*flexboot).file.endswith(b".ipxe")
    # Without option 175, too, it is any boot ROM: what it is given says later what it is.
    assert offer(*BIOS).file == b"undionly.kpxe"


@pytest.mark.parametrize("name", ["autoexec.ipxe", "x64/autoexec.ipxe", "/autoexec.ipxe"])
def test_tinkerbell_424_autoexec_ipxe_is_not_found(names: Names, name: str) -> None:
    found = names.resolve(name, ADDRESS, HERE)
    assert isinstance(found, bytes) and found.startswith(b"#!ipxe")


def test_raspberrypi_firmware_1928_a_pi_says_it_were_a_bios() -> None:
    pi = packet(MessageType.DISCOVER, *BIOS, mac="e4:5f:01:bc:f4:ce")
    assert identify(pi).arch is RASPBERRY_PI
    decision = decided(pi)
    assert isinstance(decision, Ignore), "a Pi can do nothing with undionly.kpxe"


@pytest.mark.parametrize("thread", ["rpi-eeprom#182", "firmware#801", "firmware#1850"])
def test_raspberrypi_rpi_eeprom_182_a_pi_wants_option_66_and_an_item_of_its_name(thread: str) -> None:
    pi = packet(MessageType.DISCOVER, *BIOS, mac="e4:5f:01:bc:f4:ce")
    answer = replied(pi, house=House(PROGRAMS, raspberry_pi=True)).packet
    assert answer.option(66) == b"10.77.0.2", thread
    assert vendor(answer)[9] == b"\0\0\x11Raspberry Pi Boot"


def test_garybowers_bootimus_118_option_60_says_another_architecture_than_93() -> None:
    lying = ((93, b"\0\7"), (60, b"PXEClient:Arch:00000:UNDI:002001"))
    assert offer(*lying).file == b"snponly.efi"
    # Without 93 nobody knows: a BIOS program on a UEFI machine would only stop it.
    assert isinstance(decided(packet(MessageType.DISCOVER, (60, UEFI[2][1]))), Ignore)


def test_garybowers_bootimus_118_an_option_93_of_one_byte_is_dropped_with_its_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lan = PxeLan()
    assert lan.ask(packet(MessageType.DISCOVER, (93, b"\0"), BIOS[2])) is None
    assert "option 93" in caplog.text


@pytest.mark.parametrize("arch_id", [2, 6, 7, 8, 9])
def test_linuxserver_docker_netbootxyz_8_uefi_has_more_ids_than_7(arch_id: int) -> None:
    request = packet(MessageType.DISCOVER, (93, bytes((0, arch_id))), (60, b"PXEClient"))
    client = identify(request)
    assert client.arch is not None and "UEFI" in client.arch.name
    decision = decided(request, house=House(PROGRAMS))
    # Itanium and XScale get silence with a reason; a BIOS program never.
    file = "" if isinstance(decision, Ignore) else decision.packet.file.decode()
    assert file == {6: "grub-ia32.efi", 7: "snponly.efi", 9: "snponly.efi"}.get(arch_id, "")


def test_pypxe_an_unknown_architecture_ends_the_server() -> None:
    lan = PxeLan()
    assert lan.ask(packet(MessageType.DISCOVER, (93, b"\x12\x34"), (60, b"PXEClient"))) is None
    assert lan.ask(packet(MessageType.DISCOVER, *UEFI)) is not None


def test_garybowers_bootimus_129_a_relayed_client_is_answered_through_its_relay() -> None:
    reply = replied(packet(MessageType.DISCOVER, *UEFI, giaddr="10.9.0.1", flags=0))
    assert reply.destination == ("10.9.0.1", 67)
    assert reply.packet.giaddr == IPv4Address("10.9.0.1")


@pytest.mark.parametrize("thread", ["rhboot/shim#710", "rhboot/shim#137"])
def test_rhboot_shim_710_shim_takes_its_directory_from_the_header_only(thread: str) -> None:
    for port, kind in ((67, MessageType.DISCOVER), (4011, MessageType.REQUEST)):
        answer = replied(packet(kind, *UEFI, ciaddr=ADDRESS), port=port).packet
        assert answer.file and answer.option(67) is None and answer.siaddr == HERE.address, thread
        assert answer.option(52) is None


def test_ovmf_http_boot_has_no_dns_server_for_a_url_with_a_name() -> None:
    assert offer(*HTTP).file.startswith(b"http://10.77.0.2:80/")


@pytest.mark.parametrize("thread", ["tinkerbell#951", "tinkerbell#952", "tinkerbell#957"])
@pytest.mark.parametrize("name", ["r/r1/kernel", "some/where/r/r1/kernel"])
def test_tinkerbell_951_a_route_beside_the_others_forgets_the_boot_once_flag(
    names: Names, name: str, thread: str
) -> None:
    assert names.resolve(name, ADDRESS, HERE) is not None
    assert names.resolve(name, "10.77.0.102", HERE) is None, thread


@pytest.mark.parametrize("thread", ["cobbler#3329", "matchbox#349", "netboot#134", "tink#116"])
@pytest.mark.parametrize("name", ["pxelinux.cfg/01-52-54-00-77-00-02", "grub.cfg-01-52-54-00-77-00-02"])
def test_cobbler_3329_an_installed_machine_is_installed_again(names: Names, name: str, thread: str) -> None:
    found = names.resolve(name, "10.77.0.102", HERE)
    assert isinstance(found, bytes) and b"/r/" not in found, thread


@pytest.mark.parametrize(
    "broken", [(43, b""), (97, b"\0" * 3), (82, b""), (60, b""), (175, b"\xff\xff\xff"), (43, b"\x47\xff")]
)
def test_edk2_drops_a_whole_answer_for_one_option_of_wrong_length(broken: tuple[int, bytes]) -> None:
    request = packet(
        MessageType.DISCOVER, broken, UEFI[0], (60, UEFI[2][1]) if broken[0] != 60 else (94, b"\1")
    )
    decision = decided(request)
    if not isinstance(decision, Ignore):
        answer = dhcp.decode(dhcp.encode(decision.packet))
        lengths = {code: len(value) for code, value in answer.options}
        assert all(lengths.values()) and lengths.get(97, 17) == 17
