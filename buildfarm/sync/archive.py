"""One file with a whole tree in it: the tarball of webrsync, or a squashfs image."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from appliance.errors import Problem
from appliance.run import CommandFailed, run
from appliance.site_model import SyncKind
from buildfarm import openpgp
from buildfarm.sync import download
from buildfarm.sync.base import DIE_TOGETHER, Asked, Fetched, last_line, refusal
from buildfarm.sync.rsync import complaint, verify_manifest

SIGNATURES = (".gpgsig", ".asc", ".sig")
# Only against damage on the way: whoever can change the file can change these.
SUMS: Mapping[str, str] = {".sha512": "sha512", ".sha512sum": "sha512", ".sha256": "sha256", ".md5sum": "md5"}
SIGNED_SUMS = "sha512sum.txt"
SUM = re.compile(r"([0-9a-f]{128})[ \t]+\*?(\S+)")
HINT = "nothing was changed; if it goes on, tell who runs the mirror or name another uri"


def fetch(asked: Asked) -> Fetched | None:
    kept = asked.work / "archive"
    uri = asked.repository.uri
    try:
        got = download.fetch(uri, kept, validator=asked.validator)
    except download.Failed as failure:
        raise refusal(asked, str(failure), hint="is its uri right and the server there?") from failure
    if got is None:
        return None
    try:
        signed = _verify(asked, kept)
    except Problem as problem:
        # What cannot be trusted is not a start for anything.
        kept.unlink()
        raise refusal(asked, problem.message, hint=problem.hint or HINT) from problem
    with kept.open("rb") as source:
        revision = hashlib.file_digest(source, "sha256").hexdigest()[:40]

    def fill(target: Path) -> str:
        unpack = _unsquash if asked.repository.sync is SyncKind.SQUASHFS else _untar
        try:
            tree = unpack(kept, target.with_name("unpacked"))
        except CommandFailed as failure:
            raise refusal(
                asked, f"it cannot be unpacked: {last_line(failure.output)}", hint=HINT
            ) from failure
        if not signed:
            _check_manifest(asked, tree)
        tree.rename(target)
        kept.unlink()
        return revision

    return Fetched(got.validator, fill, revision=revision if signed else "")


def _verify(asked: Asked, file: Path) -> bool:
    """False when only the unpacked tree can tell. Raises Problem when the file is not to be trusted."""
    keyring, uri = asked.repository.keyring, asked.repository.uri
    if keyring is None:
        _check_sums(uri, file)
        return True
    if asked.repository.sync is SyncKind.SQUASHFS:
        _check_signed_sums(uri, file, keyring)
        return True
    for suffix in SIGNATURES:
        signature = download.small(f"{uri}{suffix}")
        if signature is not None:
            openpgp.verify_detached(file, signature, keyring, f"{uri}{suffix}")
            return True
    return False


def _check_manifest(asked: Asked, tree: Path) -> None:
    keyring = asked.repository.keyring
    assert keyring is not None
    reason = verify_manifest(tree, keyring)
    if reason:
        endings = ", ".join(SIGNATURES)
        raise refusal(
            asked,
            f"beside it is no signature ({endings}), and its Manifest does not verify: {complaint(reason)}",
            hint=HINT,
        )


def _check_sums(uri: str, file: Path) -> None:
    for suffix, algorithm in SUMS.items():
        text = download.small(f"{uri}{suffix}")
        if text is not None:
            with file.open("rb") as source:
                found = hashlib.file_digest(source, algorithm).hexdigest()
            if found not in text.decode(errors="replace").lower().split():
                raise Problem(f"its {algorithm} is {found}, {uri}{suffix} says another")
            return


def _check_signed_sums(uri: str, file: Path, keyring: Path) -> None:
    place, _, name = uri.rpartition("/")
    sums_uri = f"{place}/{SIGNED_SUMS}"
    text = download.small(sums_uri)
    if text is None:
        raise Problem(f"beside it is no {SIGNED_SUMS}", hint=f"{sums_uri} would have to be there, signed")
    signed = openpgp.verified_text(text, keyring, sums_uri).decode(errors="replace")
    listed = {found[2]: found[1] for found in SUM.finditer(signed)}
    with file.open("rb") as source:
        digest = hashlib.file_digest(source, "sha512").hexdigest()
    # `current` is a link to a dated file and not always listed by that name.
    expected = {listed[name]} if name in listed else set(listed.values())
    if digest not in expected:
        raise Problem(f"its SHA512 is {digest[:16]}..., which {sums_uri} does not list for {name}")


def _untar(archive: Path, place: Path) -> Path:
    """Unpack; the tree is the tarball's only directory, or the tarball itself."""
    place.mkdir()
    options = ["--no-same-owner", "--no-same-permissions", "--delay-directory-restore"]
    run(["tar", "--extract", *options, f"--file={archive}", f"--directory={place}"], prefix=DIE_TOGETHER)
    inside = list(place.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink() else place


def _unsquash(archive: Path, place: Path) -> Path:
    argv: list[str | Path] = ["unsquashfs", "-quiet", "-no-progress", "-no-xattrs", "-dest", place, archive]
    run(argv, prefix=DIE_TOGETHER)
    return place
