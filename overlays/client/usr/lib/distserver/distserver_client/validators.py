"""Checks a candidate for a configuration file with what reads such files, inside the machine's root."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import Path

from distserver_client import formats, places
from distserver_client.formats import Format
from distserver_client.programs import ENVIRONMENT, MISSING, Finished, run

SECONDS = 20.0
MOST_BYTES = 1 << 16
SUFFIX = "distserver-check"
FILE = "FILE"
"""In an argv: the candidate, as the root names it. Without it the program reads all of its files in their
places, with the candidate in that of the live one, in a mount namespace that ends with it."""
IN_PLACE = ("unshare", "--mount", "--propagation=private", "--", "sh", "-c")
BIND = f'mount --bind "$1" "$2" || exit {MISSING}; shift 2; exec "$@"'
SHEBANG = re.compile(rb"^#![ \t]*(\S+)(?:[ \t]+(\S+))?")


class Outcome(Enum):
    GOOD = "good"
    BAD = "bad"
    MISSING = "missing"


@dataclass(frozen=True)
class Check:
    """A program of the root, or a format that is read here."""

    name: str
    argv: tuple[str, ...] = ()
    read: Format | None = None
    bad: bytes = b""
    """What it prints of a wrong file besides ending with a status; a pattern."""
    ok: tuple[int, ...] = (0,)
    room: str = ""
    """A directory that the service's own start makes, and without which it reads nothing."""

    @property
    def is_whole(self) -> bool:
        """It may read the file among others, or not at all: what comes after it is asked, too."""
        return bool(self.argv) and FILE not in self.argv


@dataclass(frozen=True)
class Verdict:
    good: bool
    why: str
    """A sentence: who accepted it, what was not there to ask, or who refused what."""
    absent: str = ""
    """Of what was not there to ask alone."""


def program(*argv: str, bad: bytes = b"", ok: tuple[int, ...] = (0,), room: str = "") -> Check:
    return Check(" ".join(word for word in argv if word != FILE), argv, None, bad, ok, room)


def text(name: str, read: Format) -> Check:
    return Check(name, (), read)


# bash -n ends with 0 after some of its complaints; of a good file neither says anything.
SH, BASH = program("sh", "-n", FILE, bad=b"."), program("bash", "-n", FILE, bad=b".")
# It ends with 1 also when a log is not there (logrotate 3.21).
LOGROTATE = program("logrotate", "-d", FILE, bad=rb"error: \S+:\d+", ok=(0, 1))
BRACES = text("braces", formats.braces)
# sshd(8) wants its empty directory, which Debian's unit makes when it starts and removes when it ends.
SSHD, SSHD_ALL = program("sshd", "-t", "-f", FILE, room="/run/sshd"), program("sshd", "-t", room="/run/sshd")
NGINX_ALL = program("nginx", "-t", "-q")
DNSMASQ = program("dnsmasq", "--test", "-C", FILE)
NAMED = program("named-checkconf", FILE), BRACES
TABLE: tuple[tuple[tuple[str, ...], tuple[Check, ...]], ...] = (
    (("/etc/ssh/sshd_config",), (SSHD,)),
    (("/etc/ssh/sshd_config.d/*.conf",), (SSHD_ALL, SSHD)),
    (("/etc/sudoers", "/etc/sudoers.d/*"), (program("visudo", "-c", "-f", FILE),)),
    (("/etc/nginx/nginx.conf",), (program("nginx", "-t", "-q", "-c", FILE), BRACES)),
    (("/etc/nginx/conf.d/*", "/etc/nginx/sites-*/*", "/etc/nginx/snippets/*"), (NGINX_ALL, BRACES)),
    (("/etc/bind/named.conf", "/etc/named.conf"), NAMED),
    (("/etc/bind/named.conf.*",), (program("named-checkconf"), *NAMED)),
    (("/etc/haproxy/haproxy.cfg",), (program("haproxy", "-c", "-q", "-f", FILE),)),
    (("/etc/dnsmasq.conf",), (DNSMASQ,)),
    (("/etc/dnsmasq.d/*",), (program("dnsmasq", "--test"), DNSMASQ)),
    (("/etc/unbound/unbound.conf",), (program("unbound-checkconf", FILE),)),
    (("/etc/nftables.conf", "/etc/nftables.d/*"), (program("nft", "-c", "-f", FILE), BRACES)),
    (("/etc/logrotate.conf", "/etc/logrotate.d/*"), (LOGROTATE, BRACES)),
    (("/etc/fstab",), (text("the lines of fstab", formats.fstab),)),
    (("/etc/passwd", "/etc/passwd-"), (text("the lines of passwd", formats.passwd),)),
    (("/etc/group", "/etc/group-"), (text("the lines of group", formats.group),)),
    (("/etc/shadow", "/etc/shadow-"), (text("the lines of shadow", formats.shadow),)),
    (("/etc/gshadow", "/etc/gshadow-"), (text("the lines of gshadow", formats.gshadow),)),
    (("/etc/subuid", "/etc/subgid"), (text("the lines of subuid", formats.subid),)),
    (("/etc/crontab", "/etc/cron.d/*"), (text("the lines of crontab", formats.crontab),)),
    (("/etc/sysctl.conf", "/etc/sysctl.d/*.conf"), (text("the lines of sysctl", formats.sysctl),)),
    (("/etc/hosts",), (text("the lines of hosts", formats.hosts),)),
    (("*.py",), (text("python", formats.python),)),
    (("*.json",), (text("json", formats.json_text),)),
    (("*.toml",), (text("toml", formats.toml),)),
    (("*.xml", "*.xml.in"), (text("xml", formats.xml),)),
    (("*.ini", "*.service", "*.socket", "*.timer", "*.mount", "*.desktop"), (text("ini", formats.ini),)),
    (("/etc/portage/make.conf", "/etc/make.conf", "*/make.defaults", "*.bash", "/etc/bash/*"), (BASH, SH)),
    (("/etc/bash.bashrc", "/etc/bash_completion.d/*"), (BASH,)),
    (
        ("/etc/conf.d/*", "/etc/rc.conf", "/etc/default/*", "/etc/profile", "/etc/profile.d/*.sh", "*.sh"),
        (SH,),
    ),
)
"""The first row that matches counts; its checks are tried from the strongest on."""
SHELLS = ("sh", "dash", "ash", "openrc-run", "runscript")


