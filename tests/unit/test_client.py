import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import Firmware
from pxe.client import ARCHITECTURES, Client, identify
from pxe.dhcp import Packet

MAC = bytes.fromhex("525400770001") + bytes(10)


def client(*options: tuple[int, bytes], chaddr: bytes = MAC, hlen: int = 6) -> Client:
    return identify(Packet(op=1, xid=1, chaddr=chaddr, hlen=hlen, options=options))


def test_the_mac_is_lower_case_with_colons() -> None:
    assert client(chaddr=bytes.fromhex("525400AB00FF") + bytes(10)).mac == "52:54:00:ab:00:ff"


@pytest.mark.parametrize(
    ("chaddr", "hlen"), [(bytes(16), 6), (b"\x01" + MAC[1:], 6), (b"\xff" * 16, 6), (MAC, 0), (MAC, 16)]
)
def test_what_no_network_card_can_have_is_no_mac(chaddr: bytes, hlen: int) -> None:
    assert client(chaddr=chaddr, hlen=hlen).mac == ""


def test_the_architecture_comes_from_option_93_and_never_from_60() -> None:
    chained = client((60, b"PXEClient:Arch:00000:UNDI:002001"), (93, b"\0\7"))
    assert chained.arch is ARCHITECTURES[7]
    assert client((60, b"PXEClient:Arch:00007:UNDI:003000")).arch is None


def test_of_several_architectures_the_first_known_one_counts() -> None:
    several = client((93, b"\xff\xfe\0\7\0\0"))
    assert several.arch_ids == (0xFFFE, 7, 0)
    assert several.firmware is Firmware.UEFI


def test_an_unknown_architecture_has_no_firmware() -> None:
    unknown = client((93, b"\x01\x00"))
    assert (unknown.arch_ids, unknown.arch, unknown.firmware) == ((256,), None, None)


def test_7_and_9_are_both_x64_and_16_asks_for_a_url() -> None:
    assert ARCHITECTURES[7].cpu == ARCHITECTURES[9].cpu == ARCHITECTURES[16].cpu == "x64"
    assert ARCHITECTURES[16].http and not ARCHITECTURES[7].http


@pytest.mark.parametrize("user_class", [b"iPXE", b"\x04iPXE"])
def test_ipxe_is_known_by_its_user_class_raw_or_framed(user_class: bytes) -> None:
    assert client((77, user_class)).ipxe


def test_ipxe_is_known_by_option_175_alone() -> None:
    found = client((175, bytes.fromhex("13 01 01 18 01 01")))
    assert found.ipxe and found.features == frozenset({0x13, 0x18}) and found.fit


@pytest.mark.parametrize(
    ("arch", "features", "fit"),
    [
        (0, "13 01 01 18 01 01", True),
        (0, "18 01 01", False),
        (0, "13 01 01", False),
        (0, "13 01 01 24 01 01", False),
        (0, "13 01 00 18 01 01", False),
        (7, "13 01 01 24 01 01", True),
        (7, "13 01 01 18 01 01", True),
        (11, "14 01 01 24 01 01", False),
        (0, "b1 05 01 1a f4 10 00", False),
    ],
)
def test_an_ipxe_is_fit_that_has_http_and_can_start_a_kernel(arch: int, features: str, fit: bool) -> None:
    said = ((93, arch.to_bytes(2, "big")), (77, b"iPXE"), (175, bytes.fromhex(features)))
    assert client(*said).fit is fit


def test_an_ipxe_that_says_nothing_of_its_features_is_believed() -> None:
    assert client((93, b"\0\0"), (77, b"iPXE")).fit


def test_our_own_build_is_known_by_its_user_class_and_needs_no_features() -> None:
    for user_class in (b"DistServer", b"\x0aDistServer"):
        own = client((93, b"\0\0"), (77, user_class), (175, bytes.fromhex("21 01 01")))
        assert own.ipxe and own.ours and own.fit
    assert not client((77, b"iPXE")).ours


def test_a_garbled_option_175_is_still_an_ipxe() -> None:
    found = client((175, bytes.fromhex("13 01 01 21 09 01")))
    assert found.ipxe and found.features == frozenset({0x13})


@pytest.mark.parametrize(
    ("value", "known"),
    [(b"PXEClient", "PXEClient"), (b"HTTPClient:Arch:00016", "HTTPClient"), (b"MSFT 5.0", ""), (b"", "")],
)
def test_the_vendor_class_is_the_prefix(value: bytes, known: str) -> None:
    assert client((60, value)).vendor_class == known


@pytest.mark.parametrize("value", [b"", b"\0", bytes(17), bytes(16), b"\1" + bytes(range(16)), bytes(40)])
def test_an_odd_option_97_is_no_uuid_and_no_error(value: bytes) -> None:
    assert client((97, value)).uuid == ""


def test_the_uuid_has_its_first_fields_little_endian() -> None:
    raw = bytes.fromhex("00 33221100 5544 7766 8899 aabbccddeeff")
    assert client((97, raw)).uuid == "00112233-4455-6677-8899-aabbccddeeff"


@given(st.dictionaries(st.sampled_from([43, 60, 77, 97, 175]), st.binary(max_size=64)))
def test_any_options_make_a_client(options: dict[int, bytes]) -> None:
    client(*options.items())
