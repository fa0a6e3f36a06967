"""The key releases are signed with, made at first use and never leaving its directory."""

from dataclasses import dataclass
from pathlib import Path

from appliance.run import run

OWNER = "DistServer releases"


@dataclass(frozen=True)
class Signer:
    """A GnuPG home with one ed25519 key."""

    home: Path

    def sign(self, path: Path, signature: Path) -> None:
        """Write the detached binary signature of a file."""
        self._ready()
        signature.unlink(missing_ok=True)
        self._gpg("--local-user", f"={OWNER}", "--detach-sign", "--output", str(signature), str(path))

    def public_keyring(self) -> Path:
        """The public key as a binary keyring, as gpgv --keyring reads it."""
        self._ready()
        return self.home / "public.gpg"

    def _ready(self) -> None:
        exported = self.home / "public.gpg"
        if exported.exists():
            return
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.chmod(0o700)
        if OWNER not in self._gpg("--list-secret-keys", "--with-colons"):
            self._gpg("--passphrase", "", "--quick-generate-key", OWNER, "ed25519", "sign", "never")
        part = exported.with_suffix(".partial")
        part.unlink(missing_ok=True)
        self._gpg("--export", "--output", str(part), f"={OWNER}")
        part.rename(exported)

    def _gpg(self, *arguments: str) -> str:
        # The agent gpg starts would outlive us and keep the home busy; it ends with its home's socket.
        try:
            return run(["gpg", "--homedir", self.home, "--batch", "--quiet", *arguments]).stdout
        finally:
            run(["gpgconf", "--homedir", self.home, "--kill", "gpg-agent"])


def verify(keyring: Path, path: Path, signature: Path) -> None:
    """Raises CommandFailed when the signature is not by a key of the keyring."""
    run(["gpgv", "--keyring", keyring, signature, path])
