"""Signs with a hash where a thousand signatures are needed; the real signer has tests of its own."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem


@dataclass(frozen=True)
class FakeNotary:
    key: str = "key"

    def sign(self, path: Path, signature: Path, *, at: float | None = None) -> None:
        signature.write_text(self._hash(path.read_bytes()))

    def clearsign(self, text: str) -> bytes:
        return f"{self._hash(text.encode())}\n{text}".encode()

    def check(self, path: Path, signature: Path) -> None:
        if signature.read_text() != self._hash(path.read_bytes()):
            raise Problem(f"the signature of {path} is not good")

    def signed_text(self, signed: bytes, subject: str) -> bytes:
        said, _, text = signed.partition(b"\n")
        if said.decode() != self._hash(text):
            raise Problem(f"{subject}: the signature does not match")
        return text

    def _hash(self, text: bytes) -> str:
        return hashlib.sha256(self.key.encode() + text).hexdigest()
