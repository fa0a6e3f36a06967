"""A real nginx before the web page, callers who lie about themselves, and callers who are slow on purpose."""

import http.client
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.account_model import Role
from appliance.deadline import wait_until
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import running
from appliance.services import Services
from tests.integration.mirrors import free_port
from tests.webdoor import FORM_TOKEN, make_account
from webui.app import make_app
from webui.patience import READ_SECONDS, Connection, Visitors
from webui.proxy import caller_of
from webui.server import THREADS, Server, make_server

SOON_SECONDS = 5.0
PATIENCE_SECONDS = 0.6
OTHER, NGINX = "127.0.0.2", "127.0.0.3"
"""Loopback has many addresses: a slow caller, and a proxy."""
CONFIG = """
daemon off; worker_processes 1; pid {place}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/fastcgi; uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{behind}; proxy_bind {nginx};
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


@dataclass
class Served:
    server: Server
    services: Services

    @property
    def port(self) -> int:
        return int(self.server.bind_addr[1])

    @property
    def visitors(self) -> Visitors:
        made: type[Connection] = self.server.ConnectionClass
        return made.visitors

    def ask(self, source: str = "127.0.0.1", headers: dict[str, str] | None = None) -> int:
        """The status of the page where one signs in."""
        return self.get(source, headers)[0]

    def get(
        self, source: str = "127.0.0.1", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, str]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, SOON_SECONDS, (source, 0))
        link.request("GET", "/login", headers=headers or {})
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, answer.headers, text

    def connect(self, source: str = OTHER) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), SOON_SECONDS, (source, 0))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    services = Services(site, Tree(tmp_path / "state"))
    make_account(services, "ann", Role.ADMIN)
    app = make_app(lambda: Services(site, services.tree))
    server = make_server(app, "127.0.0.1", 0, proxies=[NGINX])
    server.ConnectionClass.read_seconds = PATIENCE_SECONDS
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield Served(server, services)
    server.stop()
    thread.join()


@contextmanager
def nginx(behind: int) -> Iterator[int]:
    """The port of a proxy, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="distserver-nginx-") as name:
        port = free_port()
        file = Path(name) / "nginx.conf"
        file.write_text(CONFIG.format(place=name, port=port, behind=behind, nginx=NGINX))
        with running(["nginx", "-p", name, "-e", "stderr", "-c", str(file)]):
            wait_until(lambda: answers(port) or None, seconds=SOON_SECONDS, what="nginx")
            yield port


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def sign_in_wrongly(port: int, headers: dict[str, str]) -> http.client.HTTPResponse:
    link = http.client.HTTPConnection("127.0.0.1", port, SOON_SECONDS)
    link.request("GET", "/login", headers=headers)
    page = link.getresponse()
    token = FORM_TOKEN.search(page.read().decode())
    assert token
    cookies = "; ".join(one.partition(";")[0] for one in page.headers.get_all("Set-Cookie") or ())
    body = f"form_token={token[1]}&name=ann&password=wrong"
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies}
    link.request("POST", "/login", body, {**headers, **kind})
    answer = link.getresponse()
    answer.read()
    link.close()
    return answer


def test_through_a_proxy_the_caller_and_its_tls_count(served: Served) -> None:
    with nginx(served.port) as port:
        answer = sign_in_wrongly(port, {})
        assert answer.status == 403
        assert answer.headers["Strict-Transport-Security"]
        (note,) = served.services.audit.page(action="login failed")
        assert note.detail == "from 127.0.0.1", "and not from the proxy's address"


def test_what_a_caller_says_of_itself_to_the_proxy_is_not_believed(served: Served) -> None:
    with nginx(served.port) as port:
        sign_in_wrongly(port, {"X-Forwarded-For": "198.51.100.9"})
        (note,) = served.services.audit.page(action="login failed")
        assert note.detail == "from 127.0.0.1"


def test_who_is_no_proxy_is_not_believed(served: Served) -> None:
    lie = {"X-Forwarded-For": "198.51.100.9", "X-Forwarded-Proto": "https"}
    answer = sign_in_wrongly(served.port, lie)
    assert answer.headers["Strict-Transport-Security"] is None
    (note,) = served.services.audit.page(action="login failed")
    assert note.detail == "from 127.0.0.1"


@pytest.mark.parametrize(
    ("said", "caller"),
    [
        ("198.51.100.9", "198.51.100.9"),
        ("6.6.6.6, 198.51.100.9", "198.51.100.9"),
        ("6.6.6.6, 198.51.100.9, 127.0.0.3", "198.51.100.9"),
        ("2001:DB8::1", "2001:db8::1"),
        ("198.51.100.9, <script>", ""),
        ("127.0.0.3", ""),
        ("", ""),
    ],
)
def test_the_word_of_the_nearest_stranger_counts(said: str, caller: str) -> None:
    assert caller_of(said, {NGINX}) == caller


def test_callers_who_say_nothing_hold_no_thread(served: Served) -> None:
    with ExitStack() as silent:
        for number in range(3 * THREADS):
            silent.enter_context(served.connect(f"127.0.1.{number % 200 + 1}"))
        assert served.ask() == 200


def test_callers_who_send_a_byte_now_and_then_are_left_in_time(served: Served) -> None:
    over = threading.Event()
    with served.connect() as slow:
        slow.sendall(b"GET /login HTTP/1.1\r\nHost: a\r\n")

        def drip() -> None:
            # Each byte comes well within what a single read may wait.
            while not over.wait(PATIENCE_SECONDS / 20):
                try:
                    slow.sendall(b"X")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        said = b""
        try:
            while more := slow.recv(4096):
                said += more
        except ConnectionResetError:
            pass
        over.set()
        thread.join()
    assert b" 408 " in said.partition(b"\r\n")[0] or said == b""
    wait_until(lambda: not served.visitors.busy or None, seconds=SOON_SECONDS, what="the thread is free")


def test_a_body_that_comes_slowly_is_left_in_time(served: Served) -> None:
    over = threading.Event()
    with served.connect() as slow:
        slow.sendall(
            b"POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )

        def drip() -> None:
            while not over.wait(PATIENCE_SECONDS / 20):
                try:
                    slow.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        try:
            while slow.recv(4096):
                pass
        except ConnectionResetError:
            pass
        over.set()
        thread.join()
    wait_until(lambda: not served.visitors.busy or None, seconds=SOON_SECONDS, what="the thread is free")


def test_one_address_cannot_take_all_threads(served: Served) -> None:
    served.server.ConnectionClass.read_seconds = READ_SECONDS
    with ExitStack() as slow:
        for _ in range(served.visitors.most_busy):
            slow.enter_context(served.connect()).sendall(b"GET / HTTP/1.1\r\n")
        wait_until(
            lambda: served.visitors.busy[OTHER] == served.visitors.most_busy or None,
            seconds=SOON_SECONDS,
            what="all that one address may have",
        )
        assert served.ask(OTHER) == 503
        assert served.ask() == 200
    wait_until(lambda: not served.visitors.busy or None, seconds=SOON_SECONDS, what="the threads are free")
    assert served.ask(OTHER) == 200


def test_one_address_cannot_have_any_number_of_connections(served: Served) -> None:
    with ExitStack() as many:
        for _ in range(served.visitors.most_open):
            many.enter_context(served.connect())
        one_more = many.enter_context(served.connect())
        assert one_more.recv(1) == b""
        assert served.ask() == 200
    wait_until(
        lambda: not served.visitors.open or None, seconds=SOON_SECONDS + 15, what="connections are forgotten"
    )
