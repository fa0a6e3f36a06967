"""Gets the stage a profile names: checked, then unpacked once under the hash of its archive."""

import hashlib
import shutil
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from appliance.errors import Problem
from appliance.model import Tree
from appliance.run import CommandFailed, run
from appliance.site_model import StageSource
from buildfarm import openpgp
from buildfarm.reference import exclusive, make_reference, workplace
from buildfarm.reference_recipes import MACHINES, USUAL, Variant, variants

Progress = Callable[[str], None]
Digests = Mapping[str, str]
"""Algorithm name as Gentoo writes it -> hex digest."""

REFERENCES: Mapping[str, tuple[Variant, str]] = {
    f"reference:{variant}" + ("" if processor == USUAL else f":{processor}"): (variant, processor)
    for processor, machine in MACHINES.items()
    for variant in variants(processor)
}
"""The locations of reference stages: the third word is the first one of the CHOST."""
ALGORITHMS: Mapping[str, str] = {"SHA512": "sha512", "BLAKE2B": "blake2b"}
HEX_LENGTH = 128
MAX_TEXT_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Stage:
    """A stage on disk. Nobody writes below `root`: it is the lower layer of overlays."""

    sha256: str
    archive: Path
    root: Path


def acquire(source: StageSource, tree: Tree, progress: Progress) -> Stage:
    """The stage of `source`, fetched, verified and unpacked when it is not there yet.

    Raises Problem, and leaves nothing behind, when it cannot be had or is not what it should be.
    """
    stages = tree.room("stages").resolve()
    if source.location.startswith("reference:"):
        if source.location not in REFERENCES:
            raise Problem(f"there is no stage {source.location}", hint=f"there are {', '.join(REFERENCES)}")
        variant, processor = REFERENCES[source.location]
        archive = make_reference(variant, tree, progress, processor=processor)
        with exclusive(stages / ".stage.lock"), workplace(stages, ".stage-") as place:
            return _enter(archive, _sha256(archive), place, stages, progress, link=True)
    with exclusive(stages / ".stage.lock"), workplace(stages, ".stage-") as place:
        if urlsplit(source.location).scheme in ("http", "https", "file"):
            return _acquire_url(source, place, stages, progress)
        return _acquire_file(source, place, stages, progress)


def parse_digests(text: str) -> dict[str, dict[str, str]]:
    """Digests by file name of a Gentoo .DIGESTS text; other algorithms than SHA512 and BLAKE2B are left out.

    The text has `# SHA512 HASH` headings, each followed by lines of `<hex>  <file name>`.
    """
    found: dict[str, dict[str, str]] = {}
    algorithm = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words[:1] == ["#"]:
            algorithm = words[1] if len(words) == 3 and words[2] == "HASH" else ""
        elif words and algorithm in ALGORITHMS:
            digest = words[0].lower()
            if len(words) != 2 or len(digest) != HEX_LENGTH or not set(digest) <= set("0123456789abcdef"):
                raise Problem(
                    f"line {number} of the digests is not a {algorithm} digest and a name: {line!r}"
                )
            if found.setdefault(words[1], {}).setdefault(algorithm, digest) != digest:
                raise Problem(f"the digests name two {algorithm} values for {words[1]}")
    return found


def _acquire_file(source: StageSource, place: Path, stages: Path, progress: Progress) -> Stage:
    path = Path(source.location)
    if not path.is_file():
        raise Problem(f"the stage {path} is not there", hint="give a path, a URL or reference:build")
    sha256 = _sha256(path)
    _check_pin(source, sha256)
    return _enter(path, sha256, place, stages, progress, link=False)


def _acquire_url(source: StageSource, place: Path, stages: Path, progress: Progress) -> Stage:
    url = source.location
    pinned = _present(stages, source.sha256) if source.sha256 else None
    if pinned:
        return pinned
    keyring = _keyring(source)
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    digests_url = source.digests or f"{url}.DIGESTS"
    text = _fetch_text(digests_url)
    signed = openpgp.is_clearsigned(text)
    if signed:
        text = openpgp.verified_text(text, keyring, digests_url)
    digests = parse_digests(text.decode(errors="replace")).get(name, {})
    if not digests:
        raise Problem(f"{digests_url} has no SHA512 or BLAKE2B digest for {name}")
    archive = _with_digests(stages, digests)
    if archive is None:
        archive = place / "download"
        progress(f"stage: fetching {url}")
        _download(url, archive)
        _check_digests(archive, digests, url)
    if source.signature or not signed:
        signature_url = source.signature or f"{url}.asc"
        openpgp.verify_detached(archive, _fetch_text(signature_url), keyring, signature_url)
    sha256 = _sha256(archive)
    _check_pin(source, sha256)
    stage = _enter(archive, sha256, place, stages, progress, link=True, digests=digests)
    progress(f"stage: {name} is signed by a key of {keyring}")
    return stage