def checks(path: str, content: bytes) -> tuple[Check, ...]:
    """What a file of that path and content is checked with, the strongest first; empty: nothing knows it."""
    for globs, found in TABLE:
        if any(fnmatchcase(path, glob) for glob in globs):
            return found
    if match := SHEBANG.match(content):
        name = os.fsdecode(match[1]).rpartition("/")[2]
        name = os.fsdecode(match[2]) if name == "env" and match[2] else name
        if name.startswith("python3"):
            return (text("python", formats.python),)
        return (BASH, SH) if name == "bash" else (SH,) if name in SHELLS else ()
    return (text("xml", formats.xml),) if content.startswith(b"<?xml") else ()


def judge(root: Path, path: str, ours: bytes | None, content: bytes, *, real: str = "") -> Verdict:
    """Whether `content` may become the file at `path`, which is `ours` now (None: nothing is there).

    A check that refuses ours already says nothing about the result: the verdict is bad and says so.
    `real` is where the file is, when `path` leads there by a link; candidates lie beside it.
    Raises OSError when a candidate cannot be written.
    """
    accepted: list[str] = []
    absent: list[str] = []
    for check in checks(path, content):
        place = places.inside(root, real or path)
        before, said = (Outcome.GOOD, "") if ours is None else _try(check, root, place, ours, ours)
        after = before
        if before is Outcome.GOOD:
            after, said = _try(check, root, place, ours, content)
        if after is Outcome.MISSING:
            absent += [] if check.is_whole else [check.name.partition(" ")[0]]
        elif before is Outcome.BAD and accepted:
            # A part of something may make no sense by itself, and was read with the whole.
            continue
        elif before is Outcome.BAD:
            return Verdict(False, f"{check.name} refuses the file as it is: {said}")
        elif after is Outcome.BAD:
            return Verdict(False, f"{check.name} refuses the result: {said}")
        else:
            accepted.append(f"{check.name} accepts it")
            if not check.is_whole:
                break
    missing = "; ".join(f"{name} is not there to ask" for name in absent)
    why = "; ".join(accepted or ["nothing checks such a file"])
    return Verdict(True, f"{why}; {missing}" if missing else why, missing)


def find(root: Path, name: str) -> str | None:
    """A program's path inside the root: sshd, for one, wants to be called by it."""
    for directory in ENVIRONMENT["PATH"].split(":"):
        path = f"{directory}/{name}"
        real = places.inside(root, places.resolve(root, path))
        if real.is_file() and os.access(real, os.X_OK):
            return path
    return None


def _try(check: Check, root: Path, place: Path, ours: bytes | None, content: bytes) -> tuple[Outcome, str]:
    if check.read:
        said = check.read(content)
        return (Outcome.BAD, said) if said else (Outcome.GOOD, "")
    name = find(root, check.argv[0])
    if name is None or (check.is_whole and not _holds(place, ours)):
        return Outcome.MISSING, ""
    with places.beside(place, SUFFIX, content) as candidate, _made(root, check.room):
        if check.is_whole:
            done = _run_in_place([name, *check.argv[1:]], root, candidate, place)
        else:
            seen = "/" + str(candidate.relative_to(root))
            argv = [name, *(seen if word == FILE else word for word in check.argv[1:])]
            done = run(argv, root=root, seconds=SECONDS, most_bytes=MOST_BYTES)
    if check.is_whole and done.status == MISSING:
        return Outcome.MISSING, ""
    if done.cut:
        return Outcome.BAD, f"it {done.cut}"
    wrong = done.status not in check.ok or (check.bad and re.search(check.bad, done.output))
    return (Outcome.BAD, done.last_line) if wrong else (Outcome.GOOD, "")


def _run_in_place(argv: Sequence[str], root: Path, candidate: Path, place: Path) -> Finished:
    """With the candidate at the place of the live file, for this program alone."""
    inside = [] if root.resolve() == Path("/") else ["chroot", str(root)]
    words = [*IN_PLACE, BIND, "sh", str(candidate), str(place), *inside, *argv]
    return run(words, seconds=SECONDS, most_bytes=MOST_BYTES)


def _holds(place: Path, content: bytes | None) -> bool:
    """Is that what the program would read there?"""
    return content is not None and place.is_file() and place.read_bytes() == content


@contextlib.contextmanager
def _made(root: Path, room: str) -> Iterator[None]:
    """A directory of the root, for as long as the block when it is not there anyway."""
    place = places.inside(root, room)
    if not room or place.exists() or not place.parent.is_dir():
        yield
        return
    place.mkdir(0o755)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # its service may have been started meanwhile
            place.rmdir()
