"""A server of this process that the command line asks as from another host: real TLS, real tokens."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.account_model import Role
from appliance.cli import main
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.web_keys import WebKeys
from appliance.web_settings import WebSettings
from tests.webdoor import make_account
from webui.app import make_app
from webui.server import make_server

TLS = WebSettings("127.0.0.1", 0, tls=True)


@dataclass
class Afar:
    services: Services
    port: int
    authority: Path
    token_file: Path

    def options(self, **other: str) -> list[str]:
        asked = {
            "server": f"https://localhost:{self.port}",
            "token-file": str(self.token_file),
            "authority": str(self.authority),
        } | {name.replace("_", "-"): text for name, text in other.items()}
        return [word for name, text in asked.items() if text for word in (f"--{name}", text)]


def put_token(services: Services, file: Path, scope: Role) -> None:
    make_account(services, "ann", Role.ADMIN)
    _, text = services.api_tokens.make(services.accounts.get("ann"), "shell", scope, days=1)
    file.touch(mode=0o600)
    file.write_text(f"{text}\n")


@contextmanager
def serving(tmp_path: Path) -> Iterator[Afar]:
    """The example site's server with an empty state, and a token of an operator."""
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    services = Services(site, Tree(tmp_path / "state"))
    keys = WebKeys.below(services.tree)
    keys.keep(TLS, "lab", ("localhost",), group=os.getgid())
    server = make_server(make_app(lambda: Services(site, services.tree)), "127.0.0.1", 0, pem=keys.served)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    put_token(services, tmp_path / "token", Role.OPERATOR)
    try:
        yield Afar(services, int(server.bind_addr[1]), keys.authority, tmp_path / "token")
    finally:
        server.stop()
        thread.join()


def said_by(capsys: pytest.CaptureFixture[str], argv: list[str], status: int = 0) -> str:
    assert main(argv) == status, capsys.readouterr()
    captured = capsys.readouterr()
    return captured.err if status else captured.out
