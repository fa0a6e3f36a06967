"""Full DHCP beside another DHCP server: refused at the start, noticed later."""

import asyncio
import sys
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.lab import DHCP_ADDRESS, foreign_dhcp
from appliance.run import Argument, run
from appliance.site import read_site
from pxe.company import Watch, refuse_company
from pxe.full_server import SUBJECT, FullServer
from pxe.servers import Network
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector
from tests.integration.dhcp_office import CLIENT, SECONDS, Office, udhcpc
from tests.integration.netyard import inside
from tests.lonely_registry import LonelyRegistry


def test_full_dhcp_is_refused_beside_another_server_and_names_it(office: Office, tmp_path: Path) -> None:
    site = read_site(office.site)
    with inside(office.lan.namespace("appliance")):
        link = Network(("eth0",)).links()[0]
        refuse_company([link], site.dhcp)
        with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"), pytest.raises(Problem) as refused:
            refuse_company([link], site.dhcp)
    assert f"another DHCP server answers on eth0: {DHCP_ADDRESS} (" in refused.value.message
    assert "[dhcp]" in refused.value.hint


def test_up_does_not_start_beside_another_server(office: Office, tmp_path: Path) -> None:
    words: list[Argument] = [
        sys.executable,
        "-m",
        "appliance.cli",
        "--state",
        office.tree.path,
        "up",
        "--site",
        office.site,
    ]
    with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"):
        ended = run(
            [*words, "--interface", "eth0"],
            prefix=office.lan.exec_prefix("appliance"),
            ok=(1,),
            timeout_seconds=60,
        )
    assert f"another DHCP server answers on eth0: {DHCP_ADDRESS}" in ended.stdout


def test_a_server_that_comes_later_raises_an_alarm(office: Office, tmp_path: Path) -> None:
    with office.served():
        office.wait_for("answering on eth0")
        with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"), udhcpc(office, CLIENT, tmp_path) as client:
            client.wait_for("bound")
            office.wait_for(f"another DHCP server, {DHCP_ADDRESS}, answers on eth0")
    assert any(DHCP_ADDRESS in said for said in office.alarms())


def test_a_server_that_no_machine_asked_yet_is_found_by_asking(office: Office, tmp_path: Path) -> None:
    director = FakeDirector()
    full = FullServer(LonelyRegistry(read_site(office.site).dhcp), director, Sightings(director.saw_address))

    async def watch() -> None:
        with inside(office.lan.namespace("appliance")):
            links = Network(("eth0",)).links()
            watching = asyncio.create_task(Watch(full, lambda: links, ask_seconds=0.2).run())
            async with asyncio.timeout(SECONDS):
                while not director.records:
                    await asyncio.sleep(0.05)
            watching.cancel()

    with foreign_dhcp(office.lan, tmp_path / "dnsmasq.log"):
        asyncio.run(watch())
    (alarm,) = director.records
    assert (alarm.mac, alarm.stage) == (SUBJECT, "foreign")
    assert DHCP_ADDRESS in alarm.message and "offers 10.77.0." in alarm.message
