"""The boot servers notice by themselves that a machine does not go on."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.farm_model import Release
from appliance.model import Event, Tree
from appliance.overlays import example_site
from appliance.run import run
from appliance.store import Store
from tests.clock import Clock
from tests.fake_director import Recorded
from tests.integration.netyard import DEADLINE_SECONDS, MAC, Yard, answering, discover, port, serving, yard


def test_a_machine_that_does_not_follow_its_offer_is_on_the_timeline_with_a_cause(tmp_path: Path) -> None:
    clock = Clock()
    with yard() as net:
        net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
        with (
            serving(net.room("server"), tmp_path / "boot", "eth0", clock=clock) as director,
            port(net.room("client"), 68, "eth0") as asking,
        ):
            discover(asking)

            def told() -> Recorded | None:
                clock.now += 100
                return next((one for one in director.records if one.status == "failed"), None)

            record = wait_until(told, seconds=DEADLINE_SECONDS, what="the stop is told")
    assert record.stage == "proxy"
    assert "a firewall blocks UDP 4011" in record.message
    assert "the strategy direct" in record.message


@pytest.mark.parametrize("path", ["/hello", "/plan"])
def test_a_machine_whose_installer_speaks_has_arrived_also_when_it_asks_for_its_plan_at_once(
    tmp_path: Path, path: str
) -> None:
    clock, other = Clock(), "52:54:00:77:00:02"
    body = ("token abc\n" if path == "/plan" else "") + f"mac {MAC}\nfirmware uefi\n"
    with yard() as net:
        net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
        with (
            serving(net.room("server"), tmp_path / "boot", "eth0", clock=clock) as director,
            port(net.room("client"), 68, "eth0") as asking,
        ):
            discover(asking)
            curl = ["curl", "-sSf", "--max-time", "20", "--data-binary", body, f"http://10.78.0.2{path}"]
            run(curl, prefix=["ip", "netns", "exec", net.room("client")])
            discover(asking, mac=other)

            def told() -> list[str] | None:
                clock.now += 100
                return [one.mac for one in director.records if one.status == "failed"] or None

            assert wait_until(told, seconds=DEADLINE_SECONDS, what="the other one's stop is told") == [other]


@contextmanager
def boot_server(net: Yard, site: Path, tree: Tree, log: Path, *, times: float) -> Iterator[int]:
    """A boot server on a real store whose clock goes so many times faster; its process ID."""
    program = [sys.executable, "-m", "tests.integration.hasty_boot_server"]
    with answering(net, [*program, site, tree.path, str(times)], log) as process:
        yield process


def test_a_boot_that_stops_is_told_of_also_when_the_boot_process_was_killed_meanwhile(
    tmp_path: Path,
) -> None:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    tree = Tree(tmp_path / "state")
    store = Store(tree.store)
    store.releases.add(Release("20260101-0123456789ab", "vm", 1.0, "distserver:0123", 3, 100))
    (tree.room("boot") / "snponly.efi").write_bytes(b"a boot program")

    def recorded(stage: str, status: str) -> Event | None:
        found = (event for _, event in store.events.after(MAC))
        return next((one for one in found if (one.stage, one.status) == (stage, status)), None)

    with yard() as net:
        net.wire(("server", "eth0", "10.78.0.2/24"), ("client", "eth0", "10.78.0.3/24"))
        with boot_server(net, site, tree, tmp_path / "first.log", times=1) as process:
            with port(net.room("client"), 68, "eth0") as asking:
                discover(asking)
            wait_until(lambda: recorded("offer", "done"), seconds=DEADLINE_SECONDS, what="the OFFER is kept")
            os.kill(process, signal.SIGKILL)
        assert recorded("proxy", "failed") is None
        with boot_server(net, site, tree, tmp_path / "second.log", times=100):
            stop = wait_until(
                lambda: recorded("proxy", "failed"), seconds=DEADLINE_SECONDS, what="the stop is told"
            )
    assert "a firewall blocks UDP 4011" in stop.message
