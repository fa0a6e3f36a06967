"""When an OpenPGP key was made, read from its first packet."""

import pytest

from appliance.errors import Problem
from buildfarm.openpgp import key_created

BODY = b"\x04" + (1793350800).to_bytes(4, "big") + b"\x16rest"


@pytest.mark.parametrize(
    "head",
    [
        b"\x98\x33",  # old format, one octet of length, as gpg --export writes it
        b"\x99\x01\x0d",
        b"\x9a\0\0\x01\x0d",
        b"\xc6\x33",  # new format
        b"\xc6\xc0\x4d",
    ],
)
def test_the_time_stands_behind_the_version(head: bytes) -> None:
    assert key_created(head + BODY) == 1793350800


@pytest.mark.parametrize(
    "key", [b"", b"\x98", b"\x98\x33\x04\0", b"\x98\x33\x03" + BODY[1:], b"\xb4\x33" + BODY, b"-----BEGIN"]
)
def test_what_is_no_key_is_a_problem(key: bytes) -> None:
    with pytest.raises(Problem, match="does not begin with an OpenPGP public key"):
        key_created(key)
