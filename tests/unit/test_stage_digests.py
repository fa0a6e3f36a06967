"""Gentoo's .DIGESTS texts and GnuPG's verdicts, without files or programs."""

import pytest

from appliance.errors import Problem
from buildfarm.openpgp import is_clearsigned, judge
from buildfarm.stage import parse_digests

A, B, C = "a" * 128, "b" * 128, "c" * 128
GENTOO = f"""# BLAKE2B HASH
{A}  stage3-amd64-openrc-20260101T000000Z.tar.xz
# SHA512 HASH
{B}  stage3-amd64-openrc-20260101T000000Z.tar.xz
# MD5 HASH
0123  stage3-amd64-openrc-20260101T000000Z.tar.xz
# SHA512 HASH
{C.upper()}  stage3-amd64-openrc-20260101T000000Z.tar.xz.CONTENTS.gz
"""


def test_each_file_gets_its_strong_digests_and_weak_ones_are_left_out() -> None:
    assert parse_digests(GENTOO) == {
        "stage3-amd64-openrc-20260101T000000Z.tar.xz": {"BLAKE2B": A, "SHA512": B},
        "stage3-amd64-openrc-20260101T000000Z.tar.xz.CONTENTS.gz": {"SHA512": C},
    }


@pytest.mark.parametrize(
    "line",
    ["abc  name", f"{A} one two", f"{'x' * 128}  name", A],
    ids=["short", "words", "not hex", "no name"],
)
def test_a_line_that_is_no_digest_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(Problem, match="line 2 of the digests"):
        parse_digests(f"# SHA512 HASH\n{line}\n")


def test_two_values_for_one_file_are_refused() -> None:
    with pytest.raises(Problem, match="two SHA512 values for name"):
        parse_digests(f"# SHA512 HASH\n{A}  name\n{B}  name\n")


def test_text_outside_of_a_heading_is_no_digest() -> None:
    assert parse_digests(f"{A}  name\n") == {}


def test_clearsigned_text_is_told_from_plain_text() -> None:
    assert is_clearsigned(b"\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n")
    assert not is_clearsigned(GENTOO.encode())


GOOD = "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 0123 somebody\n[GNUPG:] VALIDSIG 0123 2026-01-01\n"


def test_a_good_and_valid_signature_is_enough() -> None:
    assert judge(GOOD) == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("", "there is no good signature"),
        ("[GNUPG:] NODATA 3", "it holds no signature"),
        ("[GNUPG:] GOODSIG 0123 somebody", "there is no good signature"),
        ("[GNUPG:] ERRSIG 0123\n[GNUPG:] NO_PUBKEY 0123", "not in the keyring"),
        ("[GNUPG:] EXPKEYSIG 0123 somebody\n[GNUPG:] VALIDSIG 0123", "key has expired"),
        ("[GNUPG:] REVKEYSIG 0123 somebody\n[GNUPG:] VALIDSIG 0123", "revoked"),
        (GOOD + "[GNUPG:] BADSIG 4567 somebody else", "does not match"),
        ("gpg: GOODSIG VALIDSIG", "there is no good signature"),
    ],
)
def test_anything_less_says_why(status: str, reason: str) -> None:
    assert reason in judge(status)
