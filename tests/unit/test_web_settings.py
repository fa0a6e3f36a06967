"""The table [web]: encrypted unless only this host reaches it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance import web_address
from appliance.dns_settings import DnsSettings
from appliance.overlays import example_site
from appliance.site import read_site
from appliance.web_settings import WebSettings, read_web

FILE = Path("/site/appliance.toml")


def read(**table: object) -> tuple[WebSettings, list[str]]:
    complaints: list[str] = []
    return read_web(table, FILE, complaints), complaints


@pytest.mark.parametrize(
    ("host", "tls"),
    [
        ("127.0.0.1", False),
        ("::1", False),
        ("localhost", False),
        ("0.0.0.0", True),
        ("::", True),
        ("web", True),
    ],
)
def test_what_others_reach_is_encrypted_unless_somebody_says_otherwise(host: str, tls: bool) -> None:
    settings, complaints = read(host=host)
    assert (settings.tls, complaints) == (tls, [])
    assert read(host=host, tls=True)[0].tls


def test_passwords_do_not_go_through_a_network_in_the_clear() -> None:
    _, [complaint] = read(host="0.0.0.0", tls=False)
    assert "web.tls: expected true" in complaint and "could read passwords" in complaint
    assert read(host="127.0.0.1", tls=False)[1] == []


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"port": 0}, "web.port"),
        ({"port": 65536}, "web.port"),
        ({"names": ["a b"]}, "web.names"),
        ({"proxy": ["boot.example"]}, "web.proxy"),
        ({"proxy": ["10.0.0.0/8"]}, "web.proxy"),
        ({"names": ["web.example\nIP:1.2.3.4"]}, "web.names"),
        ({"names": ["https://web.example"]}, "web.names"),
        ({"names": [""]}, "web.names"),
        ({"tls": True, "certificate": "/dev/null/x"}, "certificate and key together"),
        ({"tls": True, "certificate": "/none/c", "key": "/none/k"}, "/none/k is no file"),
        ({"certificate": "/none/c", "key": "/none/k"}, "none without tls"),
    ],
)
def test_a_mistake_is_a_complaint(table: dict[str, object], said: str) -> None:
    assert any(said in complaint for complaint in read(**table)[1])


def test_names_are_host_names_and_addresses() -> None:
    names = ["web.example", "192.0.2.1", "2001:db8::1", "web"]
    assert read(host="0.0.0.0", names=names)[0].names == tuple(names)


def test_links_and_certificates_are_for_the_names_by_which_browsers_come(tmp_path: Path) -> None:
    site = read_site(Path(shutil.copytree(example_site(), tmp_path / "site")))
    assert web_address.page(site) == "http://127.0.0.1:8080/"
    assert web_address.page(site, "ab") == "http://127.0.0.1:8080/login/ab"
    named = replace(
        site,
        web=WebSettings("0.0.0.0", 443, tls=True, names=("web.example",)),
        dns=DnsSettings("lab.example"),
    )
    assert web_address.page(named) == "https://web.example:443/"
    names = web_address.names(named, ("192.0.2.7",))
    assert {"web.example", "192.0.2.7", "localhost", "127.0.0.1", "boot.lab.example"} <= set(names)
    behind = replace(site, web=WebSettings(names=("web.example",), proxies=("127.0.0.1",)))
    assert web_address.page(behind, "ab") == "https://web.example/login/ab"
    six = replace(site, web=WebSettings("2001:db8::1", 8443, tls=True))
    assert web_address.page(six) == "https://[2001:db8::1]:8443/"
    assert web_address.names(six, ("192.0.2.7",)) == ("2001:db8::1",)
    everywhere = replace(site, web=WebSettings("0.0.0.0", 8443, tls=True), address="192.0.2.9")
    assert web_address.page(everywhere) == "https://192.0.2.9:8443/"
