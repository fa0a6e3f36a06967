"""The web page's machines as an operator's browser has them."""

import shutil
from pathlib import Path

from flask.testing import FlaskClient

from appliance.account_model import Role
from appliance.model import Disk, Facts, Firmware, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm.signing import Signer
from tests.press import Press
from tests.webdoor import sign_in, submit
from webui.app import make_app

ONE, TWO, THREE = (f"52:54:00:00:00:0{number}" for number in range(1, 4))
GIB = 1 << 30
MARKUP = "<script>alert(1)</script>"
DISK = Disk("/dev/vda", 8 * GIB, "virtio", serial="S1")
RULE = '\n[[match]]\nvendor = "ACME*"\n'


def make_services(place: Path) -> Services:
    site = Path(shutil.copytree(example_site(), place / "site"))
    return Services(site, Tree(place / "state"))


def published(services: Services) -> str:
    """A release of the profile vm."""
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    return press.published(b"one").id


def operator(services: Services) -> FlaskClient:
    """The browser of olga, who signed in."""
    client = make_app(lambda: Services(services.live.path, services.tree)).test_client()
    sign_in(client, services, Role.OPERATOR, "olga")
    return client


def add(
    services: Services, mac: str, *, profile: str | None = "vm", disks: tuple[Disk, ...] = (DISK,)
) -> None:
    services.add_machine(mac, profile=profile, name=f"web{mac[-1]}")
    services.store.machines.set_facts(mac, Facts(mac, Firmware.UEFI, GIB, vendor="ACME", disks=disks))


def state(services: Services, mac: str) -> MachineState:
    return services.machine(mac).state


def act(browser: FlaskClient, *macs: str, **form: str) -> str:
    """What the next page says."""
    page = browser.get("/machines").text
    token = page.split('name="form_token" value="')[1][:64]
    data = {"form_token": token, "mac": list(macs), **form}
    return browser.post("/machines/act", data=data, follow_redirects=True).text


def mark(browser: FlaskClient, mac: str) -> str:
    return browser.get(f"/machines/arm?mac={mac}").text.split(f'name="mark {mac}" value="')[1][:64]


def arm(browser: FlaskClient, mac: str, typed: str, shown: str = "") -> int:
    page = f"/machines/arm?mac={mac}"
    form = {"mac": mac, f"name {mac}": typed, f"mark {mac}": shown or mark(browser, mac)}
    return submit(browser, page, "/machines/arm", form).status_code
