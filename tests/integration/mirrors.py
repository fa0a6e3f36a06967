"""Real servers that repositories are synchronised from: git, rsync and HTTP on loopback; throw-away keys."""

import hashlib
import shutil
import socket
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

from appliance.deadline import wait_until
from appliance.run import run, running
from appliance.site_model import Repository, SyncKind

GEMATO = [sys.executable, "-m", "gemato"]
TINY = Path(__file__).resolve().parent.parent / "data" / "tiny"


@dataclass(frozen=True)
class Keys:
    """A throw-away GnuPG home with one signing key, and its public half as a keyring file."""

    home: Path
    name: str

    @property
    def keyring(self) -> Path:
        return self.home / "keyring.asc"

    @property
    def env(self) -> dict[str, str]:
        return {"GNUPGHOME": str(self.home)}

    def sign(self, mode: str, file: Path, to: Path) -> None:
        to.unlink(missing_ok=True)
        gpg = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--armor", "--output", str(to)]
        run([*gpg, f"--{mode}", file])


@contextmanager
def make_keys(name: str) -> Iterator[Keys]:
    # An agent's socket wants a short path.
    with tempfile.TemporaryDirectory(prefix="keys-") as place:
        home = Path(place)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        run([*gpg, "--quick-generate-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never"])
        run([*gpg, "--armor", "--output", str(home / "keyring.asc"), "--export"])
        try:
            yield Keys(home, name)
        finally:
            run(["gpgconf", "--homedir", home, "--kill", "all"])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool | None:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0 or None


class Mirror(Protocol):
    """Serves what `tree` was when release() was called last."""

    tree: Path
    kind: SyncKind

    @property
    def uri(self) -> str: ...

    def release(self, signer: Keys | None = None, *, at: float = 0.0) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


def stamp(tree: Path, at: float) -> None:
    (tree / "metadata/timestamp.chk").write_text(formatdate(at) + "\n")


@dataclass
class GitMirror:
    place: Path
    tree: Path
    kind: SyncKind = SyncKind.GIT
    port: int = field(default_factory=free_port)
    running: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        run(["git", "init", "--quiet", "--bare", "--initial-branch=main", self.place / "tiny.git"])
        run(["git", "init", "--quiet", "--initial-branch=main", self.tree])
        self.git("remote", "add", "origin", str(self.place / "tiny.git"))

    @property
    def uri(self) -> str:
        return f"git://127.0.0.1:{self.port}/tiny.git"

    def git(self, *words: str, env: dict[str, str] | None = None) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return run(["git", "-C", self.tree, *who, *words], env=env).stdout.strip()

    def release(self, signer: Keys | None = None, *, at: float = 0.0) -> None:
        when = {"GIT_AUTHOR_DATE": f"@{at:.0f} +0000", "GIT_COMMITTER_DATE": f"@{at:.0f} +0000"} if at else {}
        sign = [f"-S{signer.name}"] if signer else []
        self.git("add", "--all")
        env = {**when, **(signer.env if signer else {})}
        self.git("commit", "--quiet", "--allow-empty", "-m", "state", *sign, env=env)
        self.git("push", "--quiet", "--force", "origin", "main")

    def start(self) -> None:
        argv = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1", f"--port={self.port}"]
        self.running.enter_context(running([*argv, f"--base-path={self.place}", self.place]))
        wait_until(lambda: _listens(self.port), seconds=20, what="git daemon listens")

    def stop(self) -> None:
        self.running.close()


@dataclass
class RsyncMirror:
    place: Path
    tree: Path
    kind: SyncKind = SyncKind.RSYNC
    port: int = field(default_factory=free_port)
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def uri(self) -> str:
        return f"rsync://127.0.0.1:{self.port}/tiny"

    @property
    def served(self) -> Path:
        return self.place / "module"

    def release(self, signer: Keys | None = None, *, at: float = 0.0) -> None:
        shutil.rmtree(self.served, ignore_errors=True)
        shutil.copytree(self.tree, self.served)
        if at:
            stamp(self.served, at)
        if signer:
            options = ["--hashes", "BLAKE2B SHA512", "--openpgp-id", signer.name, "--timestamp", "--sign"]
            run([*GEMATO, "create", *options, self.served], env=signer.env)

    def start(self) -> None:
        config = self.place / "rsyncd.conf"
        config.write_text(f"use chroot = no\n[tiny]\npath = {self.served}\nrefuse options = checksum\n")
        daemon = ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={self.port}"]
        self.running.enter_context(running([*daemon, f"--config={config}"]))
        wait_until(lambda: _listens(self.port), seconds=20, what="the rsync daemon listens")

    def stop(self) -> None:
        self.running.close()


class _Files(BaseHTTPRequestHandler):
    """ETags, ranges and, when told so, connections that break."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, FileServer)
        server.requests.append((self.path, dict(self.headers)))
        file = server.place / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        data = file.read_bytes()
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        if self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.end_headers()
            return
        start = 0
        if self.headers.get("Range") and self.headers.get("If-Range") == etag:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = server.cut_after
        self.wfile.write(data[start:] if cut is None else data[start : start + cut])
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:
        """Keeps quiet."""


class FileServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, place: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Files)
        self.place = place
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.cut_after: int | None = None


@dataclass
class ArchiveMirror:
    place: Path
    tree: Path
    kind: SyncKind = SyncKind.SNAPSHOT
    port: int = field(default_factory=free_port)
    server: FileServer | None = None

    @property
    def name(self) -> str:
        return "tiny-latest.tar.xz" if self.kind is SyncKind.SNAPSHOT else "tiny-current.xz.sqfs"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.name}"

    def release(self, signer: Keys | None = None, *, at: float = 0.0) -> None:
        for old in self.place.glob("*"):
            old.unlink()
        if at:
            stamp(self.tree, at)
        file = self.place / self.name
        if self.kind is SyncKind.SNAPSHOT:
            with tarfile.open(file, "w:xz") as archive:
                archive.add(self.tree, "tiny-20260101")
        else:
            run(["mksquashfs", self.tree, file, "-quiet", "-no-progress", "-comp", "xz"])
        if signer and self.kind is SyncKind.SNAPSHOT:
            signer.sign("detach-sign", file, self.place / f"{self.name}.gpgsig")
        elif signer:
            sums = self.place / "sums"
            digest = hashlib.sha512(file.read_bytes()).hexdigest()
            sums.write_text(f"{'0' * 128}  tiny-20250101.xz.sqfs\n{digest}  {self.name}\n")
            signer.sign("clearsign", sums, self.place / "sha512sum.txt")

    def start(self) -> None:
        self.server = FileServer(self.place, self.port)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def make_mirror(kind: SyncKind, place: Path) -> Mirror:
    """A mirror of the tiny repository; nothing is released yet."""
    tree = Path(shutil.copytree(TINY, place / "source"))
    served = place / "served"
    served.mkdir()
    match kind:
        case SyncKind.GIT:
            return GitMirror(served, tree)
        case SyncKind.RSYNC:
            return RsyncMirror(served, tree)
        case _:
            return ArchiveMirror(served, tree, kind)


def repository(mirror: Mirror, keyring: Path | None = None) -> Repository:
    return Repository("tiny", sync=mirror.kind, uri=mirror.uri, keyring=keyring)
