"""Commits one file of a site that is a git checkout: no hook runs, and nothing else of it is touched."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from appliance.edit_model import Change
from appliance.run import CommandFailed, run
from appliance.site_files import PROFILES

SECONDS = 60.0
NONE = "0" * 40
# Whatever a repository's configuration may make git run: what is left reads and writes objects.
QUIET = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "protocol.allow": "never",
    "safe.directory": "*",
}
UNDER_WAY = ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass(frozen=True)
class Author:
    name: str
    email: str


@dataclass(frozen=True)
class Checkout:
    """A work tree, and as whom git is run there: as its owner, who wrote its configuration."""

    top: Path
    owner: int
    group: int

    def git(self, *words: str, stdin: bytes | None = None, more: dict[str, str] | None = None) -> str:
        """The words that it prints. Raises CommandFailed."""
        environment = [f"{name}={value}" for name, value in (ENVIRONMENT | (more or {})).items()]
        settings = [word for name, value in QUIET.items() for word in ("-c", f"{name}={value}")]
        prefix = ["env", "-i", *environment]
        if os.geteuid() == 0 and self.owner != 0:
            identity = ["--reuid", str(self.owner), "--regid", str(self.group), "--clear-groups"]
            prefix = ["setpriv", *identity, *prefix]
        argv = ["git", "-C", str(self.top), *settings, *words]
        return run(argv, prefix=prefix, stdin=stdin, timeout_seconds=SECONDS).stdout.strip()

    def ask(self, *words: str) -> str:
        """As git(); empty when it fails."""
        try:
            return self.git(*words)
        except CommandFailed:
            return ""


def find_checkout(site: Path, profile: str) -> Checkout | None:
    """The work tree that a profile's directory is in; None when there is none, or only somebody else's."""
    place = site.resolve() / PROFILES / profile
    for top in (place, *place.parents):
        try:
            mark = (top / ".git").lstat()
        except OSError:
            continue
        status = top.stat()
        if mark.st_uid not in (0, site.stat().st_uid, status.st_uid):
            return None
        return Checkout(top, mark.st_uid, mark.st_gid)
    return None


def obstacle(site: Path, change: Change) -> str:
    """Why a change will be written and not committed; empty when it will be, or there is no checkout."""
    checkout = find_checkout(site, change.profile)
    # Who asks may not read what the farm can: then the farm says it afterwards.
    if checkout is None or not checkout.ask("ls-tree", "HEAD"):
        return ""
    return _obstacle(checkout, _path(checkout, site, change), change)


def commit(site: Path, change: Change, *, author: Author, message: str) -> str:
    """Commit a change that was written, and say so in a sentence.

    Whatever keeps it from being committed is said, too: the file stands on the disk in any case.
    """
    checkout = find_checkout(site, change.profile)
    if checkout is None:
        return "the site is no git checkout"
    path = _path(checkout, site, change)
    try:
        if _is_there(checkout, path, change):
            return "committed"
        if reason := _obstacle(checkout, path, change):
            return f"not committed: {reason}"
        made = _commit(checkout, path, change, author=author, message=message)
    except CommandFailed as failed:
        return f"not committed: {failed.output.strip().splitlines()[-1] if failed.output.strip() else failed}"
    return f"commit {made[:12]}{_refresh(checkout, path, change, made)}"


def _is_there(checkout: Checkout, path: str, change: Change) -> bool:
    """Whether HEAD has the change: whoever committed it may have been killed before he could say so."""
    held = _entry(checkout.ask("ls-tree", "HEAD", "--", path))
    if change.content is None or held is None:
        return False
    return held[1] == checkout.git("hash-object", "--no-filters", "--stdin", stdin=change.content)


def _path(checkout: Checkout, site: Path, change: Change) -> str:
    return str((site.resolve() / PROFILES / change.profile / change.name).relative_to(checkout.top))


def _obstacle(checkout: Checkout, path: str, change: Change) -> str:
    directory = checkout.ask("rev-parse", "--absolute-git-dir")
    if not directory:
        return "git does not read this checkout"
    if any((Path(directory) / name).exists() for name in UNDER_WAY):
        return "the checkout is in the middle of a merge or rebase"
    held = _entry(checkout.ask("ls-tree", "HEAD", "--", path))
    if change.base is None:
        if held:
            return "somebody deleted the file and did not commit that"
        return "git ignores the file" if checkout.ask("check-ignore", "--no-index", "--", path) else ""
    if not held:
        return "the file was never committed"
    if held[1] != checkout.git("hash-object", "--no-filters", "--stdin", stdin=change.base):
        return "the file has uncommitted changes of somebody else"
    return ""


def _entry(line: str) -> tuple[str, str] | None:
    """(mode, object) of a line of ls-tree or of ls-files --stage."""
    words = line.partition("\t")[0].split()
    if not words:
        return None
    return words[0], words[2] if words[1] == "blob" else words[1]


def _commit(checkout: Checkout, path: str, change: Change, *, author: Author, message: str) -> str:
    """A commit upon HEAD, made without the index and the work tree of whoever works there."""
    head = checkout.ask("rev-parse", "--verify", "--quiet", "HEAD")
    with TemporaryDirectory(prefix="distserver-") as room:
        os.chown(room, checkout.owner if os.geteuid() == 0 else -1, -1)
        own = {"GIT_INDEX_FILE": f"{room}/index"}
        checkout.git("read-tree", *(["HEAD"] if head else ["--empty"]), more=own)
        _put(checkout, path, change, own)
        tree = checkout.git("write-tree", more=own)
    who = {
        "GIT_AUTHOR_NAME": author.name,
        "GIT_AUTHOR_EMAIL": author.email,
        "GIT_COMMITTER_NAME": "DistServer",
        "GIT_COMMITTER_EMAIL": author.email,
    }
    parents = ["-p", head] if head else []
    made = checkout.git("commit-tree", tree, *parents, stdin=message.encode(), more=who)
    checkout.git("update-ref", "-m", f"distserver: {path}", "HEAD", made, head or NONE, more=who)
    return made


def _put(checkout: Checkout, path: str, change: Change, more: dict[str, str]) -> None:
    """Let an index have the change."""
    if change.content is None:
        checkout.git("update-index", "--force-remove", "--", path, more=more)
        return
    made = checkout.git("hash-object", "-w", "--no-filters", "--stdin", stdin=change.content)
    held = _entry(checkout.ask("ls-tree", "HEAD", "--", path))
    mode = held[0] if held else "100644"
    checkout.git("update-index", "--add", "--cacheinfo", f"{mode},{made},{path}", more=more)


def _refresh(checkout: Checkout, path: str, change: Change, made: str) -> str:
    """Let the people's index follow for this one file, unless somebody staged another content of it."""
    before = _entry(checkout.ask("ls-tree", f"{made}~", "--", path))
    staged = _entry(checkout.ask("ls-files", "--stage", "--", path))
    if staged != before:
        return "; what somebody staged of the file stays staged"
    try:
        _put(checkout, path, change, {})
    except CommandFailed:
        return f"; the index is in use, `git reset -- {path}` brings it up to date"
    return ""
