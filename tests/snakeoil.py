"""Debian's well-known Secure Boot key: firmware with it enrolled, and signatures that firmware takes."""

import tempfile
from pathlib import Path

from appliance.run import run

HOME = Path("/usr/share/ovmf")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd")
"""Variables of UEFI_SECURE with the key's certificate as PK, KEK and db."""


def sign(program: Path, output: Path) -> None:
    """Write an EFI program with the key's signature to `output`, which may be the program."""
    with tempfile.TemporaryDirectory() as place:
        key = Path(place) / "key"
        # Its password is public: whoever has this key proves nothing.
        run(["openssl", "rsa", "-in", HOME / "PkKek-1-snakeoil.key", "-passin", "pass:snakeoil", "-out", key])
        run(["sbsign", "--key", key, "--cert", HOME / "PkKek-1-snakeoil.pem", "--output", output, program])
