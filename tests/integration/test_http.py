"""HTTP of real clients and of none: paths, slow and many connections, and a real nginx in front."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.deadline import wait_until
from appliance.model import BootTarget, LocalBoot, NetBoot
from appliance.overlays import HOME
from appliance.run import run, running
from pxe.http_limits import PER_PEER
from tests.fake_director import FakeDirector
from tests.integration.netyard import DEADLINE_SECONDS, MAC, Yard, inside, serving, yard

SERVER, CLIENT = "10.79.2.2", "10.79.2.3"
RELEASE = "20260101-00000000000a"
PACKAGE = f"/pool/ab/ab{'0' * 62}.gpkg.tar"
INSTALLED = "52:54:00:79:02:09"
SECRET = b"a secret that is nobody's business"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("http")
    release = state / "releases" / RELEASE
    release.mkdir(parents=True)
    for name in ("kernel", "installer", "stage"):
        (release / name).write_bytes(name.encode() * 50_000)
    (state / "releases" / f"{RELEASE}.partial").mkdir()
    for secret in (
        state / "secret",
        state / "releases" / "secret",
        state / "releases" / f"{RELEASE}.partial" / "k",
    ):
        secret.write_bytes(SECRET)
    (release / "link").symlink_to(state / "secret")
    package = state / PACKAGE[1:]
    package.parent.mkdir(parents=True)
    package.write_bytes(b"a package")
    for directory in (state, *state.parents[:3]):
        with contextlib.suppress(PermissionError):
            directory.chmod(directory.stat().st_mode | 0o055)
    return state


@pytest.fixture(scope="module")
def net() -> Iterator[Yard]:
    with yard() as net:
        net.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", f"{CLIENT}/24"))
        yield net


def director(state: Path) -> FakeDirector:
    targets: dict[str, BootTarget] = {
        INSTALLED: LocalBoot("installed"),
        "*": NetBoot(RELEASE, "quiet", "armed"),
    }
    return FakeDirector(targets, releases=state / "releases", pool=state / "pool")


@pytest.fixture(scope="module")
def served(net: Yard, state: Path) -> Iterator[FakeDirector]:
    with serving(net.room("server"), state / "boot", "eth0", director=director(state)) as asked:
        yield asked


def raw(net: Yard, request: bytes, *, more: bool = True) -> bytes:
    """What comes back for these bytes until a side ends the connection: we do, unless there could be more."""
    with inside(net.room("client")), socket.create_connection((SERVER, 80), timeout=10) as made:
        made.sendall(request)
        if not more:
            made.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: made.recv(65536), b""))


dots = st.sampled_from(["..", "%2e%2e", ".%2e", "%2E.", "..%00", "%252e%252e", "..\\", "..;", "%c0%ae%c0%ae"])
slashes = st.sampled_from(["/", "//", "%2f", "%5c", "\\", "%252f", "/./"])
starts = st.sampled_from(
    ["/", f"/r/{RELEASE}/", "/r/", "/pool/ab/", "/boot/", "/distfiles/", "/toolchain/", "//"]
)
ends = st.sampled_from(["secret", "releases/secret", f"{RELEASE}.partial/k", "etc/passwd", "link", "k"])


@settings(max_examples=150, deadline=None)
@given(starts, st.lists(st.tuples(dots, slashes), max_size=6), ends)
@example("/r/", [], f"{RELEASE}.partial/k")
@example(f"/r/{RELEASE}/", [], "link")
def test_no_spelling_of_a_path_leads_out(
    net: Yard, served: FakeDirector, start: str, steps: list[tuple[str, str]], end: str
) -> None:
    path = start + "".join(dot + slash for dot, slash in steps) + end
    answer = raw(net, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert SECRET not in answer and b"root:" not in answer
    assert re.match(rb"HTTP/1.[01] (404|400|500)", answer)
    assert not answer.startswith(b"HTTP/1.1 500")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_end_the_server(net: Yard, served: FakeDirector, data: bytes) -> None:
    with contextlib.suppress(OSError):
        raw(net, data, more=False)
    assert b" 200 " in raw(net, f"HEAD /r/{RELEASE}/kernel HTTP/1.0\r\n\r\n".encode()).split(b"\r\n")[0]


def test_an_installer_gets_the_profiles_to_choose_from_and_no_proxy_keeps_them(
    net: Yard, served: FakeDirector
) -> None:
    with inside(net.room("client")):
        listed = run(["busybox", "wget", "-q", "-O", "-", f"http://{SERVER}/profiles"]).stdout
    assert listed == served.profiles()
    head = raw(net, b"GET /profiles HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")[0]
    assert b"Content-Type: text/plain; charset=utf-8" in head
    assert b"Cache-Control: no-store" in head
    assert b" 404 " in raw(net, b"GET /profiles/vm HTTP/1.0\r\n\r\n").split(b"\r\n")[0]


def test_headers_without_end_are_refused(net: Yard, served: FakeDirector) -> None:
    with contextlib.suppress(OSError):
        assert b" 200 " not in raw(net, b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000, more=False)


def test_a_crowd_of_idle_connections_of_one_peer_is_ended_and_others_are_served(
    net: Yard, served: FakeDirector
) -> None:
    with contextlib.ExitStack() as opened, inside(net.room("client")):
        crowd = [
            opened.enter_context(socket.create_connection((SERVER, 80), timeout=5))
            for _ in range(PER_PEER + 20)
        ]
        crowd[0].settimeout(DEADLINE_SECONDS)
        with contextlib.suppress(ConnectionResetError):
            assert crowd[0].recv(1) == b""
    assert b" 200 " in raw(net, f"HEAD /r/{RELEASE}/kernel HTTP/1.0\r\n\r\n".encode())


# nginx in front


@dataclass(frozen=True)
class Front:
    net: Yard
    director: FakeDirector

    def curl(self, path: str, *words: str, port: int = 80) -> str:
        command = ["curl", "-sS", "--path-as-is", "--max-time", "20", *words, f"http://{SERVER}:{port}{path}"]
        return run(command, prefix=self.net.on("client")).stdout


@pytest.fixture(scope="module")
def front(state: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """The nginx of the example, with our state, and what it passes on to."""
    place = tmp_path_factory.mktemp("nginx")
    text = (HOME / "examples" / "nginx.conf").read_text()
    assert "/var/lib/distserver" in text
    lead = f"daemon off; user root; pid {place}/pid;\n"
    (place / "nginx.conf").write_text(lead + text.replace("/var/lib/distserver", str(state)))
    command: list[str | Path] = ["nginx", "-c", place / "nginx.conf", "-e", place / "error.log"]
    with yard() as net:
        net.wire(("server", "eth0", f"{SERVER}/24"), ("client", "eth0", f"{CLIENT}/24"))
        room, asked = net.room("server"), director(state)
        with (
            serving(room, state / "boot", "eth0", director=asked, http_port=8079, front=80),
            running(command, prefix=net.on("server"), output=place / "out"),
            inside(net.room("client")),
        ):

            def listening() -> bool | None:
                with contextlib.suppress(OSError), socket.create_connection((SERVER, 80), timeout=1):
                    return True
                return None

            wait_until(
                listening,
                seconds=DEADLINE_SECONDS,
                what="nginx listens",
                last_seen=lambda: (place / "out").read_text(),
            )
            yield Front(net, asked)


def test_through_nginx_files_are_its_own_and_machines_are_known_by_their_address(
    front: Front, tmp_path: Path
) -> None:
    server = front.curl(f"/r/{RELEASE}/stage", "-o", os.fspath(tmp_path / "stage"), "-w", "%header{server}")
    assert server.startswith("nginx")
    assert (tmp_path / "stage").read_bytes() == b"stage" * 50_000
    assert "immutable" in front.curl(PACKAGE, "-D", "-")
    script = front.curl(f"/boot/{MAC}.ipxe", "-H", "X-Forwarded-For: 10.9.9.9")
    assert f"kernel http://{SERVER}:80/r/{RELEASE}/kernel?mac={MAC}" in script
    assert front.director.addresses[MAC] == CLIENT
    got = front.curl(
        f"/r/{RELEASE}/kernel?mac={MAC}", "-o", os.fspath(tmp_path / "kernel"), "-w", "%{http_code}"
    )
    assert got == "200" and (tmp_path / "kernel").read_bytes() == b"kernel" * 50_000
    wait_until(
        lambda: "kernel" in front.director.stages() or None,
        seconds=DEADLINE_SECONDS,
        what="the kernel is on the timeline",
    )
    assert "403" in front.curl(f"/r/{RELEASE}/kernel?mac={INSTALLED}", "-o", os.devnull, "-w", "%{http_code}")
    hello = front.curl("/hello", "--data-binary", f"mac {MAC}\nfirmware uefi\n")
    assert hello == f"install token-for-http://{SERVER}:80\n"


@pytest.mark.parametrize(
    "path",
    [
        f"/r/{RELEASE}/../secret",
        f"/r/{RELEASE}/%2e%2e/secret",
        f"/r/{RELEASE}/..%2fsecret",
        f"/r/{RELEASE}/link",
        "/pool/../secret",
        "/ask",
        "/secret",
    ],
)
def test_through_nginx_no_path_leads_out(front: Front, path: str) -> None:
    said = front.curl(path, "-w", "%{http_code}")
    assert SECRET.decode() not in said
    assert said[-3:] in ("400", "403", "404")


def test_who_comes_past_the_front_is_not_believed(front: Front) -> None:
    front.curl(f"/boot/{MAC}.ipxe", "-H", "X-Forwarded-For: 10.9.9.9", port=8079)
    assert front.director.addresses[MAC] == CLIENT
