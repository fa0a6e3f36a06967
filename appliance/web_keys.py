"""The web page's certificate: of an authority of this server's own, or the site's; renewed in time."""

# The authority's key stays with root. What the web process reads is one file with key and certificate, put in
# place by one rename.

import contextlib
import fcntl
import os
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import CommandFailed, run
from appliance.secret import check_secret
from appliance.web_settings import WebSettings

AUTHORITY_DAYS = 3650
DAYS = 90
RENEW_SECONDS = 30 * 86400
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-sha256"]
CONFIG = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True)
class WebKeys:
    """The directory `keys/web`: ca.crt for everyone, server.pem for the web process, the rest for root."""

    home: Path

    @classmethod
    def below(cls, tree: Tree) -> "WebKeys":
        return cls(tree.path / "keys" / "web")

    @property
    def authority(self) -> Path:
        """What browsers and programs are told to trust."""
        return self.home / "ca.crt"

    @property
    def served(self) -> Path:
        """Key and certificates of the server, one file."""
        return self.home / "server.pem"

    def make_authority(self, site: str) -> None:
        """Unless there is one. It appears by one rename of its key, after the certificate is there."""
        with self._alone():
            self._make_authority(site)

    def keep(self, settings: WebSettings, site: str, names: Iterable[str], *, group: int) -> bool:
        """Have a certificate for these names that lasts; whether it is another than before.

        `group` is that of the web process, which alone may read it. Raises Problem for one of the site's
        that is no pair of certificate and key.
        """
        with self._alone():
            if settings.certificate and settings.key:
                return self._put(_own(settings.certificate, settings.key), "", group)
            self._make_authority(site)
            wanted = ",".join(sorted({_alternative(name) for name in names}))
            known = self.home / "authority" / "names"
            if self._is_good() and known.exists() and known.read_text() == wanted:
                return self._put(self.served.read_bytes(), wanted, group)
            return self._put(self._issue(site, wanted), wanted, group)

    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, as browsers show it."""
        said = run(["openssl", "x509", "-in", self.authority, "-noout", "-fingerprint", "-sha256"]).stdout
        return said.strip().partition("=")[2]

    def _make_authority(self, site: str) -> None:
        key = self.home / "authority" / "ca.key"
        if key.exists():
            return
        with self._scratch(f"{_plain(site)} DistServer", "DNS:none") as place:
            config: list[str | Path] = ["-config", place / "config", "-extensions", "authority"]
            made: list[str | Path] = ["-keyout", place / "ca.key", "-out", place / "ca.crt"]
            run(["openssl", "req", "-new", "-x509", *EC, "-days", str(AUTHORITY_DAYS), *config, *made])
            (place / "ca.crt").chmod(0o644)
            (place / "ca.crt").replace(self.authority)
            (place / "ca.key").replace(key)

    def _is_good(self) -> bool:
        """Whether the certificate is of this authority and lasts for a while."""
        if not self.served.exists():
            return False
        try:
            run(["openssl", "x509", "-in", self.served, "-noout", "-checkend", str(RENEW_SECONDS)])
            run(["openssl", "verify", "-CAfile", self.authority, self.served])
        except CommandFailed:
            return False
        return True

    def _issue(self, site: str, names: str) -> bytes:
        with self._scratch(_plain(site), names) as place:
            key, asked, given = place / "key", place / "request", place / "certificate"
            run(["openssl", "req", "-new", *EC, "-config", place / "config", "-keyout", key, "-out", asked])
            authority: list[str | Path] = [
                "-CA",
                self.authority,
                "-CAkey",
                self.home / "authority" / "ca.key",
            ]
            extensions: list[str | Path] = ["-extfile", place / "config", "-extensions", "server"]
            serial = ["-set_serial", f"0x{secrets.randbits(127):x}"]
            request: list[str | Path] = [
                "openssl",
                "x509",
                "-req",
                "-in",
                asked,
                "-out",
                given,
                "-days",
                str(DAYS),
                "-sha256",
            ]
            run([*request, *authority, *extensions, *serial])
            return key.read_bytes() + given.read_bytes()

    def _put(self, pem: bytes, names: str, group: int) -> bool:
        """Whether it was another one. Its owner is root: the web process reads it and cannot change it."""
        is_new = not self.served.exists() or self.served.read_bytes() != pem
        if not is_new and self.served.stat().st_gid == group:
            return False
        part = self.home / "authority" / "server.pem"
        part.touch(mode=0o600)
        part.write_bytes(pem)
        os.chown(part, os.geteuid(), group)
        part.chmod(0o640)
        part.replace(self.served)
        (self.home / "authority" / "names").write_text(names)
        return is_new

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not shutil.which("openssl"):
            raise Problem(
                "certificates are made with openssl, which is not there", hint="apt-get install openssl"
            )
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "authority").mkdir(mode=0o700, exist_ok=True)
        with (self.home / "authority" / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _scratch(self, name: str, names: str) -> Iterator[Path]:
        """A directory for root alone, on the same file system, with openssl's configuration in it."""
        with tempfile.TemporaryDirectory(dir=self.home / "authority") as scratch:
            place = Path(scratch)
            (place / "config").write_text(CONFIG.format(name=name, names=names))
            yield place


def _own(certificate: Path, key: Path) -> bytes:
    check_secret(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError) as error:
        said = f"{certificate} and {key} are no certificate and its key: {error}"
        raise Problem(said, hint="PEM files, the key without a passphrase") from error
    return key.read_bytes() + b"\n" + certificate.read_bytes()


def _alternative(name: str) -> str:
    try:
        return f"IP:{ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def _plain(name: str) -> str:
    return "".join(one for one in name if one.isascii() and (one.isalnum() or one in " .-"))[:40] or "site"
