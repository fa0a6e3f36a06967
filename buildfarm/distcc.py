"""The client side of distcc in a build root: its masquerade directory, its variables, its log."""

import re
import shutil
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from appliance.sandbox import Bind, Mount
from buildfarm.cluster import Seat, distcc_hosts, jobs
from buildfarm.toolchain import OWN, foreign
from buildfarm.view import View

HOME = PurePosixPath("/run/distcc")
"""DISTCC_DIR inside: /run is a file system of the sandbox's own, so nothing stays in the root."""
FOREIGN = HOME / "own"
FEATURES = ("distcc", "-network-sandbox")
"""The whole root sees no network but the compile hosts; Portage's sandbox would hide those as well."""
IO_SECONDS = 600
STARTED = re.compile(r"distcc\[(\d+)\] compile from ")
ENDED = re.compile(r"distcc\[(\d+)\] (?:\w+: )?compile .* on (\S+) (completed ok|failed|terminated)")
# A shell of the root's own; distcc is told the compiler's name because it is started by its loader.
WRAPPER = """#!/bin/sh
name=${{0##*/}}
rest=
IFS=:
for place in $PATH; do
	case $place in
	*/usr/lib/distcc | */usr/lib/distcc/bin) ;;
	*) rest=$rest${{rest:+:}}$place ;;
	esac
done
PATH=$rest exec {own}/ld.so --library-path {own} {own}/distcc "$name" "$@"
"""


@dataclass(frozen=True)
class Client:
    """What a sandbox needs so that compilers go through distcc."""

    mounts: tuple[Mount, ...]
    directory: Path
    """HOME, as the host sees it."""
    masquerade: PurePosixPath
    """Where the compilers' names lead to distcc, inside."""

    @property
    def log(self) -> Path:
        return self.directory / "log"


def prepare(root: View, names: Sequence[str], place: Path) -> Client:
    """Make the client side in `place`: links for exactly these compiler names, whatever the root has."""
    home, masquerade = place / "distcc", place / "masquerade"
    for directory in (home, masquerade):
        directory.mkdir(parents=True)
        directory.chmod(0o755)
    own = root.program("distcc")
    if own is None:
        (home / "own").mkdir()
        for name, source in foreign("distcc").items():
            assert isinstance(source, Path)
            shutil.copyfile(source, home / "own" / Path(name).relative_to(OWN))
            (home / "own" / Path(name).relative_to(OWN)).chmod(0o755)
    for name in names:
        if own:
            (masquerade / name).symlink_to(f"/{own.name}")
        else:
            (masquerade / name).write_text(WRAPPER.format(own=FOREIGN))
            (masquerade / name).chmod(0o755)
    # Packages are compiled as another user.
    home.chmod(0o1777)
    (home / "log").touch()
    (home / "log").chmod(0o666)
    # Portage takes the first of these that is a directory (doebuild.py).
    below = "/usr/lib/distcc/bin" if root.names("usr/lib/distcc/bin") else "/usr/lib/distcc"
    inside = PurePosixPath(below)
    return Client((Bind(home, HOME, read_only=False), Bind(masquerade, inside)), home, inside)


def environment(seats: Sequence[Seat], local: int, *, here: bool = True) -> dict[str, str]:
    """Variables of a build that uses these hosts and `local` processors of its own."""
    return {
        "DISTCC_HOSTS": distcc_hosts(seats, local, here=here),
        "DISTCC_DIR": str(HOME),
        "DISTCC_LOG": f"{HOME}/log",
        "DISTCC_IO_TIMEOUT": str(IO_SECONDS),
        # `gcc` must stay `gcc`: the name it is rewritten to may be another compiler (compile.c).
        "DISTCC_NO_REWRITE_CROSS": "1",
        "MAKEOPTS": f"-j{jobs(seats, local)}",
    }


def probe_environment(seat: Seat) -> dict[str, str]:
    """For one compilation that must happen on one host or fail."""
    only = {"DISTCC_HOSTS": f"{seat.name}/1,lzo", "DISTCC_FALLBACK": "0", "DISTCC_IO_TIMEOUT": "60"}
    return {**environment([seat], 1), **only}


@dataclass(frozen=True)
class Ran:
    """What distcc's log says of a build."""

    remote: Mapping[str, int]
    """By host, as DISTCC_HOSTS names it (127.0.0.1:PORT): compilations that ended well there."""
    local: int
    """Compilations that could have gone elsewhere and were done here."""
    failed: Mapping[str, int]
    """By host: errors of the compiler, which distcc does again here."""


def read_log(text: str) -> Ran:
    """Count compilations; what was never one (a link, a test of configure for a version) does not count."""
    compiling: set[str] = set()
    remote: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    local = 0
    for line in text.splitlines():
        if found := STARTED.match(line):
            compiling.add(found[1])
        elif (found := ENDED.match(line)) and found[1] in compiling:
            compiling.discard(found[1])
            host = found[2].partition("/")[0].partition(",")[0]
            if host == "localhost":
                local += 1
            elif found[3] == "completed ok":
                remote[host] += 1
            else:
                failed[host] += 1
    return Ran(dict(remote), local, dict(failed))


def outcome(response: bytes) -> tuple[int, bytes]:
    """Status and object of a distccd's answer (distcc's doc/protocol-1.txt), without the compiler's messages.

    Raises ValueError when the answer is cut off.
    """
    parts: dict[bytes, bytes] = {}
    status = -1
    at = 0
    while at < len(response):
        token, number = response[at : at + 4], int(response[at + 4 : at + 12], 16)
        at += 12
        if token == b"STAT":
            status = number
        elif token != b"DONE":
            parts[token] = response[at : at + number]
            if len(parts[token]) != number:
                raise ValueError(
                    f"{token.decode(errors='replace')} is {len(parts[token])} octets of {number}"
                )
            at += number
    return status, parts.get(b"DOTO", b"")


def request(compiler: str, source: bytes) -> bytes:
    """Ask a distccd to compile preprocessed C, uncompressed."""
    words = [word.encode() for word in (compiler, "-O2", "-c", "probe.i", "-o", "probe.o")]
    head = [b"DIST%08xARGC%08x" % (1, len(words)), *(b"ARGV%08x%b" % (len(word), word) for word in words)]
    return b"".join([*head, b"DOTI%08x" % len(source), source])


def ask(address: str, port: int, asked: bytes, *, seconds: float = 30.0) -> bytes:
    """Send a request straight to a distccd; raises OSError when it does not answer."""
    with socket.create_connection((address, port), timeout=seconds) as there:
        there.sendall(asked)
        answer = bytearray()
        while data := there.recv(65536):
            answer += data
    return bytes(answer)
