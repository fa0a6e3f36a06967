"""TFTP packets, and the names in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe import tftp_packets as packets
from pxe.malformed import Malformed
from pxe.tftp import clean_name, netascii
from pxe.tftp_packets import Request


@given(st.binary(max_size=100))
def test_any_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    try:
        packets.parse(data)
    except Malformed as wrong:
        assert wrong.field and wrong.expected and wrong.came


def test_a_request_is_read_as_it_was_sent() -> None:
    sent = packets.request("a/b", mode="OCTET", options=(("tsize", "0"), ("blksize", "1468")))
    assert packets.parse(sent) == Request(b"a/b", "octet", (("tsize", "0"), ("blksize", "1468")))


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"snponly.efi", "snponly.efi"),
        (b"/snponly.efi", "snponly.efi"),
        (b"\\Boot\\x64\\a.efi", "Boot/x64/a.efi"),
        (b"boot//./a.efi", "boot/a.efi"),
        ("größe".encode(), "größe"),
        (b"../etc/passwd", None),
        (b"..", None),
        (b"/..", None),
        (b"..\\etc/passwd", None),
        (b"boot/../../etc/passwd", None),
        (b"boot/..", None),
        (b"./../etc/passwd", None),
        (b"..//etc/passwd", None),
        (b"boot/..\\..", None),
        (b"//../etc/passwd", None),
        (b"%2e%2e/etc/passwd", "%2e%2e/etc/passwd"),
        (b"..%2fetc/passwd", "..%2fetc/passwd"),
        (b"\xc0\xae\xc0\xae/etc/passwd", None),
        ("\uff0e\uff0e/etc/passwd".encode(), "\uff0e\uff0e/etc/passwd"),
        ("\u2024\u2024/etc/passwd".encode(), "\u2024\u2024/etc/passwd"),
        (b"C:\\boot\\a.efi", "C:/boot/a.efi"),
        (b"...", "..."),
        (b"boot\\..\\..\\etc/passwd", None),
        (b"\xff\xfe", None),
        (b"a\nb", None),
        (b"", None),
        (b"/", None),
        (b"x" * 256, None),
    ],
)
def test_a_name_means_a_file_below_the_root_or_nothing(raw: bytes, name: str | None) -> None:
    assert clean_name(raw) == name


def test_netascii_ends_lines_with_cr_lf() -> None:
    assert netascii(b"a\nb\r\n") == b"a\r\nb\r\0\r\n"
