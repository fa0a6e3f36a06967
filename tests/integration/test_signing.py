"""The release key: whose it is, what it signs, and how one that was root's is taken over."""

import os
import pwd
import shutil
import time
from pathlib import Path

import pytest

from appliance.channels import Channels
from appliance.cli import main
from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import Argument, run
from appliance.statement import Statement, write
from appliance.web_keys import WebKeys
from buildfarm import openpgp
from buildfarm.signing import OWNER, USER, Signer, verify

TEXT = "distserver-channel 1\nprofile vm\n"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    """In a directory that is closed to every other user: pytest's own."""
    made = Signer(tmp_path_factory.mktemp("keys") / "keys")
    made.ready()
    return made


def test_only_the_signers_user_can_read_the_private_key(signer: Signer) -> None:
    private = list((signer.home / "signer" / "private-keys-v1.d").iterdir())
    assert len(private) == 1
    for place in (signer.home / "signer", *private):
        assert place.stat().st_uid == pwd.getpwnam(USER).pw_uid
        assert place.stat().st_mode & 0o77 == 0
    assert signer.public_keyring().stat().st_mode & 0o777 == 0o644
    assert pwd.getpwnam(USER).pw_uid != 0


def test_a_signature_fits_its_file_and_no_other(signer: Signer, tmp_path: Path) -> None:
    text, signature = tmp_path / "manifest", tmp_path / "manifest.sig"
    text.write_text("one\n")
    signer.sign(text, signature)
    verify(signer.public_keyring(), text, signature)
    text.write_text("two\n")
    with pytest.raises(Problem, match=r"is not good: .*BAD signature"):
        signer.check(text, signature)


def test_a_signature_of_a_given_time_has_the_same_bytes_whenever_it_is_made(
    signer: Signer, tmp_path: Path
) -> None:
    text, keyring = tmp_path / "medium", signer.public_keyring()
    text.write_text("distserver-medium 1\n")
    born = openpgp.key_created(keyring.read_bytes())
    # A time before the key was made is taken as the key's: no verifier believes an older one.
    for number, at in enumerate((born + 86400.5, born + 86400, born + 90000, 0, born)):
        signer.sign(text, tmp_path / f"{number}", at=at)
        verify(keyring, text, tmp_path / f"{number}")
    one, same, later, epoch, first = [(tmp_path / f"{number}").read_bytes() for number in range(5)]
    assert one == same
    assert epoch == first
    assert len({one, later, epoch}) == 3
    now = time.time()
    signer.sign(text, tmp_path / "present", at=now)
    signer.sign(text, tmp_path / "past", at=now)
    assert (tmp_path / "present").read_bytes() == (tmp_path / "past").read_bytes()
    text.write_text("distserver-medium 2\n")
    signer.sign(text, tmp_path / "other", at=born + 86400)
    assert (tmp_path / "other").read_bytes() != one
    signer.sign(text, tmp_path / "now")
    said = run(["gpgv", "--keyring", keyring, "--status-fd", "1", tmp_path / "now", text]).stdout
    made = next(line.split()[4] for line in said.splitlines() if "VALIDSIG" in line)
    assert abs(int(made) - time.time()) < 3600


def test_the_time_of_a_key_is_the_one_gpg_shows(signer: Signer) -> None:
    listed = run(["gpg", "--show-keys", "--with-colons", signer.public_keyring()]).stdout
    created = next(line.split(":")[5] for line in listed.splitlines() if line.startswith("pub:"))
    assert openpgp.key_created(signer.public_keyring().read_bytes()) == int(created)


