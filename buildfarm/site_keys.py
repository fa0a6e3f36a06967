"""The site's own Secure Boot keys: makes them, signs EFI programs, hands out what machines enroll."""

import base64
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import CommandFailed, run
from buildfarm import efi
from buildfarm.signing import exclusive, in_enclave, signing_user

VARIABLES = ("PK", "KEK", "db")
"""UEFI 2.10, 32.3: the platform key allows changes of KEK, KEK those of db, and db is what may start."""
DAYS = 7300
"""No firmware looks at the date of a certificate; twenty years keep other tools from complaining."""
PUBLIC_SUFFIXES = (".crt", ".cer", ".esl", ".auth")
PROGRAMS = {
    "openssl": "openssl",
    "sbsign": "sbsigntool",
    "sbattach": "sbsigntool",
    "sbverify": "sbsigntool",
    "cert-to-efi-sig-list": "efitools",
    "sign-efi-sig-list": "efitools",
}
PLAIN = re.compile(r"[^A-Za-z0-9 ._-]")


@dataclass(frozen=True)
class Certificate:
    """One of the site's certificates."""

    variable: str
    """PK, KEK or db: where it is enrolled."""
    path: Path
    subject: str
    sha256: str
    ends: str
    """The day it ends, as openssl writes it."""


@dataclass(frozen=True)
class SiteKeys:
    """The directory `keys/secure-boot`: certificates for everyone, `signer` with the keys for their user."""

    home: Path

    @classmethod
    def below(cls, tree: Tree) -> "SiteKeys":
        """Those of a state directory."""
        return cls(tree.path / "keys" / "secure-boot")

    @property
    def exist(self) -> bool:
        return (self.home / "signer").exists()

    def make(self, site: str) -> None:
        """Make the three key pairs; raises Problem when there are some or a program is missing.

        They appear by one rename. `site` is a name that firmware setups will show.
        """
        check_programs()
        if os.geteuid() != 0:
            raise Problem("only root can become the user that signs", hint="run it as root")
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self.home.parent / ".secure-boot.lock"):
            if self.exist:
                hint = "machines trust them; to begin anew, move them away and enroll every machine again"
                raise Problem(f"{self.home} holds the site's keys already", hint=hint)
            part = self.home.with_name(f"{self.home.name}.partial")
            shutil.rmtree(part, ignore_errors=True)
            _make_pairs(part / "signer", PLAIN.sub(" ", site).strip() or "DistServer")
            for file in sorted((part / "signer").iterdir()):
                if file.suffix in PUBLIC_SUFFIXES:
                    shutil.copyfile(file, part / file.name)
                    (part / file.name).chmod(0o644)
            part.chmod(0o755)
            part.rename(self.home)

    def certificates(self) -> list[Certificate]:
        """PK, KEK and db."""
        return [_read(name, self.home / f"{name}.crt") for name in VARIABLES]

    @property
    def identity(self) -> str:
        """Changes with the key that signs; empty when there is none."""
        return hashlib.sha256((self.home / "db.cer").read_bytes()).hexdigest() if self.exist else ""

    def enrolment(self) -> Mapping[str, bytes]:
        """What a machine in setup mode is given, by file name, in the order it has to be written."""
        return {f"{name}.auth": (self.home / f"{name}.auth").read_bytes() for name in reversed(VARIABLES)}

    def sign(self, program: Path, output: Path) -> None:
        """Write the program with the site's signature; the same program gives the same bytes.

        A signature holds the time it was made: the first one of each program is kept. Raises Problem when
        the file is no EFI program or its signature does not verify.
        """
        check_programs()
        if not efi.processor(program):
            hint = "a kernel needs CONFIG_EFI_STUB=y"
            raise Problem(f"{program} is no EFI program and cannot be signed", hint=hint)
        part = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            shutil.copyfile(program, part)
            run(["sbattach", "--attach", self._signature(program), part])
            self._verify(part)
            part.replace(output)
        finally:
            part.unlink(missing_ok=True)

    def _signature(self, program: Path) -> Path:
        image = program.read_bytes()
        kept = self.home / "signatures" / f"{hashlib.sha256(image).hexdigest()}-{self.identity[:16]}"
        if not kept.exists():
            words = [
                "sbsign",
                "--detached",
                "--key",
                "db.key",
                "--cert",
                "db.crt",
                "--output",
                "output",
                "input",
            ]
            said = in_enclave(self.home / "signer", words, mode="file", stdin=image)
            kept.parent.mkdir(exist_ok=True)
            part = kept.with_name(f"{kept.name}.{os.getpid()}")
            # Before it sbsign says what it does.
            part.write_bytes(base64.b64decode(said.splitlines()[-1]))
            part.replace(kept)
        return kept

    def _verify(self, program: Path) -> None:
        try:
            run(["sbverify", "--cert", self.home / "db.crt", program])
        except CommandFailed as failed:
            said = (failed.output.strip().splitlines() or ["sbverify says nothing"])[-1]
            raise Problem(f"the signature of {program} is not good: {said}") from failed


def check_programs() -> None:
    """Raises Problem that names the Debian packages which signing needs and this host lacks."""
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if missing:
        hint = f"apt-get install {' '.join(missing)}"
        raise Problem(f"Secure Boot needs {', '.join(missing)} on this host", hint=hint)


def _make_pairs(place: Path, site: str) -> None:
    """Keys, certificates, signature lists and signed updates of the variables, made by their own user."""
    user = signing_user()
    place.mkdir(parents=True)
    os.chown(place, user.pw_uid, user.pw_gid)
    place.chmod(0o700)
    owner = str(uuid.uuid4())
    for name in VARIABLES:
        kind = ["req", "-new", "-x509", "-newkey", "rsa:2048", "-noenc", "-sha256", "-days", str(DAYS)]
        subject = f"/CN={site} Secure Boot {name}"
        pair = ["-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.crt"]
        in_enclave(place, ["openssl", *kind, *pair], mode="keep")
    for name, signed_by in (("PK", "PK"), ("KEK", "PK"), ("db", "KEK")):
        der = ["openssl", "x509", "-in", f"{name}.crt", "-outform", "DER", "-out", f"{name}.cer"]
        esl = ["cert-to-efi-sig-list", "-g", owner, f"{name}.crt", f"{name}.esl"]
        key = ["-g", owner, "-k", f"{signed_by}.key", "-c", f"{signed_by}.crt"]
        auth = ["sign-efi-sig-list", *key, name, f"{name}.esl", f"{name}.auth"]
        for program in (der, esl, auth):
            in_enclave(place, program, mode="keep")


def _read(variable: str, path: Path) -> Certificate:
    words = ["-noout", "-subject", "-enddate", "-fingerprint", "-sha256", "-nameopt", "RFC2253"]
    said = run(["openssl", "x509", "-in", path, *words]).stdout
    fields = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    fingerprint = next(value for name, value in fields.items() if "ingerprint" in name)
    return Certificate(
        variable, path, fields["subject"], fingerprint.replace(":", "").lower(), fields["notAfter"]
    )
