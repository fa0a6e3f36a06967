"""Signs releases and channels with a key that only a user of its own can read, without a network."""

import fcntl
import os
import pwd
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.run import CommandFailed, run
from buildfarm import enclave, openpgp

OWNER = "DistServer releases"
USER = "distserver-signer"
OLD_HOME = ("private-keys-v1.d", "openpgp-revocs.d", "pubring.kbx", "pubring.kbx~", "trustdb.gpg")
"""What lay in the keys directory itself, belonging to root, before the signer had a user."""
SPACES = ("--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child=KILL", "--mount-proc")
SIGNATURE = re.compile(r"-----BEGIN PGP SIGNATURE-----.*?-----END PGP SIGNATURE-----\n", re.DOTALL)
SIGNED = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----.*?-----END PGP SIGNATURE-----\n", re.DOTALL)
PUBLIC = re.compile(r"-----BEGIN PGP PUBLIC KEY.*?-----END PGP PUBLIC KEY BLOCK-----\n", re.DOTALL)


class Notary(Protocol):
    """Who signs for the farm, and says what it signed."""

    def sign(self, path: Path, signature: Path, *, at: float | None = None) -> None:
        """Write the detached signature of a file, made now or `at` that time."""

    def clearsign(self, text: str) -> bytes:
        """The text with its signature around it."""

    def check(self, path: Path, signature: Path) -> None:
        """Raise Problem unless the signature is a good one of the file."""

    def signed_text(self, signed: bytes, subject: str) -> bytes:
        """What of a clearsigned text is signed; raises Problem."""


@dataclass(frozen=True)
class Signer:
    """The directory `keys`: public.gpg for everyone, and `signer`, a GnuPG home of the signer's user."""

    home: Path

    def sign(self, path: Path, signature: Path, *, at: float | None = None) -> None:
        """Write the detached binary signature of a file; it was checked against the public key.

        `at`, in seconds since the epoch, is the time it says it was made: ed25519 needs no random number
        (RFC 8032, 5.1.6), so the same text and time give the same bytes.
        """
        self.ready()
        clock = [] if at is None else ["--faked-system-time", f"{self._since_key(at)}!"]
        armored = self._signed(SIGNATURE, [*clock, "--armor", "--detach-sign"], path.read_bytes())
        signature.unlink(missing_ok=True)
        signature.write_bytes(openpgp.dearmor(armored))
        self.check(path, signature)

    def clearsign(self, text: str) -> bytes:
        self.ready()
        signed = self._signed(SIGNED, ["--clearsign"], text.encode())
        if self.signed_text(signed, "what was just signed").decode() != text:
            raise Problem("gpg signed another text than it was given")
        return signed

    def check(self, path: Path, signature: Path) -> None:
        try:
            verify(self.public_keyring(), path, signature)
        except CommandFailed as bad:
            said = (bad.output.strip().splitlines() or ["gpgv says nothing"])[-1]
            raise Problem(f"the signature of {path} is not good: {said}") from bad

    def signed_text(self, signed: bytes, subject: str) -> bytes:
        return openpgp.verified_text(signed, self.public_keyring(), subject)

    def public_keyring(self) -> Path:
        """The public key as a binary keyring, as gpgv --keyring reads it."""
        exported = self.home / "public.gpg"
        if not exported.exists():
            self.ready()
        return exported

    def ready(self) -> None:
        """Make the key and its user, or take over a key that root has; costs nothing when there is one."""
        private, exported = self.home / "signer", self.home / "public.gpg"
        left = [self.home / name for name in OLD_HOME if (self.home / name).exists()]
        if exported.exists() and private.exists() and not left:
            return
        if os.geteuid() != 0:
            raise Problem("only root can become the user that signs releases", hint="run it as root")
        user = signing_user()
        self.home.mkdir(parents=True, exist_ok=True)
        with exclusive(self.home / ".lock"):
            if not private.exists():
                self._make(user, left)
            for old in left:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            self.home.chmod(0o755)
            if not exported.exists():
                self._export(exported)

    def _since_key(self, at: float) -> int:
        """No signature is older than its key: gpgv would not believe one.

        The present second is let pass: a clock of GnuPG that is set to it goes on (gnupg_set_time).
        """
        moment = max(int(at), openpgp.key_created(self.public_keyring().read_bytes()))
        wait_until(lambda: None if int(time.time()) == moment else True, seconds=5.0, what="the next second")
        return moment

    def _make(self, user: pwd.struct_passwd, left: list[Path]) -> None:
        """`signer` appears by one rename, with a new key or with the one that was there."""
        part = self.home / "signer.partial"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o700)
        for old in left:
            (shutil.copytree if old.is_dir() else shutil.copyfile)(old, part / old.name)
        for place in (part, *part.rglob("*")):
            os.chown(place, user.pw_uid, user.pw_gid)
            place.chmod(0o700 if place.is_dir() else 0o600)
        if OWNER not in _gpg(part, ["--list-secret-keys", "--with-colons"]):
            words = ["--passphrase", "", "--quick-generate-key", OWNER, "ed25519", "sign", "never"]
            _gpg(part, words, mode="keep")
        part.rename(self.home / "signer")

    def _export(self, exported: Path) -> None:
        found = PUBLIC.search(_gpg(self.home / "signer", ["--armor", "--export", f"={OWNER}"]))
        if not found:
            raise Problem(f"{self.home / 'signer'} holds no key {OWNER!r}", hint="restore it from a backup")
        part = exported.with_suffix(".partial")
        part.write_bytes(openpgp.dearmor(found[0].encode()))
        part.chmod(0o644)
        part.rename(exported)

    def _signed(self, form: re.Pattern[str], how: list[str], text: bytes) -> bytes:
        words = ["--local-user", f"={OWNER}", *how, "--output", "-"]
        found = form.search(_gpg(self.home / "signer", words, stdin=text))
        if not found:
            raise Problem("gpg ended well and signed nothing")
        return found[0].encode()


