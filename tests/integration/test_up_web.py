"""The web page of `up` on a LAN: encrypted, by an unprivileged process, and how the first admin comes."""

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client_keys import ClientKeys
from appliance.deadline import wait_until
from appliance.demo import Scene, serving
from appliance.good_site import CURRENT
from appliance.lab import APPLIANCE_ADDRESS, Lan, lan, wait_for_port
from appliance.rights import service_user, unprivileged
from appliance.run import CommandFailed, run, running
from appliance.services import Services
from appliance.web_keys import WebKeys
from appliance.webhook_model import Happening
from tests.client_yard import add_machine, make_key
from tests.quiet import quiet_scene
from tests.webdoor import COOKIE, FORM_TOKEN, PASSWORD, begin_session

PORT, DOOR = 8444, 8443
HOOK_PORT = 8099


@pytest.fixture
def scene() -> Iterator[Scene]:
    # Where other users may come: pytest's own directories are closed to them.
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="distserver-web-") as name:
        place = Path(name)
        place.chmod(0o755)
        made = quiet_scene(place)
        file = made.site / "appliance.toml"
        text = re.sub(
            r"(?m)^\[web\]\n(\w.*\n)*", f'[web]\nhost = "0.0.0.0"\nport = {PORT}\n', file.read_text()
        )
        file.write_text(text)
        yield made


@pytest.fixture
def net() -> Iterator[Lan]:
    with lan("web", clients={"client": "10.77.0.9"}) as made:
        yield made


def assert_told(services: Services, net: Lan) -> None:
    """The farm of `up` tells a webhook on its host, which does not know how to be told."""
    hook, _ = services.webhooks.add(f"http://127.0.0.1:{HOOK_PORT}/", [one.value for one in Happening])
    receiver = [sys.executable, "-m", "http.server", str(HOOK_PORT), "--bind", "127.0.0.1"]
    with running(receiver, prefix=net.exec_prefix("appliance")):
        wait_for_port(net, "appliance", HOOK_PORT, seconds=30)
        services.webhooks.test(hook.id)
        wait_until(
            lambda: services.webhooks.deliveries(hook.id)[0].said.startswith("501") or None,
            seconds=60,
            what="the webhook's answer",
        )


def test_the_first_admin_comes_over_tls_from_another_host(scene: Scene, net: Lan, tmp_path: Path) -> None:
    keys = WebKeys.below(scene.tree)
    page = f"https://{APPLIANCE_ADDRESS}:{PORT}"
    cookies = tmp_path / "cookies"
    curl = ["curl", "-sS", "--cacert", str(keys.authority), "-b", str(cookies), "-c", str(cookies)]

    def get(*words: str) -> str:
        return run([*curl, *words], prefix=net.exec_prefix("client")).stdout

    with serving(scene, net):
        wait_for_port(net, "appliance", PORT, seconds=30)
        services = scene.services()
        link = f"{page}/login/{services.accounts.first_link()}"
        token = FORM_TOKEN.search(get(link))
        assert token
        said = ("form_token=" + token[1], "name=ann", f"password={PASSWORD}", f"again={PASSWORD}")
        get(*(word for one in said for word in ("--data-urlencode", one)), link)
        assert "Invite somebody" in get(f"{page}/accounts")
        assert_told(services, net)
        with pytest.raises(CommandFailed, match="certificate"):
            run(["curl", "-sS", page], prefix=net.exec_prefix("client"))
    assert keys.served.stat().st_gid == service_user().pw_gid
    as_web = unprivileged(service_user(), ())
    run(["cat", keys.served], prefix=as_web)
    for closed in (keys.home / "authority" / "ca.key", keys.home / "authority" / "names"):
        with pytest.raises(CommandFailed, match="Permission denied"):
            run(["cat", closed], prefix=as_web)
    nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    with pytest.raises(CommandFailed, match="Permission denied"):
        run(["cat", keys.served], prefix=nobody)


