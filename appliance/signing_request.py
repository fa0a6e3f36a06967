"""A machine's signing request (PKCS #10): its public key, read and bounded. Pure.

Whatever else a request says (subject, extensions) is not looked at: the server knows whose it is.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from appliance.errors import Problem

LONGEST = 8192
"""Characters of a request; one for RSA with 4096 bits has 1700."""
RSA_BITS = range(2048, 4097)
PEM = re.compile(
    r"-----BEGIN CERTIFICATE REQUEST-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE REQUEST-----\s*"
)
SEQUENCE, INTEGER, BITS, OBJECT = 0x30, 0x02, 0x03, 0x06
# RFC 5480 2.1.1 and RFC 8017 A.1: the content octets of the identifiers.
EC_KEY = bytes.fromhex("2a8648ce3d0201")
RSA_KEY = bytes.fromhex("2a864886f70d010101")
CURVES = {bytes.fromhex("2a8648ce3d030107"): 65, bytes.fromhex("2b81040022"): 97}
"""P-256 and P-384 -> the octets of a point that is not compressed."""


@dataclass(frozen=True)
class SigningRequest:
    pem: str
    key: str
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER), hexadecimal."""


def read_request(text: str) -> SigningRequest:
    """A request with a key that is strong enough; raises Problem. Its own signature is not checked here."""
    if len(text) > LONGEST:
        raise Problem(f"the signing request has {len(text)} characters, expected at most {LONGEST}")
    found = PEM.fullmatch(text.strip())
    if not found:
        raise Problem("expected one CERTIFICATE REQUEST in PEM, as `openssl req -new` writes it")
    try:
        der = base64.b64decode("".join(found[1].split()), validate=True)
        outer = _whole(der, SEQUENCE, "the request")
        kind, inside, _ = _element(outer)
        if kind != SEQUENCE:
            raise Problem("the signing request does not begin with its content")
        _, _, rest = _element(inside)
        _, _, rest = _element(rest)
        kind, info, after = _element(rest)
        key = rest[: len(rest) - len(after)]
        if kind != SEQUENCE:
            raise Problem("the signing request has no public key at its place")
        _check_key(info)
    except (ValueError, binascii.Error, IndexError) as wrong:
        raise Problem("the signing request is no DER: it is damaged") from wrong
    lines = "\n".join(base64.b64encode(der).decode()[at : at + 64] for at in range(0, len(der) * 2, 64))
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{lines.strip()}\n-----END CERTIFICATE REQUEST-----\n"
    return SigningRequest(pem, hashlib.sha256(key).hexdigest())


def _check_key(info: bytes) -> None:
    kind, algorithm, rest = _element(info)
    bits = _whole(rest, BITS, "the public key")
    tag, name, parameters = _element(algorithm)
    if (kind, tag) != (SEQUENCE, OBJECT) or not bits or bits[0] != 0:
        raise ValueError("no public key")
    if name == EC_KEY:
        length = CURVES.get(_whole(parameters, OBJECT, "the curve"))
        if length is None or len(bits) != length + 1 or bits[1] != 4:
            raise Problem("the key is on another curve, expected P-256 or P-384")
    elif name == RSA_KEY:
        tag, modulus, _ = _element(_whole(bits[1:], SEQUENCE, "the key"))
        size = int.from_bytes(modulus, "big").bit_length()
        if tag != INTEGER or size not in RSA_BITS:
            raise Problem(f"the RSA key has {size} bits, expected {RSA_BITS[0]} to {RSA_BITS[-1]}")
    else:
        raise Problem("the key is of another kind, expected one on the curve P-256 or P-384, or RSA")


def _whole(der: bytes, tag: int, what: str) -> bytes:
    """The content of the only element there is."""
    found, content, rest = _element(der)
    if found != tag or rest:
        raise ValueError(f"{what} is not what it should be")
    return content


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, what follows) of the first element. Raises IndexError and ValueError."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 3:
            raise ValueError("a length that DER does not have here")
        length, start = int.from_bytes(der[2 : 2 + octets], "big"), 2 + octets
    if len(der) < start + length:
        raise ValueError("it ends in the middle of an element")
    return tag, der[start : start + length], der[start + length :]
