"""The web page over TLS: its own authority, as real clients verify it, and its renewal while it is served."""

import http.client
import os
import shutil
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance import web_keys
from appliance.account_model import Role
from appliance.errors import Problem
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.run import run
from appliance.services import Services
from appliance.web_keys import WebKeys
from appliance.web_settings import WebSettings
from tests.webdoor import FORM_TOKEN, make_account
from webui.app import make_app
from webui.server import MOST_BODY_BYTES, TIMEOUT_SECONDS, Server, make_server

TLS = WebSettings("127.0.0.1", 0, tls=True)
NAMES = ("127.0.0.1", "localhost", "web.example")
SOON_SECONDS = TIMEOUT_SECONDS / 2


@dataclass
class Served:
    server: Server
    keys: WebKeys
    services: Services

    @property
    def port(self) -> int:
        return int(self.server.bind_addr[1])

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.keys.authority))

    def certificate(self, name: str = "localhost", context: ssl.SSLContext | None = None) -> bytes:
        """What a client gets that verifies it."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=SOON_SECONDS) as plain,
            (context or self.context()).wrap_socket(plain, server_hostname=name) as channel,
        ):
            return channel.getpeercert(binary_form=True) or b""

    def request(
        self, path: str, *, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], list[str], str]:
        """Status, headers, cookies, text."""
        link = http.client.HTTPSConnection(
            "localhost", self.port, context=self.context(), timeout=SOON_SECONDS
        )
        link.request("POST" if body is not None else "GET", path, body, headers or {})
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, dict(answer.getheaders()), answer.headers.get_all("Set-Cookie") or [], text


@pytest.fixture
def keys(tmp_path: Path) -> WebKeys:
    return WebKeys.below(Tree(tmp_path / "state"))


@pytest.fixture
def served(tmp_path: Path, keys: WebKeys) -> Iterator[Served]:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    services = Services(site, Tree(tmp_path / "state"))
    keys.keep(TLS, "lab", NAMES, group=0)
    app = make_app(lambda: Services(site, services.tree))
    server = make_server(app, "127.0.0.1", 0, pem=keys.served)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield Served(server, keys, services)
    server.stop()
    thread.join()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_client_that_trusts_the_authority_verifies_every_name_and_nobody_else_does(served: Served) -> None:
    for name in NAMES:
        assert served.certificate(name)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        served.certificate("other.example")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed"):
        served.certificate("localhost", ssl.create_default_context())


def test_one_signs_in_over_tls_with_cookies_for_tls_alone(served: Served) -> None:
    make_account(served.services, "ann", Role.ADMIN)
    link = f"/login/{served.services.accounts.login_link()[1]}"
    status, headers, cookies, text = served.request(link)
    assert status == 200 and headers["Strict-Transport-Security"].startswith("max-age=")
    assert headers["Server"] == "DistServer"
    token = FORM_TOKEN.search(text)
    assert token
    form = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies[0].partition(";")[0]}
    status, _, cookies, _ = served.request(link, body=f"form_token={token[1]}", headers=form)
    assert status == 303
    session = next(one for one in cookies if one.startswith("__Host-distserver-session="))
    assert "Secure" in session
    status, _, _, text = served.request("/", headers={"Cookie": session.partition(";")[0]})
    assert status == 200 and "ann" in text


def test_plain_http_gets_a_sentence(served: Served) -> None:
    link = http.client.HTTPConnection("127.0.0.1", served.port, timeout=SOON_SECONDS)
    link.request("GET", "/login")
    answer = link.getresponse()
    assert answer.status == 400
    assert b"write https://" in answer.read()
    link.close()


def test_callers_who_say_nothing_or_nonsense_hold_up_nobody(served: Served) -> None:
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(8)]
    for nonsense in (b"\x16", b"\x16\x03\x01\x00\x05hello", b"\x00" * 100):
        one = socket.create_connection(("127.0.0.1", served.port))
        one.sendall(nonsense)
        silent.append(one)
    assert served.request("/login")[0] == 200
    for one in silent:
        one.close()


def test_another_certificate_counts_without_a_restart_and_a_broken_file_does_not(served: Served) -> None:
    first = served.certificate()
    assert not served.keys.keep(TLS, "lab", NAMES, group=0)
    assert served.certificate() == first
    assert served.keys.keep(TLS, "lab", (*NAMES, "more.example"), group=0)
    second = served.certificate("more.example")
    assert second != first
    broken = served.keys.home / "broken"
    broken.write_text("no certificate")
    broken.replace(served.keys.served)
    assert served.certificate() == second
    assert served.keys.keep(TLS, "lab", NAMES, group=0)
    assert served.certificate() not in (first, second)


def test_headers_and_bodies_without_end_are_refused(served: Served) -> None:
    def refused(**what: Any) -> bool:
        try:
            return served.request("/login", **what)[0] == 413
        except OSError:  # it closed the connection while the rest was still being sent
            return True

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert refused(headers={"X-Long": "x" * 100_000})
    assert refused(body="x" * 200_000, headers=form)
    assert refused(body="x" * (MOST_BODY_BYTES + 1))
    assert not refused(body="name=x", headers=form)


def test_keys_are_for_those_who_need_them(keys: WebKeys) -> None:
    keys.keep(TLS, "lab", NAMES, group=12345)
    assert mode(keys.home / "authority") == 0o700
    assert mode(keys.home / "authority" / "ca.key") == 0o600
    assert mode(keys.authority) == 0o644
    assert mode(keys.served) == 0o640
    assert (keys.served.stat().st_uid, keys.served.stat().st_gid) == (os.geteuid(), 12345)
    assert "PRIVATE KEY" not in keys.authority.read_text()
    kept = {"ca.key", "lock", "names"}
    assert {one.name for one in (keys.home / "authority").iterdir()} == kept


def test_a_certificate_is_renewed_before_it_ends_and_the_authority_stays(
    keys: WebKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_keys, "DAYS", 29)
    assert keys.keep(TLS, "lab", NAMES, group=0)
    authority, short = keys.authority.read_bytes(), keys.served.read_bytes()
    assert keys.fingerprint().count(":") == 31
    monkeypatch.undo()
    assert keys.keep(TLS, "lab", NAMES, group=0)
    assert keys.served.read_bytes() != short and keys.authority.read_bytes() == authority
    assert not keys.keep(TLS, "lab", tuple(reversed(NAMES)), group=0)


def test_the_authority_makes_no_further_ones(keys: WebKeys) -> None:
    keys.keep(TLS, "lab", NAMES, group=0)
    said = run(["openssl", "x509", "-in", keys.authority, "-noout", "-text"]).stdout
    assert "CA:TRUE, pathlen:0" in said and "Certificate Sign" in said
    said = run(["openssl", "x509", "-in", keys.served, "-noout", "-text"]).stdout
    assert "CA:FALSE" in said and "TLS Web Server Authentication" in said


def test_the_sites_own_certificate_is_taken_when_it_is_a_pair(keys: WebKeys, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        key, certificate = tmp_path / f"{name}.key", tmp_path / f"{name}.crt"
        pair = ["-keyout", str(key), "-out", str(certificate)]
        run(["openssl", "req", "-new", "-x509", *web_keys.EC, "-subj", "/CN=web.example", *pair])
        made.append((certificate, key))
    (certificate, key), (_, other) = made
    own = WebSettings("0.0.0.0", 8080, tls=True, certificate=certificate, key=key)
    assert keys.keep(own, "lab", NAMES, group=0)
    assert certificate.read_bytes() in keys.served.read_bytes()
    assert not keys.authority.exists()
    with pytest.raises(Problem, match="no certificate and its key"):
        keys.keep(WebSettings(tls=True, certificate=certificate, key=other), "lab", NAMES, group=0)
    key.chmod(0o644)
    with pytest.raises(Problem, match="others may read"):
        keys.keep(own, "lab", NAMES, group=0)
    assert certificate.read_bytes() in keys.served.read_bytes()
