"""The boot servers notice by themselves that a machine does not go on."""

from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.run import run
from tests.clock import Clock
from tests.fake_director import Recorded
from tests.integration.netyard import DEADLINE_SECONDS, MAC, discover, port, serving, yard


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