def _keyring(source: StageSource) -> Path:
    if source.keyring is None:
        raise Problem(
            f"the stage {source.location} comes with a signature, but the site names no keyring to check it",
            hint="set the stage's keyring to a file of the public keys that may sign it",
        )
    if not source.keyring.is_file():
        raise Problem(f"the keyring {source.keyring} of the stage {source.location} is not there")
    return source.keyring


def _check_pin(source: StageSource, sha256: str) -> None:
    if source.sha256 and source.sha256.lower() != sha256:
        raise Problem(f"the stage {source.location} has SHA256 {sha256}, expected {source.sha256.lower()}")


def _check_digests(archive: Path, digests: Digests, subject: str) -> None:
    for algorithm, expected in sorted(digests.items()):
        found = _digest(archive, ALGORITHMS[algorithm])
        if found != expected:
            raise Problem(
                f"{subject} has {algorithm} {found}, its DIGESTS say {expected}",
                hint="the download is damaged or the mirror is not to be trusted; nothing was kept",
            )


def _fetch_text(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            text: bytes = answer.read(MAX_TEXT_BYTES + 1)
    except OSError as failure:
        raise Problem(f"cannot fetch {url}: {failure}") from failure
    if len(text) > MAX_TEXT_BYTES:
        raise Problem(f"{url} is longer than {MAX_TEXT_BYTES} bytes, expected a short text")
    return text


def _download(url: str, target: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, CHUNK_BYTES)
            announced = answer.headers.get("Content-Length")
    except OSError as failure:
        raise Problem(f"cannot fetch {url}: {failure}") from failure
    # http.client ends a short body like a complete one when it is read in pieces.
    if announced is not None and int(announced) != target.stat().st_size:
        raise Problem(f"{url} ended after {target.stat().st_size} of {announced} bytes", hint="try again")


def _enter(
    archive: Path,
    sha256: str,
    place: Path,
    stages: Path,
    progress: Progress,
    *,
    link: bool,
    digests: Digests | None = None,
) -> Stage:
    """Unpack a verified archive and publish both by one rename; `link`: the archive is ours to hard-link."""
    present = _present(stages, sha256)
    if present:
        return present
    new = place / "new"
    (new / "root").mkdir(parents=True)
    if link:
        (new / "archive").hardlink_to(archive)
    else:
        shutil.copyfile(archive, new / "archive")
        if _sha256(new / "archive") != sha256:
            raise Problem(f"the stage {archive} changed while it was read", hint="try again")
    for algorithm, digest in (digests or {}).items():
        (new / algorithm).write_text(f"{digest}\n")
    progress(f"stage: unpacking {sha256[:12]}")
    keep = ["--numeric-owner", "--xattrs", "--xattrs-include=*.*"]
    try:
        run(["tar", "--extract", *keep, f"--file={new / 'archive'}", f"--directory={new / 'root'}"])
    except CommandFailed as failure:
        last = failure.output.strip().splitlines()[-1:] or ["no output"]
        raise Problem(f"the stage {archive} cannot be unpacked: {last[0]}") from failure
    new.rename(stages / sha256)
    return Stage(sha256, stages / sha256 / "archive", stages / sha256 / "root")


def _present(stages: Path, sha256: str) -> Stage | None:
    home = stages / sha256.lower()
    return Stage(home.name, home / "archive", home / "root") if (home / "archive").is_file() else None


def _with_digests(stages: Path, digests: Digests) -> Path | None:
    """The archive of an earlier, verified download with exactly these digests."""
    for algorithm, digest in sorted(digests.items()):
        for noted in sorted(stages.glob(f"*/{algorithm}")):
            if noted.read_text().strip() == digest:
                _check_digests(noted.parent / "archive", digests, str(noted.parent / "archive"))
                return noted.parent / "archive"
    return None


def _sha256(path: Path) -> str:
    return _digest(path, "sha256")


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
