"""Believes nothing that the site's release key did not sign; gpgv decides."""

import tempfile
from pathlib import Path

from distserver_client import programs
from distserver_client.errors import Damaged, Problem

SECONDS = 60.0


def check_file(key: Path, path: Path, signature: Path) -> None:
    """Raise Damaged unless the signature is a good one of the file."""
    _gpgv(key, [str(signature), str(path)], path.name)


def signed_text(key: Path, signed: bytes, subject: str) -> str:
    """The text of a clearsigned message; raises Damaged."""
    with tempfile.TemporaryDirectory(prefix="distserver-") as name:
        message, text = Path(name) / "message", Path(name) / "text"
        message.write_bytes(signed)
        _gpgv(key, ["--output", str(text), str(message)], subject)
        return text.read_text(errors="replace")


def _gpgv(key: Path, arguments: list[str], subject: str) -> None:
    if not key.is_file():
        raise Problem(f"there is no {key} to check the signature of {subject} with")
    # A machine with an empty battery lives in 2000, before the key was made.
    done = programs.run(
        ["gpgv", "--ignore-time-conflict", "--keyring", str(key), *arguments], seconds=SECONDS
    )
    if done.status == programs.MISSING:
        raise Problem("gpgv is not installed", hint="it comes with app-crypt/gnupg")
    if done.status:
        raise Damaged(f"the signature of {subject} is not good: {done.last_line}")
