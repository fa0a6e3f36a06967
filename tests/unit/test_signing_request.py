"""Signing requests: keys that are strong enough pass, everything else is a sentence."""

import base64
import contextlib
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.run import run
from appliance.signing_request import LONGEST, read_request
from tests.client_yard import EC, make_key

P384 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp384r1", "-noenc"]
P521 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1", "-noenc"]
ED25519 = ["-newkey", "ed25519", "-noenc"]


GOOD = base64.b64decode(
    "MIHPMHcCAQAwFTETMBEGA1UEAwwKbWFjaGluZS0wMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABA" + "A" * 86 + "=="
)
"""The beginning of one: enough for its key to be read."""


def rsa(bits: int) -> list[str]:
    return ["-newkey", f"rsa:{bits}", "-noenc"]


@pytest.mark.parametrize("kind", [EC, P384, rsa(2048)])
def test_a_good_key_has_the_hash_that_openssl_gives_it(tmp_path: Path, kind: list[str]) -> None:
    key, text = make_key(tmp_path, kind=kind)
    public = run(["openssl", "pkey", "-in", key, "-pubout"]).stdout
    der = base64.b64decode("".join(public.splitlines()[1:-1]))
    read = read_request(text)
    assert read.key == sha256(der).hexdigest()
    assert read_request(read.pem) == read


@pytest.mark.parametrize(
    ("kind", "said"), [(P521, "another curve"), (ED25519, "another kind"), (rsa(1024), "1024 bits")]
)
def test_a_key_that_is_weak_or_of_another_kind_is_refused(tmp_path: Path, kind: list[str], said: str) -> None:
    with pytest.raises(Problem, match=said):
        read_request(make_key(tmp_path, kind=kind)[1])


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    text = make_key(tmp_path)[1]
    for wrong in ("", "x" * (LONGEST + 1), text.replace("REQUEST", "OTHER"), text + text):
        with pytest.raises(Problem):
            read_request(wrong)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_damaged_requests_are_a_problem_or_a_key(content: bytes, at: int, octet: int) -> None:
    for der in (content, b"\x30\x82\x00" + content, GOOD[:at] + bytes([octet]) + GOOD[at + 1 :], GOOD[:at]):
        body = base64.b64encode(der).decode()
        text = f"-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n"
        with contextlib.suppress(Problem):
            assert len(read_request(text).key) == 64
