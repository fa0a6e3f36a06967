"""Texts that are kept encrypted: a stream of HMAC-SHA256 over a counter, and an HMAC of the whole. Pure."""

# Encrypt-then-MAC with a pseudorandom function in counter mode (NIST SP 800-38A 6.5 with HMAC in place of the
# block cipher): the standard library has no cipher, and what is sealed here is a few lines long.

import hashlib
import hmac

from appliance.errors import Problem

NONCE_BYTES = 24
MAC_BYTES = 32


def seal(key: bytes, text: str, nonce: bytes) -> str:
    """Hexadecimal; `nonce` is NONCE_BYTES of randomness and never used again with this key."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    body = nonce + _stream(key, nonce, text.encode())
    return (body + _mac(key, body)).hex()


def unseal(key: bytes, sealed: str) -> str:
    """The text. Raises Problem when it was not sealed with this key, or was changed."""
    whole = bytes.fromhex(sealed)
    body, mac = whole[:-MAC_BYTES], whole[-MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, body)):
        raise Problem(
            "a stored key was not sealed with this server's own key",
            hint="restore keys/clients/disks.key of the state directory together with the store",
        )
    return _stream(key, body[:NONCE_BYTES], body[NONCE_BYTES:]).decode()


def _mac(key: bytes, body: bytes) -> bytes:
    return hmac.digest(_own(key, b"mac"), body, hashlib.sha256)


def _stream(key: bytes, nonce: bytes, data: bytes) -> bytes:
    own, out = _own(key, b"stream"), bytearray()
    for number in range(-(-len(data) // 32)):
        out += hmac.digest(own, nonce + number.to_bytes(8, "big"), hashlib.sha256)
    return bytes(a ^ b for a, b in zip(data, out, strict=False))


def _own(key: bytes, use: bytes) -> bytes:
    return hmac.digest(key, use, hashlib.sha256)
