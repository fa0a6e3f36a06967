"""The answers of each strategy and to each kind of client, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import Firmware
from appliance.strategies import Strategy
from pxe import dhcp
from pxe.client import ARCHITECTURES, RASPBERRY_PI, Role, identify
from pxe.dhcp import MessageType
from pxe.policy import USUAL_HOUSE, House, Ignore
from pxe.programs import PROGRAMS
from tests.boot_packets import (
    BIOS,
    ECHO,
    HTTP,
    IPXE,
    LOCAL,
    NETBOOT,
    PXE_CLASS,
    SERVER,
    UEFI,
    decided,
    golden,
    packet,
    replied,
)

OFFER, ACK = "35 01 02", "35 01 05"
DIRECT_43 = "2b 04 06 01 08 ff"
MENU_43 = (
    "2b 29 06 01 07"  # discovery control: only the listed servers
    "08 07 8000 01 0a4d0002"  # type 0x8000 is served by 10.77.0.2
    "09 0d 8000 0a" + b"DistServer".hex() + "0a 0b 00" + b"DistServer".hex() + "ff"
)
PI = "dc:a6:32:0a:ef:79"
PI_CHADDR = PI.replace(":", "")
PI_HOUSE = House(USUAL_HOUSE.programs, raspberry_pi=True)
WHOLE_HOUSE = House(PROGRAMS)


@pytest.mark.parametrize(
    ("client", "file"), [(BIOS, b"undionly.kpxe"), (UEFI, b"snponly.efi")], ids=["bios", "uefi"]
)
@pytest.mark.parametrize(
    ("strategy", "option_43"),
    [(Strategy.BINL, ()), (Strategy.DIRECT, (DIRECT_43,)), (Strategy.MENU, (MENU_43,))],
    ids=lambda value: getattr(value, "value", ""),
)
def test_each_strategy_is_exactly_these_bytes(
    client: tuple[tuple[int, bytes], ...], file: bytes, strategy: Strategy, option_43: tuple[str, ...]
) -> None:
    reply = replied(packet(MessageType.DISCOVER, *client), strategy=strategy)
    named = b"" if strategy is Strategy.MENU else file
    assert dhcp.encode(reply.packet) == golden(OFFER, SERVER, PXE_CLASS, ECHO, *option_43, file=named)


def test_a_plain_offer_has_no_option_60() -> None:
    reply = replied(packet(MessageType.DISCOVER, *UEFI), strategy=Strategy.PLAIN)
    assert dhcp.encode(reply.packet) == golden(OFFER, SERVER, ECHO, file=b"snponly.efi")


def test_the_item_of_the_menu_is_answered_on_4011_with_the_file_and_the_address_in_yiaddr() -> None:
    chosen = (43, bytes.fromhex("47 04 80 00 00 00 ff"))
    request = packet(MessageType.REQUEST, *UEFI, chosen, ciaddr="10.77.0.101", flags=0)
    reply = replied(request, port=4011, sender=("10.77.0.101", 4011), strategy=Strategy.MENU)
    item = "2b 07 47 04 80 00 00 00 ff"
    expected = golden(
        ACK, SERVER, PXE_CLASS, ECHO, item, file=b"snponly.efi", flags="0000", yiaddr="0a4d0065"
    )
    assert dhcp.encode(reply.packet) == expected


@pytest.mark.parametrize("strategy", Strategy)
def test_ipxe_and_http_boot_are_answered_alike_whatever_the_strategy(strategy: Strategy) -> None:
    for options in ((*UEFI, *IPXE), HTTP):
        request = packet(MessageType.DISCOVER, *options)
        assert replied(request, strategy=strategy) == replied(request)


def test_the_offer_to_a_raspberry_pi_is_exactly_this_with_its_menu_item_and_option_66() -> None:
    machine_id = b"\0RPi4\x14\x31\xd0\x00\x32\xef\x79\x0a\x12\x34\x56\x78"
    reply = replied(packet(MessageType.DISCOVER, *BIOS, mac=PI, machine_id=machine_id), house=PI_HOUSE)
    menu = "2b 20 06 01 03 0a 04 00 505845 09 14 0000 11" + b"Raspberry Pi Boot".hex() + "ff"
    tftp_server = "42 09" + b"10.77.0.2".hex()
    expected = golden(
        OFFER, SERVER, PXE_CLASS, "61 11" + machine_id.hex(), menu, tftp_server, chaddr=PI_CHADDR
    )
    assert dhcp.encode(reply.packet) == expected


def test_a_raspberry_pi_is_known_by_its_maker_by_its_id_or_by_41_and_only_its_boot_rom() -> None:
    def arch(arch_id: int, mac: str, machine_id: bytes = bytes(17)) -> object:
        options = ((93, arch_id.to_bytes(2, "big")), BIOS[2])
        return identify(packet(MessageType.DISCOVER, *options, mac=mac, machine_id=machine_id)).arch

    assert arch(0, "b8:27:eb:00:00:01") is RASPBERRY_PI
    assert arch(0, "52:54:00:00:00:01", b"\0RPi5" + bytes(12)) is RASPBERRY_PI
    assert arch(41, "52:54:00:00:00:01") is RASPBERRY_PI
    assert arch(0, "52:54:00:00:00:01") is ARCHITECTURES[0]
    # edk2 and U-Boot on the same board say what they are.
    assert arch(11, "dc:a6:32:00:00:01") is ARCHITECTURES[11]


def test_a_raspberry_pi_gets_no_answer_without_its_files_or_with_a_disk_to_boot() -> None:
    request = packet(MessageType.DISCOVER, *BIOS, mac=PI)
    without = decided(request)
    assert isinstance(without, Ignore) and "[net] raspberry_pi" in without.reason
    assert isinstance(decided(request, LOCAL, house=PI_HOUSE), Ignore)


def test_u_boot_gets_the_name_of_its_script_in_the_header_and_its_own_class() -> None:
    u_boot = ((60, b"U-Boot.armv8"), (93, b"\0\x16"))
    reply = replied(packet(MessageType.DISCOVER, *u_boot))
    expected = golden(OFFER, SERVER, "3c 06" + b"U-Boot".hex(), ECHO, file=b"boot.scr.uimg")
    assert dhcp.encode(reply.packet) == expected
    assert isinstance(decided(packet(MessageType.DISCOVER, *u_boot), LOCAL), Ignore)


def test_u_boot_over_http_gets_a_url() -> None:
    request = packet(MessageType.DISCOVER, (60, b"U-Boot.armv8"), (93, b"\0\x18"))
    assert replied(request).packet.file == b"http://10.77.0.2:80/boot/boot.scr.uimg"


def test_a_vendor_class_that_the_site_names_is_answered_with_the_prefix_that_matched() -> None:
    huawei = ((93, b"\0\7"), (60, b"HW-Client:Arch:00007:UNDI:003016"))
    request = packet(MessageType.DISCOVER, *huawei)
    assert isinstance(decided(request), Ignore)
    reply = replied(request, vendor_classes=("HW-Client",))
    expected = golden(OFFER, SERVER, "3c 09" + b"HW-Client".hex(), ECHO, file=b"snponly.efi")
    assert dhcp.encode(reply.packet) == expected


@pytest.mark.parametrize("arch_id", sorted(ARCHITECTURES))
def test_every_architecture_has_an_answer_or_a_reason(arch_id: int) -> None:
    arch = ARCHITECTURES[arch_id]
    vendor_class = b"HTTPClient" if arch.http else b"PXEClient"
    request = packet(MessageType.DISCOVER, (93, arch_id.to_bytes(2, "big")), (60, vendor_class))
    decision = decided(request, house=WHOLE_HOUSE)
    bootable = {0, 6, 7, 9, 10, 11, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 27, 28, 39, 40}
    if arch_id in bootable:
        file = replied(request, house=WHOLE_HOUSE).packet.file
        assert file.startswith(b"http://10.77.0.2:80/boot/") == arch.http
    else:
        assert isinstance(decision, Ignore)
        assert "no boot program" in decision.reason or "Raspberry" in decision.reason


def test_an_architecture_whose_program_is_not_there_names_the_package() -> None:
    decision = decided(packet(MessageType.DISCOVER, (93, b"\0\x0b"), (60, b"PXEClient")))
    assert isinstance(decision, Ignore) and "grub-efi-arm64-bin" in decision.reason


def test_a_list_of_architectures_takes_the_first_known_one() -> None:
    request = packet(MessageType.DISCOVER, (93, b"\xff\xfe\0\7\0\0"), (60, b"PXEClient"))
    assert replied(request).packet.file == b"snponly.efi"


def test_what_an_arm64_machine_with_an_installed_system_gets_is_its_grub() -> None:
    request = packet(MessageType.DISCOVER, (93, b"\0\x0b"), (60, b"PXEClient"))
    assert replied(request, LOCAL, house=WHOLE_HOUSE).packet.file == b"grub-arm64.efi"


archs = st.sampled_from([*range(44), 0xFFFF])
classes = st.sampled_from([b"PXEClient", b"HTTPClient:Arch:00016", b"U-Boot.armv7", b"HW-Client", b"x"])
further = st.lists(
    st.sampled_from([(77, b"iPXE"), (82, b"\1\4\0\1\0\2"), (175, bytes.fromhex("130101180101"))]), unique=True
)


@given(
    archs,
    classes,
    further,
    st.sampled_from(Strategy),
    st.sampled_from([67, 4011]),
    st.booleans(),
    st.booleans(),
)
def test_every_answer_has_the_fields_that_firmware_needs(
    arch: int,
    vendor_class: bytes,
    options: list[tuple[int, bytes]],
    strategy: Strategy,
    port: int,
    local: bool,
    pi: bool,
) -> None:
    mac = PI if pi else "52:54:00:77:00:01"
    given_ = packet(
        MessageType.DISCOVER, (93, arch.to_bytes(2, "big")), (60, vendor_class), *options, mac=mac
    )
    house = House(PROGRAMS, raspberry_pi=True)
    target = LOCAL if local else NETBOOT
    decision = decided(
        given_, target, port=port, strategy=strategy, house=house, vendor_classes=("HW-Client",)
    )
    if isinstance(decision, Ignore):
        assert decision.reason
        return
    sent = dhcp.encode(decision.packet)
    assert 300 <= len(sent) <= 1472
    codes = [code for code, _ in decision.packet.options]
    assert codes[:2] == [53, 54] and 52 not in codes
    order = [53, 54, 60, 97, 43, 66, 67, 175, 82]
    assert codes == sorted(codes, key=order.index) and len(codes) == len(set(codes))
    assert not (67 in codes and decision.packet.file)
    assert decision.packet.siaddr.packed == decision.packet.option(54)
    assert all(value for _, value in decision.packet.options), "edk2 drops a packet with an empty option"
    client = identify(given_, ("HW-Client",))
    if client.role in (Role.IPXE, Role.HTTP_BOOT):
        assert 43 not in codes
    if client.role is Role.FIRMWARE and strategy is Strategy.BINL:
        assert 43 not in codes and decision.packet.file
    # At most 2.5 times what was asked, which need not be padded: nobody is worth flooding with this.
    assert len(sent) <= 2.5 * (240 + len(dhcp.encode_options(given_.options)))


def test_bios_goes_straight_to_tftp_and_uefi_asks_4011_unless_told_otherwise() -> None:
    assert replied(packet(MessageType.DISCOVER, *BIOS)) == replied(
        packet(MessageType.DISCOVER, *BIOS), strategy=Strategy.DIRECT
    )
    assert replied(packet(MessageType.DISCOVER, *UEFI)) == replied(
        packet(MessageType.DISCOVER, *UEFI), strategy=Strategy.BINL
    )
    assert identify(packet(MessageType.DISCOVER, *UEFI)).firmware is Firmware.UEFI
