"""A place in which the installer's shell functions run under a real busybox, beside a real HTTP server."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

from appliance.farm_model import Release
from appliance.install import plan_install, render
from appliance.model import Disk, Facts, Firmware
from appliance.run import Finished, run
from appliance.site_model import DiskLayout, Partition, Profile, StageSource

OVERLAY = Path(__file__).resolve().parents[1] / "overlays" / "installer"
CODE = OVERLAY / "lib" / "installer"
RELEASE = "20260101-0123456789ab"
MIB = 1024 * 1024
NOTHING: Mapping[str, bytes] = MappingProxyType({})
MOUNTS = ("unshare", "--mount", "--propagation", "private")


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "X-Waits" in self.headers and self.server.refusals:
            self.server.refusals -= 1
            self.send_response(503, "Come Again In 7")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        found = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        self.server.asked.append((self.path, start))
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.posted.append((self.path, body))
        answers = self.server.answers[self.path]
        if isinstance(answers, list):  # one after the other
            answers = answers.pop(0)
        answer = (answers if isinstance(answers, str) else answers(body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass

    server: "Server"


class Server(ThreadingHTTPServer):
    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, str | list[str] | Callable[[str], str]] = {
            "/event": "ok\n",
            "/hello": "wait 1 unknown\n",
            "/plan": "refused no\n",
        }
        self.posted: list[tuple[str, str]] = []
        self.asked: list[tuple[str, int]] = []
        self.refusals = 0
        """How often a client that can wait is told to come again first."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@dataclass(frozen=True)
class Box:
    """A place in which functions of the installer run, and what they left there."""

    path: Path
    server: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    arguments: str = ""
    """More of the kernel's command line."""
    prefix: tuple[str, ...] = ()
    """MOUNTS: what is mounted is gone when the script ends."""

    def sh(self, script: str, ok: tuple[int, ...] = (0,)) -> Finished:
        env = {
            "code": str(CODE),
            "work": str(self.path),
            "plan": str(self.path / "plan"),
            "target": str(self.path / "target"),
            "devices": str(self.path),
            "sys": str(self.path / "sys"),
            "net": str(self.path / "sys/class/net"),
            "cmdline": str(self.path / "cmdline"),
            "longest_wait": "1",
            "fetch_tries": "2",
            **self.settings,
        }
        (self.path / "cmdline").write_text(
            f"quiet distserver={self.server}/ console=ttyS0 {self.arguments}\n"
        )
        lead = ". $code/parts.sh; read_arguments; open_consoles; "
        return run(
            ["busybox", "sh", "-c", lead + script], prefix=self.prefix, env=env, ok=ok, timeout_seconds=60
        )

    def plan(self, text: str) -> None:
        (self.path / "plan").write_text(text)

    @property
    def console(self) -> str:
        return (self.path / "console").read_text()


def plan_text(base: str = "http://10.77.0.2/r/x", firmware: Firmware = Firmware.UEFI) -> str:
    partitions = (
        Partition("esp", 64 * MIB, "vfat", "/boot/efi", Firmware.UEFI),
        Partition("bios", MIB, "", "", Firmware.BIOS),
        Partition("swap", 64 * MIB, "swap"),
        Partition("root", None, "ext4", "/"),
    )
    profile = Profile(
        "vm", "", "amd64", "x86_64-pc-linux-gnu", "distserver:amd64", StageSource(""), StageSource(""), "",
        "console=ttyS0 quiet", "", {}, (), DiskLayout(partitions, 0),
    )  # fmt: skip
    facts = Facts("52:54:00:77:00:01", firmware, disks=(Disk("/dev/nvme0n1", 1024 * MIB),))
    plan = plan_install(facts, profile, Release(RELEASE, "vm", 1.0, "tiny:0a1b", 3, 100), hostname="vm-1")
    return render(plan, report="s3cret", base=base, pool="http://10.77.0.2")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def lay(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def publish(
    server: Server,
    keys: Path,
    scratch: Path,
    *,
    signer: str = "good",
    more: Mapping[str, bytes] = NOTHING,
    **files: bytes,
) -> str:
    """Put a signed release on the server; returns the text of its manifest."""
    lines = ["distserver-release 1", f"id {RELEASE}", "profile vm"]
    for name, data in {**files, **more}.items():
        lines.append(f"FILE {name} {len(data)} SHA256 {sha256(data)}")
        server.files[f"/r/{RELEASE}/{name}"] = data
    text = "\n".join(lines) + "\n"
    (scratch / "text").write_text(text)
    sign(keys / signer, scratch / "text", scratch / "sig")
    server.files[f"/r/{RELEASE}/manifest"] = text.encode()
    server.files[f"/r/{RELEASE}/manifest.sig"] = (scratch / "sig").read_bytes()
    return text


def sign(home: Path, text: Path, signature: Path) -> None:
    """Detached, with the key of one of the homes that the fixture `keys` made."""
    when = ["--faked-system-time", "20700102T000000!"] if home.name == "later" else []
    gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--yes", *when]
    run([*gpg, "--detach-sign", "-o", signature, text])
    run(["gpgconf", "--homedir", home, "--kill", "all"])