def verify(keyring: Path, path: Path, signature: Path) -> None:
    """Raises CommandFailed when the signature is not by a key of the keyring."""
    run(["gpgv", "--keyring", keyring, signature, path])


def _gpg(keys: Path, arguments: list[str], *, mode: str = "read", stdin: bytes = b"") -> str:
    return in_enclave(keys, ["gpg", "--batch", "--quiet", "--no-tty", *arguments], mode=mode, stdin=stdin)


def in_enclave(keys: Path, program: Sequence[str], *, mode: str = "read", stdin: bytes = b"") -> str:
    """Run what needs a key as the signer: its own user, its own namespaces, no network, nothing left running.

    `mode` is enclave.py's. Raises Problem with the program's last words.
    """
    user = signing_user()
    prefix = ["setpriv", "--pdeathsig", "KILL", "--no-new-privs", "unshare", *SPACES]
    start = [sys.executable, "-I", enclave.__file__, str(keys), str(user.pw_uid), str(user.pw_gid), mode]
    try:
        return run([*start, *program], prefix=prefix, stdin=stdin).stdout
    except CommandFailed as failed:
        said = (failed.output.strip().splitlines() or ["it said nothing"])[-1]
        raise Problem(
            f"the signer cannot use the key in {keys}: {said}",
            hint=f"it runs {program[0]} as the user {USER} in namespaces of its own; see the log",
        ) from failed


def signing_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(USER)
    home = ["--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    try:
        run(["useradd", "--system", *home, USER])
    except CommandFailed as failed:
        raise Problem(
            f"there is no user {USER} and it cannot be added: {failed.output.strip()}",
            hint=f"useradd --system {' '.join(home)} {USER}",
        ) from failed
    return pwd.getpwnam(USER)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time in the block; `path` is the lock."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
