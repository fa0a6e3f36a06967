"""An rsync mirror: a working copy, verified by its signed Manifest when there is a keyring."""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path

from appliance.run import run
from buildfarm.snapshot import tree_hash, walk
from buildfarm.survey import own, read_timestamp
from buildfarm.sync.base import DIE_TOGETHER, Asked, Fetched, command, refusal
from buildfarm.sync.doubt import SKEW_SECONDS
from buildfarm.sync.local import stamp

# What Portage uses (lib/portage/sync/modules/rsync/rsync.py, _set_rsync_defaults) without what is only shown.
OPTIONS = [
    "--recursive", "--links", "--safe-links", "--perms", "--times", "--omit-dir-times", "--compress",
    "--force", "--whole-file", "--delete", "--chmod=u+rwX", "--timeout=180",
    "--exclude=/distfiles", "--exclude=/local", "--exclude=/packages", "--exclude=.git",
    # Without it times are compared in whole seconds, and two files written within one may be of one size.
    "--modify-window=-1",
]  # fmt: skip
TIMESTAMP = Path("metadata/timestamp.chk")
NAME = Path("profiles/repo_name")
PROBE = [
    "--recursive", "--links", "--safe-links", "--timeout=60", "--include=/metadata/", "--include=/profiles/",
    f"--include=/{TIMESTAMP}", f"--include=/{NAME}", "--exclude=*",
]  # fmt: skip
LOST_SHARE = 0.25
"""Of its files a mirror may take away so many at once; more is refused before they are gone here."""
SMALL = 100
TOO_MANY_DELETED = 25
MISMATCH = re.compile(r"Manifest mismatch for (.+?)\s*$", re.MULTILINE)
WIDE = {"COLUMNS": "4000", "NO_COLOR": "1", "TERM": "dumb"}
"""gemato breaks its lines for a terminal, and so the names in them."""


def fetch(asked: Asked) -> Fetched | None:
    """The time stamp first, as Portage does: most of the time it is all that has to be asked."""
    announced = _probe(asked)
    if announced and announced == asked.validator:
        return None
    tree = asked.work / "tree"
    tree.mkdir(exist_ok=True)
    _pull(asked, tree)
    validator = announced or stamp(tree)
    if validator == asked.validator:
        return None
    revision = _verified(asked, tree) if asked.repository.keyring else tree_hash(tree)[:40]

    return Fetched(
        validator, lambda target: revision, tree=tree, revision=revision, made_at=read_timestamp(announced)
    )


def _probe(asked: Asked) -> str:
    """The mirror's time stamp, empty when it has none; refuses a tree that can only be the wrong one.

    That costs nothing, while the working copy would have to be fetched again after it followed such a mirror.
    """
    place = asked.work / "probe"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    uri = asked.repository.uri.rstrip("/")
    command(asked, ["rsync", *PROBE, "--", f"{uri}/", f"{place}/"])
    name, announced = _text(place, NAME), _text(place, TIMESTAMP)
    if name != asked.name:
        found = f"says that it is {name}" if name else "has no profiles/repo_name"
        raise refusal(
            asked, f"the tree at {uri} {found}", hint="is its uri right, with the name of its module?"
        )
    before = read_timestamp(asked.validator)
    if read_timestamp(announced) < before - SKEW_SECONDS and read_timestamp(announced):
        reason = f"what the mirror has is of {announced}, here is {asked.validator}"
        raise refusal(asked, reason, hint=f"if that is right: distserver sync {asked.name} --force")
    return announced


def _pull(asked: Asked, tree: Path) -> None:
    uri = asked.repository.uri.rstrip("/")
    files = sum(len(names) for _, names in walk(tree))
    limit = [] if asked.force or files < SMALL else [f"--max-delete={int(files * LOST_SHARE)}"]
    allowed = (0, TOO_MANY_DELETED)
    done = command(asked, ["rsync", *OPTIONS, *limit, "--", f"{uri}/", f"{tree}/"], ok=allowed)
    if done.status == TOO_MANY_DELETED:
        reason = f"the mirror lost more than {LOST_SHARE:.0%} of its {files} files"
        raise refusal(asked, reason, hint=f"if that is right: distserver sync {asked.name} --force")


def _text(place: Path, name: Path) -> str:
    path = place / name
    return path.read_text(errors="replace").strip() if path.is_file() and own(place, path) else ""


def _verified(asked: Asked, tree: Path) -> str:
    """Check every file against the Manifests and the top one's signature; the revision is its hash."""
    keyring = asked.repository.keyring
    assert keyring is not None
    asked.say(f"checking the signed Manifest of {asked.name}")
    said = verify_manifest(tree, keyring)
    if said:
        _drop_wrong(tree, said)
        raise refusal(
            asked,
            f"its Manifest does not verify: {complaint(said)}",
            hint=f"the mirror may have been changing: try again later; the keyring is {keyring}",
        )
    return hashlib.sha256((tree / "Manifest").read_bytes()).hexdigest()[:40]


def complaint(said: str) -> str:
    """The first thing gemato found wrong, and of how many."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR").strip(": ") for line in lines if line.startswith("ERROR")] or lines
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = lines[1] if len(lines) > 1 and not lines[1].startswith("ERROR") else ""
    return f"{errors[0]} {detail}".strip() + more


def _drop_wrong(tree: Path, said: str) -> None:
    """Files of the right size and time with wrong bytes would never be fetched again."""
    for name in (*MISMATCH.findall(said), "Manifest"):
        path = tree / name
        if ".." not in path.parts and path.parent.resolve().is_relative_to(tree.resolve()):
            path.unlink(missing_ok=True)


def verify_manifest(tree: Path, keyring: Path) -> str:
    """What gemato says against a tree with a signed Manifest at its top (GLEP 74); empty when it is right."""
    jobs = str(len(os.sched_getaffinity(0)))
    # --no-refresh-keys: who may sign is what the site's keyring says, and nothing is asked of key servers.
    options = ["--require-signed-manifest", "--no-refresh-keys", "--keep-going", "--quiet"]
    argv = [sys.executable, "-m", "gemato", "verify", *options, "--jobs", jobs, "--openpgp-key", str(keyring)]
    done = run([*argv, tree], prefix=DIE_TOGETHER, env=WIDE, ok=range(-255, 256))
    return "" if done.status == 0 else done.stdout.strip() or f"gemato ended with status {done.status}"
