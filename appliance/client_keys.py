"""The authority for installed machines: the certificate of their door, and theirs. Root's alone."""

import os
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.durable import sync
from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import CommandFailed, run
from appliance.web_keys import WebKeys
from appliance.web_settings import WebSettings

DISKS = "disks.key"
DAYS = 90
"""Of a machine's certificate. One that was away for longer fetches the next one, which waits for its key."""
EXTENSIONS = """\
[machine]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
START, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


@dataclass(frozen=True)
class ClientKeys:
    """The directory `keys/clients`: ca.crt for all, server.pem for the boot process, the rest for root."""

    pair: WebKeys
    """Authority and server certificate, kept in the same way as those of the web page; another authority."""

    @classmethod
    def below(cls, tree: Tree) -> "ClientKeys":
        return cls(WebKeys(tree.path / "keys" / "clients"))

    @property
    def authority(self) -> Path:
        """What machines are told to trust."""
        return self.pair.authority

    @property
    def served(self) -> Path:
        """Key and certificate of the door, one file."""
        return self.pair.served

    def make_authority(self, site: str) -> None:
        """Unless there is one: a release tells machines whom to trust, also when nothing was served yet."""
        self.pair.make_authority(_name(site))

    def keep(self, site: str, names: Iterable[str], *, group: int) -> bool:
        """Have an authority, and a certificate of the door for these names; whether it is another one."""
        changed = self.pair.keep(WebSettings(), _name(site), names, group=group)
        self._keep_disks_key(group)
        return changed

    def disks_key(self) -> bytes:
        """What keys of containers are sealed with. Raises Problem when it is not there."""
        try:
            return (self.pair.home / DISKS).read_bytes()
        except FileNotFoundError as missing:
            raise Problem(
                "there is no key for keys of disks yet", hint="`distserver up` makes it"
            ) from missing

    def _keep_disks_key(self, group: int) -> None:
        """Made once; the boot process reads it, nobody else but root."""
        place = self.pair.home / DISKS
        if not place.exists():
            part = place.with_name(f".{DISKS}")
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as sink:
                sink.write(secrets.token_bytes(32))
            # Without it what machines hand over is lost: it is on the disk before anything is sealed with it.
            sync(part)
            part.replace(place)
            sync(place.parent)
        os.chown(place, -1, group)

    def sign(self, request: str, mac: str) -> str:
        """The certificate of a machine, PEM. Raises Problem for a request its own key did not sign."""
        home = self.pair.home / "authority"
        if not (home / "ca.key").exists():
            raise Problem("there is no authority for clients yet", hint="`distserver up` makes it")
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            place = Path(scratch)
            (place / "request").write_text(request)
            (place / "extensions").write_text(EXTENSIONS)
            words: list[str | Path] = ["openssl", "x509", "-req", "-in", place / "request", "-sha256"]
            words += ["-CA", self.authority, "-CAkey", home / "ca.key", "-days", str(DAYS)]
            words += ["-set_serial", f"0x{secrets.randbits(127):x}", "-subj", f"/CN=machine {mac}"]
            words += ["-extfile", place / "extensions", "-extensions", "machine"]
            try:
                said = run(words).stdout
            except CommandFailed as failed:
                raise Problem("the signing request is not signed by its own key") from failed
        start, end = said.find(START), said.find(END)
        return said[start : end + len(END)] + "\n"


def _name(site: str) -> str:
    return f"{site} clients"
