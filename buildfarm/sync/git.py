"""A git repository: a bare, shallow copy that grows by what is new, and a working copy that follows it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import Problem
from appliance.run import run
from buildfarm import openpgp
from buildfarm.snapshot import GIT, check_out
from buildfarm.sync.base import Asked, Fetched, command, refusal

NEW = "refs/sync/new"
QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/true", "GIT_SSH_COMMAND": "ssh -o BatchMode=yes"}
# A collection in the background would outlive the lock; a server that sends nothing is given up.
SETTINGS = ["-c", "gc.autoDetach=false", "-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=120"]


def fetch(asked: Asked) -> Fetched | None:
    clone = asked.work / "git"
    _clear_locks(clone)
    try:
        _fetch(asked, clone)
    except Problem:
        if not clone.exists() or not _answers(asked):
            raise
        # The source is there, so the copy may be what is broken: a kill in the middle of a write, a bad disk.
        asked.say(f"fetching {asked.name} afresh")
        fresh = asked.work / "git.new"
        shutil.rmtree(fresh, ignore_errors=True)
        _fetch(asked, fresh)
        shutil.rmtree(clone)
        fresh.rename(clone)
    git = [*GIT, f"--git-dir={clone}"]
    commit = run([*git, "rev-parse", "--verify", f"{NEW}^{{commit}}"]).stdout.strip()
    _verify(asked, clone)
    if commit == asked.validator:
        return None
    made_at = float(run([*git, "log", "-1", "--no-show-signature", "--format=%ct", commit]).stdout)

    def fill(target: Path) -> str:
        check_out(clone, commit, target, asked.work / "index")
        return commit

    return Fetched(commit, fill, tree=asked.work / "tree", revision=commit, made_at=made_at)


def _fetch(asked: Asked, clone: Path) -> None:
    if not (clone / "HEAD").exists():
        shutil.rmtree(clone, ignore_errors=True)
        run([*GIT, "init", "--quiet", "--bare", clone])
    repository = asked.repository
    depth = [f"--depth={repository.depth}"] if repository.depth else _unshallow(clone)
    what = f"+{repository.branch or 'HEAD'}:{NEW}"
    options = ["--force", "--quiet", "--no-tags", "--no-recurse-submodules", *depth]
    git = [*GIT, *SETTINGS, f"--git-dir={clone}", "fetch", *options, "--", repository.uri, what]
    command(asked, git, env=QUIET)


def _unshallow(clone: Path) -> list[str]:
    return ["--unshallow"] if (clone / "shallow").exists() else []


def _answers(asked: Asked) -> bool:
    argv = [
        *GIT,
        *SETTINGS,
        "ls-remote",
        "--quiet",
        "--",
        asked.repository.uri,
        asked.repository.branch or "HEAD",
    ]
    answer = run(argv, env=QUIET, ok=range(-255, 256))
    return answer.status == 0 and bool(answer.stdout.strip())


def _clear_locks(clone: Path) -> None:
    """A killed git leaves its lock files; ours is held, so nobody else is at work here."""
    places = [*clone.glob("*.lock"), *clone.glob("refs/**/*.lock"), *clone.glob("objects/**/*.lock")]
    for left in places:
        left.unlink()


def _verify(asked: Asked, clone: Path) -> None:
    """The tag, or else the commit, must be signed by a key of the keyring."""
    keyring = asked.repository.keyring
    if keyring is None:
        return
    git = [*GIT, "-c", "gpg.format=openpgp", f"--git-dir={clone}"]
    is_tag = run([*git, "cat-file", "-t", NEW]).stdout.strip() == "tag"
    with _trusting(keyring) as env:
        checks = [["verify-tag", "--raw", NEW]] if is_tag else []
        checks.append(["verify-commit", "--raw", f"{NEW}^{{commit}}"])
        reasons = [openpgp.judge(run([*git, *check], env=env, ok=range(256)).stdout) for check in checks]
    if all(reasons):
        raise refusal(
            asked,
            f"its newest {'tag' if is_tag else 'commit'} cannot be trusted: {reasons[0]}",
            hint=f"the keyring is {keyring}; was it signed by somebody else, or has a key to be added?",
        )


@contextmanager
def _trusting(keyring: Path) -> Iterator[dict[str, str]]:
    """The environment of a gpg that knows the keyring and nothing else."""
    with openpgp.home(keyring) as place:
        (place / "gpg.conf").write_text("trust-model always\nno-auto-key-retrieve\n")
        yield {"GNUPGHOME": str(place)}
