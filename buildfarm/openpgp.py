"""Checks OpenPGP signatures against a keyring file and nothing else."""

import base64
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import Problem
from appliance.run import CommandFailed, run

CLEARSIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
# GnuPG's doc/DETAILS: a good signature by a usable key says GOODSIG and VALIDSIG; these say why it is not.
REASONS = {
    "BADSIG": "the signature does not match",
    "ERRSIG": "the signature cannot be checked",
    "EXPKEYSIG": "the signing key has expired",
    "EXPSIG": "the signature has expired",
    "NO_PUBKEY": "it is signed by a key that is not in the keyring",
    "NODATA": "it holds no signature",
    "REVKEYSIG": "the signing key was revoked",
}
PRECISE_FIRST = ("NO_PUBKEY", "REVKEYSIG", "EXPKEYSIG", "EXPSIG", "BADSIG", "NODATA", "ERRSIG")


def dearmor(text: bytes) -> bytes:
    """The binary form of one armored block (RFC 4880, 6.2)."""
    lines = text.strip().replace(b"\r", b"").split(b"\n")
    start = lines.index(b"") + 1 if b"" in lines else 1
    body = [line for line in lines[start:] if line and not line.startswith((b"=", b"-----"))]
    return base64.b64decode(b"".join(body), validate=True)


def key_created(key: bytes) -> int:
    """When the first key of a binary keyring was made, in seconds since the epoch (RFC 4880, 4.2, 5.5.2)."""
    head = key[0] if key else 0
    # In the old format the low bits say how long the length is; in the new one its first octet does.
    length = (1, 2, 4, 0)[head & 3] if head & 0x40 == 0 else 1 if key[1:2] < b"\xc0" else 2
    tag = head >> 2 & 0xF if head & 0x40 == 0 else head & 0x3F
    body = key[1 + length :]
    if head & 0x80 == 0 or tag != 6 or body[:1] != b"\x04" or len(body) < 5:
        raise Problem("the keyring does not begin with an OpenPGP public key of version 4")
    return int.from_bytes(body[1:5], "big")


def is_clearsigned(text: bytes) -> bool:
    return text.lstrip().startswith(CLEARSIGNED)


def verified_text(text: bytes, keyring: Path, subject: str) -> bytes:
    """The part of a clearsigned text that a key of the keyring signed; text around it is not returned."""
    with tempfile.TemporaryDirectory(prefix="openpgp-") as name:
        home = Path(name)
        (home / "text").write_bytes(text)
        out = home / "signed"
        _verify(home, keyring, ["--output", str(out), "--verify", str(home / "text")], subject)
        return out.read_bytes()


def verify_detached(file: Path, signature: bytes, keyring: Path, subject: str) -> None:
    """Raise Problem unless `signature` is a good one of `file` by a key of the keyring."""
    with tempfile.TemporaryDirectory(prefix="openpgp-") as name:
        home = Path(name)
        (home / "signature").write_bytes(signature)
        _verify(home, keyring, ["--verify", str(home / "signature"), str(file)], subject)


def judge(status: str) -> str:
    """Why GnuPG's status lines do not prove a good signature; empty when they do."""
    words = [line.split()[1] for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    bad = [word for word in PRECISE_FIRST if word in words]
    if bad:
        return REASONS[bad[0]]
    return "" if "GOODSIG" in words and "VALIDSIG" in words else "there is no good signature"


@contextmanager
def home(keyring: Path) -> Iterator[Path]:
    """A GnuPG home directory with the keys of a keyring and nothing else."""
    with tempfile.TemporaryDirectory(prefix="openpgp-") as name:
        _import(Path(name), keyring)
        yield Path(name)


def _gpg(home: Path) -> list[str]:
    return ["gpg", "--homedir", str(home), "--batch", "--no-tty", "--no-autostart", "--quiet"]


def _import(home: Path, keyring: Path) -> None:
    try:
        run([*_gpg(home), "--import", keyring])
    except CommandFailed as failure:
        last = failure.output.strip().splitlines()[-1:] or ["no keys in it"]
        raise Problem(f"gpg cannot read the keyring {keyring}: {last[0]}") from failure


def _verify(home: Path, keyring: Path, arguments: Sequence[str], subject: str) -> None:
    status = home / "status"
    gpg = _gpg(home)
    _import(home, keyring)
    # The keyring is the whole trust decision: --trust-model always leaves expiry and revocation in force.
    offline = ["--trust-model", "always", "--no-auto-key-retrieve", "--status-file", str(status)]
    run([*gpg, *offline, *arguments], ok=range(256))
    reason = judge(status.read_text(errors="replace") if status.exists() else "")
    if reason:
        raise Problem(f"{subject}: {reason}", hint=f"the keyring is {keyring}; nothing was kept")
