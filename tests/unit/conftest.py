"""What unit tests share: a copy of the example site, a clock that stands, places to serve and to install."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.overlays import example_site
from appliance.run import run
from tests.burning import Slot
from tests.clock import Clock
from tests.installer_box import MOUNTS, RELEASE, Box, Server, lay, plan_text


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The example site, a test's own."""
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tftp_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a TFTP server may send, and what it may not. A test that is held up sees nothing repeated."""
    for name in ("FIRST_RTO_SECONDS", "SHORTEST_RTO_SECONDS"):
        monkeypatch.setattr(f"pxe.tftp.{name}", 4.0)
    (tmp_path / "file").write_bytes(b"x" * 1024)
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for installers."""
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def box(tmp_path: Path, server: Server) -> Box:
    """Where the installer's functions run."""
    (tmp_path / "console").touch()
    (tmp_path / "secret").write_text("s3cret\n")
    return Box(tmp_path, server.url)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signing keys `good`, `other` and, from the future, `later`; each exported beside its home."""
    place = tmp_path_factory.mktemp("keys")
    for name in ("good", "other", "later"):
        home = place / name
        home.mkdir(mode=0o700)
        gpg: list[str | Path] = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        if name == "later":
            gpg += ["--faked-system-time", "20700101T000000!"]
        run([*gpg, "--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", "never"])
        run([*gpg, "--output", place / f"{name}.gpg", "--export"])
        run(["gpgconf", "--homedir", home, "--kill", "all"])
    return place


@pytest.fixture
def trusting(box: Box, keys: Path, server: Server) -> Box:
    """A box with a plan and the key `good`."""
    box.plan(plan_text(base=f"{server.url}/r/{RELEASE}"))
    return Box(box.path, box.server, {"key": str(keys / "good.gpg")})


@pytest.fixture
def slot(box: Box, keys: Path, tmp_path: Path) -> Iterator[Slot]:
    """A machine of drives without media, and a key that signs those."""
    settings = {
        "medium": str(tmp_path / "medium-mount"),
        "planner": str(tmp_path / "planner-mount"),
        "key": str(keys / "good.gpg"),
        "medium_seconds": "1",
        "medium_type": "squashfs",
    }
    lay(tmp_path / "tree", {"distserver/planner.sqfs": "a planner", "distserver/profiles.json": "{}"})
    with ExitStack() as drives:
        yield Slot(replace(box, settings=settings, prefix=MOUNTS), tmp_path / "tree", keys, drives)