def test_a_clearsigned_text_is_text_and_signature_in_one(signer: Signer, tmp_path: Path) -> None:
    signed = signer.clearsign(TEXT)
    assert TEXT.encode() in signed
    assert signer.signed_text(signed, "it").decode() == TEXT
    with pytest.raises(Problem, match="it: the signature does not match"):
        signer.signed_text(signed.replace(b"profile vm", b"profile xx"), "it")
    # What a machine does with nothing but gpgv.
    (tmp_path / "channel").write_bytes(signed)
    keyring = signer.public_keyring()
    run(["gpgv", "--keyring", keyring, "--output", tmp_path / "text", tmp_path / "channel"])
    assert (tmp_path / "text").read_text() == TEXT


def test_what_a_key_of_another_server_signed_is_not_believed(signer: Signer, tmp_path: Path) -> None:
    other = Signer(tmp_path / "other")
    with pytest.raises(Problem, match="not in the keyring"):
        signer.signed_text(other.clearsign(TEXT), "it")


def test_gpg_leaves_no_process_and_no_socket(signer: Signer) -> None:
    signer.clearsign(TEXT)
    uid = pwd.getpwnam(USER).pw_uid
    assert [
        place for place in Path("/proc").glob("[0-9]*") if place.exists() and place.stat().st_uid == uid
    ] == []
    assert [place.name for place in (signer.home / "signer").rglob("S.*")] == []


def test_a_killed_signing_is_followed_by_one_that_works(signer: Signer) -> None:
    """Nothing of the killed one is left in the key's home, since gpg worked on a copy."""
    child = os.fork()
    if child == 0:
        try:
            while True:
                signer.clearsign(TEXT)
        finally:
            os._exit(0)
    before = sorted(place.name for place in (signer.home / "signer").rglob("*"))
    os.kill(child, 9)
    os.waitpid(child, 0)
    assert signer.clearsign(TEXT)
    assert sorted(place.name for place in (signer.home / "signer").rglob("*")) == before


def test_a_key_that_was_roots_is_taken_over(tmp_path: Path) -> None:
    home = tmp_path / "keys"
    home.mkdir(mode=0o700)
    gpg: list[Argument] = ["gpg", "--homedir", home, "--batch", "--quiet"]
    run([*gpg, "--passphrase", "", "--quick-generate-key", OWNER, "ed25519", "sign", "never"])
    run([*gpg, "--export", "--output", home / "public.gpg", f"={OWNER}"])
    run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"])
    public = (home / "public.gpg").read_bytes()
    shutil.copytree(home, tmp_path / "again", ignore=shutil.ignore_patterns("S.*"))
    for place in (home, tmp_path / "again"):
        signer = Signer(place)
        assert signer.signed_text(signer.clearsign(TEXT), "it").decode() == TEXT
        assert (place / "public.gpg").read_bytes() == public
        assert not (place / "private-keys-v1.d").exists()
        # A take-over that was killed before the old copy went.
        (place / "private-keys-v1.d").mkdir()
        signer.ready()
        assert not (place / "private-keys-v1.d").exists()


def test_a_channel_is_believed_with_the_key_it_was_signed_with(signer: Signer, tmp_path: Path) -> None:
    said = Statement("vm", "stable", "20260101-00000000000a", 7, "2026-01-01T00:00:00Z")
    channels = Channels(tmp_path / "channels", signer.signed_text)
    channels.put(said, signer.clearsign(write(said)))
    assert channels.get("vm", "stable") == said
    other = Signer(tmp_path / "other")
    assert Channels(tmp_path / "channels", other.signed_text).get("vm", "stable") is None


def test_the_key_is_made_when_the_site_is(tmp_path: Path) -> None:
    assert main(["--state", str(tmp_path / "state"), "init", str(tmp_path / "site")]) == 0
    authority = WebKeys.below(Tree(tmp_path / "state")).authority
    assert "BEGIN CERTIFICATE" in authority.read_text()
    signer = Signer(tmp_path / "state" / "keys")
    public = (signer.home / "public.gpg").read_bytes()
    assert signer.signed_text(signer.clearsign(TEXT), "it").decode() == TEXT
    assert (signer.home / "public.gpg").read_bytes() == public
