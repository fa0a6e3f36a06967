"""Images and what is installed from them, with all processes of `up`: asked for, made, reported."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import first_report, medium
from appliance.account_model import Role
from appliance.deadline import wait_until
from appliance.demo import Scene, serving
from appliance.lab import APPLIANCE_ADDRESS, Lan, lan, wait_for_port
from appliance.media_secret import media_secret
from appliance.model import MachineState
from appliance.overlays import overlay
from appliance.run import run
from appliance.store.media import KnownMedium
from buildfarm.signing import Signer
from tests.press import Press
from tests.press_media import content_of
from tests.quiet import quiet_scene
from tests.webdoor import FORM_TOKEN, make_account

REPORTER = overlay("client") / "usr/lib/distserver/first-report"
BEGUN = """
import sys
from pathlib import Path
from appliance.store import Store
assert Store(Path(sys.argv[1])).media.begin_image(now=1.0)
"""


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return quiet_scene(tmp_path)


@pytest.fixture
def net() -> Iterator[Lan]:
    with lan("media", clients={"client": "10.77.0.9"}) as made:
        yield made


def test_the_farm_makes_what_the_page_is_asked_for_also_after_it_was_killed_at_it(
    scene: Scene, net: Lan, tmp_path: Path
) -> None:
    press = Press(scene.tree, scene.site, Signer(scene.tree.path / "keys"))
    one = press.published(b"package")
    services = scene.services()
    services.downloads.want(one.id, offline=False)
    # A process that is gone had begun to make it.
    run([sys.executable, "-c", BEGUN, scene.tree.store])
    page = f"http://127.0.0.1:8080/release/{one.id}/online"
    curl = ["curl", "-s", "-b", str(tmp_path / "cookies"), "-c", str(tmp_path / "cookies")]

    def get(*words: str) -> str:
        return run([*curl, *words], prefix=net.exec_prefix("appliance")).stdout

    with serving(scene, net):
        wait_for_port(net, "appliance", 8080, seconds=30)
        make_account(services, "ann", Role.ADMIN)
        link = f"http://127.0.0.1:8080/login/{services.accounts.login_link()[1]}"
        token = FORM_TOKEN.search(get(link))
        assert token
        get("-d", f"form_token={token[1]}", link)
        ready = wait_until(
            lambda: text if "SHA-256" in (text := get(page)) else None, seconds=60, what="the image"
        )
        image = tmp_path / "got.iso"
        get("-f", "-r", "0-99999", "-o", str(image), f"{page}.iso")
        get("-f", "-C", "100000", "-o", str(image), f"{page}.iso")
    found = re.search(r"SHA-256 <code>([0-9a-f]{64})", ready)
    assert found and run(["sha256sum", image]).stdout.startswith(found[1])
    said = medium.parse(content_of(image, "distserver/medium", tmp_path).decode())
    assert said.server == f"http://{APPLIANCE_ADDRESS}:80"
    assert [row.who for row in services.media.made()] == ["the web page"]


def test_a_machine_that_was_installed_without_the_server_is_known_when_it_reaches_it(
    scene: Scene, net: Lan, tmp_path: Path
) -> None:
    press = Press(scene.tree, scene.site, Signer(scene.tree.path / "keys"))
    one = press.published(b"package")
    services = scene.services()
    known = medium.identify(
        medium.Medium("2026-01-01T00:00:00Z", f"http://{APPLIANCE_ADDRESS}:80", True, ((one.id, "vm"),))
    )
    services.store.media.add(KnownMedium(known.id, 1.0, "ann", known.server, True, known.releases))
    place = tmp_path / "report"
    place.mkdir()
    (place / "credential").write_text(first_report.credential(media_secret(scene.tree), known.id) + "\n")
    (place / "head").write_text(
        f"medium {known.id}\nnonce {'ab' * 16}\nrelease {one.id}\nprofile vm\nhostname web1\n"
        f"fingerprint {'cd' * 32}\n"
    )
    (place / "events").write_text("1000 packages done 60.0 2000000 1 package\n")
    (place / "facts").write_text("mac 52:54:00:00:00:01\nfirmware uefi\nmemory 1073741824\n")
    (tmp_path / "server").write_text(f"{known.server}\n")
    with serving(scene, net):
        argv: list[str | Path] = [sys.executable, REPORTER, place, tmp_path / "server", "0.5"]
        said = run(argv, prefix=net.exec_prefix("client"), timeout_seconds=60).stdout
    assert said.splitlines()[-1] == "first-report: taken"
    assert not place.exists()
    machine = services.machine("web1")
    assert (machine.state, machine.release) == (MachineState.INSTALLED, one.id)
