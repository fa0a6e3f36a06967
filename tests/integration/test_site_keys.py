"""The site's Secure Boot keys: whose they are, what they sign, and what a site without them does."""

import pwd
import shutil
import time
from pathlib import Path

import pytest

from appliance.cli import main
from appliance.desks.secure_boot import SecureBootDesk
from appliance.errors import Problem
from appliance.live import LiveSite
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import CommandFailed, run
from buildfarm.boot_files import sign_boot_files
from buildfarm.signing import USER
from buildfarm.site_keys import VARIABLES, SiteKeys
from pxe.images import IPXE, make_boot_directory

PROGRAM = IPXE / "snponly.efi"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> SiteKeys:
    """In a directory that is closed to every other user: pytest's own."""
    made = SiteKeys(tmp_path_factory.mktemp("state") / "keys" / "secure-boot")
    made.make("Acme, Inc.")
    return made


def test_only_the_signers_user_can_read_the_private_keys(keys: SiteKeys) -> None:
    private = sorted((keys.home / "signer").glob("*.key"))
    assert [one.stem for one in private] == sorted(VARIABLES)
    for place in (keys.home / "signer", *private):
        assert place.stat().st_uid == pwd.getpwnam(USER).pw_uid
        assert place.stat().st_mode & 0o77 == 0
    public = [one for one in keys.home.iterdir() if one.is_file()]
    assert {one.suffix for one in public} == {".crt", ".cer", ".esl", ".auth"}
    assert all(b"PRIVATE" not in one.read_bytes() for one in public)


def test_a_signed_program_verifies_with_the_sites_certificate_and_no_other(
    keys: SiteKeys, tmp_path: Path
) -> None:
    signed = tmp_path / "signed.efi"
    keys.sign(PROGRAM, signed)
    run(["sbverify", "--cert", keys.home / "db.crt", signed])
    with pytest.raises(CommandFailed):
        run(["sbverify", "--cert", keys.home / "KEK.crt", signed])
    with pytest.raises(CommandFailed):
        run(["sbverify", "--cert", keys.home / "db.crt", PROGRAM])


def test_the_same_program_gives_the_same_bytes_at_any_time(keys: SiteKeys, tmp_path: Path) -> None:
    """A signature holds the second it was made in."""
    first, second = tmp_path / "first.efi", tmp_path / "second.efi"
    other = tmp_path / "other.efi"
    other.write_bytes(PROGRAM.read_bytes() + bytes(512))
    keys.sign(PROGRAM, first)
    made = int(time.time())
    keys.sign(other, tmp_path / "other.signed.efi")
    while int(time.time()) == made:
        keys.sign(other, tmp_path / "other.signed.efi")
    keys.sign(PROGRAM, second)
    assert first.read_bytes() == second.read_bytes() != PROGRAM.read_bytes()


def test_a_program_that_has_a_signature_already_gets_the_sites_too(
    keys: SiteKeys, kernel: Path, tmp_path: Path
) -> None:
    found = sign_boot_files(keys, kernel, tmp_path)
    assert not isinstance(found, str)
    assert sorted(found) == ["kernel.efi", "loader.efi"]
    for one in found.values():
        run(["sbverify", "--cert", keys.home / "db.crt", one])
    assert "Debian Secure Boot" in run(["sbverify", "--list", found["kernel.efi"]]).stdout


def test_what_is_no_efi_program_is_not_signed(keys: SiteKeys, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is no EFI program"):
        keys.sign(Path("/bin/true"), tmp_path / "signed")
    assert sign_boot_files(keys, Path("/bin/true"), tmp_path) == (
        "the kernel is no EFI program, it needs CONFIG_EFI_STUB=y"
    )
    assert not list(tmp_path.iterdir())


def test_keys_that_are_there_are_never_replaced(keys: SiteKeys) -> None:
    before = keys.identity
    with pytest.raises(Problem, match="holds the site's keys already"):
        keys.make("Acme, Inc.")
    assert keys.identity == before


def test_every_uefi_boot_program_is_signed_when_there_is_a_key(keys: SiteKeys, tmp_path: Path) -> None:
    make_boot_directory(tmp_path, keys.sign)
    programs = [tmp_path / name for name in ("local-x64.efi", "snponly.efi")]
    for one in programs:
        run(["sbverify", "--cert", keys.home / "db.crt", one])


def test_a_site_without_keys_signs_nothing_until_it_makes_some(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state, site = tmp_path / "state", tmp_path / "site"
    shutil.copytree(example_site(), site)
    desk = SecureBootDesk(LiveSite(site), Tree(state))
    words = ["--state", str(state), "secureboot"]
    assert desk.signer() is None and desk.inputs() == []
    assert main([*words, "status", "--site", str(site)]) == 0
    assert "the site has no keys, nothing is signed" in capsys.readouterr().out
    assert main([*words, "init", "--site", str(site)]) == 0
    assert main([*words, "certificates", "--site", str(site), str(tmp_path / "stick")]) == 0
    assert {"PK.auth", "db.cer"} <= {one.name for one in (tmp_path / "stick").iterdir()}
    capsys.readouterr()
    assert main([*words, "status", "--site", str(site)]) == 0
    assert "CN=example Secure Boot db" in capsys.readouterr().out
    assert desk.signer() is not None and len(desk.inputs()) == 1


def test_a_site_may_have_keys_and_not_use_them(tmp_path: Path) -> None:
    state, site = tmp_path / "state", tmp_path / "site"
    shutil.copytree(example_site(), site)
    text = (site / "appliance.toml").read_text()
    (site / "appliance.toml").write_text(f"{text}\n[secure_boot]\nenabled = false\n")
    SiteKeys.below(Tree(state)).make("test")
    desk = SecureBootDesk(LiveSite(site), Tree(state))
    assert desk.signer() is None and desk.inputs() == []
    assert "enabled = false" in desk.sentence()