def test_a_profile_is_edited_through_the_unprivileged_page_and_a_broken_site_outlives_a_restart(
    scene: Scene, net: Lan
) -> None:
    page = f"https://{APPLIANCE_ADDRESS}:{PORT}"
    own = ["git", "-c", "user.name=bob", "-c", "user.email=bob@home", "-C", str(scene.site)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        run([*own, *words])
    services = scene.services()
    cookie = f"__Host-{COOKIE}={begin_session(services, name='ann')}"
    authority = WebKeys.below(scene.tree).authority

    def get(way: str, **fields: str) -> str:
        sent = [word for name, text in fields.items() for word in ("--data-urlencode", f"{name}={text}")]
        curl = ["curl", "-sS", "--cacert", str(authority), "-b", cookie, *sent, page + way]
        return run(curl, prefix=net.exec_prefix("client")).stdout

    def has(way: str, text: str) -> bool:
        return wait_until(lambda: text in get(way) or None, seconds=60, what=f"{text} on {way}")

    world, toml = scene.site / "profiles/vm/world", scene.site / "profiles/vm/profile.toml"
    with serving(scene, net):
        wait_for_port(net, "appliance", PORT, seconds=30)
        shown = get("/profile/vm/edit?file=world")
        token, base = FORM_TOKEN.search(shown), re.search(r'name="base" value="(\w+)"', shown)
        assert token and base
        text = world.read_text() + "app-misc/edited\n"
        asked = {"file": "world", "base": base[1], "was": "", "text": text, "form_token": token[1]}
        assert "Write it" in get("/profile/vm/edit", **asked)
        get("/profile/vm/write", why="through the page", **asked)
        assert has("/profile/vm/change/1", "written; commit ")
        assert world.read_text() == text
        assert run([*own, "log", "-1", "--format=%an: %s"]).stdout == "ann: through the page\n"
        assert has("/profile/vm", "app-misc/edited")
        kept = scene.tree.path / "good-site" / CURRENT / "profiles/vm/world"
        wait_until(
            lambda: kept.read_text() == text or None, seconds=60, what="the copy of the last good site"
        )
        toml.write_text("[[[")
        assert "profiles/vm/profile.toml:1: " in get("/")
    with serving(scene, net):
        wait_for_port(net, "appliance", PORT, seconds=30)
        assert "profiles/vm/profile.toml:1: " in get("/profiles")
        assert "app-misc/edited" in get("/profile/vm")
    services.store.close()


def test_an_installed_machine_comes_to_the_door_and_the_farm_signs_its_key(
    scene: Scene, net: Lan, tmp_path: Path
) -> None:
    keys = ClientKeys.below(scene.tree)
    services = scene.services()
    secret = add_machine(services, "52:54:00:00:00:01")
    key, request = make_key(tmp_path)
    body, certificate = tmp_path / "body", tmp_path / "machine.crt"
    body.write_text(f"report {secret}\n{request}")

    def get(*words: str | Path) -> str:
        return run(["curl", "-sS", *words], prefix=net.exec_prefix("client")).stdout

    with serving(scene, net):
        wait_for_port(net, "appliance", DOOR, seconds=30)
        said = get("--data-binary", f"@{body}", f"http://{APPLIANCE_ADDRESS}/enroll").split()
        assert said[0] == "key"
        door = ("--cacert", keys.authority, f"https://{APPLIANCE_ADDRESS}:{DOOR}/client")
        (trust, authority, url) = door
        wait_until(
            lambda: _is_signed(certificate, get(trust, authority, f"{url}/certificate/{said[1]}")),
            seconds=30,
            what="the farm signs",
        )
        pair = ("--cert", certificate, "--key", key)
        assert '"machine": "52:54:00:00:00:01"' in get(*pair, trust, authority, f"{url}/order")
        assert "needs the certificate" in get(trust, authority, f"{url}/order")
    assert keys.served.stat().st_gid == service_user().pw_gid
    with pytest.raises(CommandFailed, match="Permission denied"):
        run(["cat", keys.pair.home / "authority" / "ca.key"], prefix=unprivileged(service_user(), ()))


def _is_signed(certificate: Path, said: str) -> bool | None:
    certificate.write_text(said)
    return "BEGIN CERTIFICATE" in said or None
