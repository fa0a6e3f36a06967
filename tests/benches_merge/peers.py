"""Ours and three others on the same three files: what each makes of them without a person."""

from collections.abc import Callable, Mapping
from pathlib import Path

from appliance.run import run
from distserver_client import validators
from distserver_client.merging import KeepOurs, Merged, Same, TakeTheirs, decide
from distserver_client.threeway import diff3
from distserver_client.triples import Kind, Version

# Portage 3.0.83, etc-update with eu_automerge=yes: what differs only in comments and space is overwritten.
TRIVIAL = ["-n", "-r", "-e", r"/^[+-]/{/^([+-][\t ]*(#|$)|-{3} |\+{3} )/d;q1}"]

Peer = Callable[[str, bytes, bytes, bytes, Path], bytes | None]
"""From path, base, ours, theirs and a scratch directory; None: a person is asked."""


def ours(path: str, base: bytes, mine: bytes, theirs: bytes, scratch: Path) -> bytes | None:
    """As the agent does it: decided, then checked by what reads such a file, with this host's programs."""
    versions = [Version(Kind.FILE, one) for one in (base, mine, theirs)]
    decision = decide(path, versions[0], versions[1], versions[2], diff3)
    match decision:
        case Merged(content, _):
            result = content
        case TakeTheirs():
            result = theirs
        case KeepOurs() | Same():
            return mine
        case _:
            return None
    verdict = validators.judge(Path("/"), path, mine, result, real=str(scratch / "candidate"))
    return result if verdict.good else None


def dispatch_conf(path: str, base: bytes, mine: bytes, theirs: bytes, scratch: Path) -> bytes | None:
    """Its merge (portage.dispatch_conf: diff3 -mE current archive.dist new), taken when it has no conflict.

    The real one has no base for a file that it did not handle before, and shows most merges to a person.
    """
    current, dist, new = _laid(scratch, mine, base, theirs)
    shell = 'exec diff3 -mE "$1" "$2" "$3" > "$4"'
    done = run(["sh", "-c", shell, "sh", current, dist, new, scratch / "merged"], ok=(0, 1, 2))
    return (scratch / "merged").read_bytes() if done.status == 0 else None


def etc_update(path: str, base: bytes, mine: bytes, theirs: bytes, scratch: Path) -> bytes | None:
    """Its automerge: it knows two versions only."""
    current, _, new = _laid(scratch, mine, base, theirs)
    pipe = 'diff -Bbua "$1" "$2" | sed "$3" "$4" "$5" "$6"'
    done = run(["sh", "-c", pipe, "sh", new, current, *TRIVIAL], ok=(0, 1))
    return theirs if done.status == 0 else None


def git_merge_file(path: str, base: bytes, mine: bytes, theirs: bytes, scratch: Path) -> bytes | None:
    current, dist, new = _laid(scratch, mine, base, theirs)
    done = run(["git", "merge-file", "--quiet", current, dist, new], ok=range(256))
    return current.read_bytes() if done.status == 0 else None


PEERS: Mapping[str, Peer] = {
    "ours": ours,
    "dispatch-conf": dispatch_conf,
    "etc-update": etc_update,
    "git merge-file": git_merge_file,
}


def _laid(scratch: Path, *contents: bytes) -> list[Path]:
    found = [scratch / name for name in ("current", "dist", "new")]
    for place, content in zip(found, contents, strict=True):
        place.write_bytes(content)
    return found
