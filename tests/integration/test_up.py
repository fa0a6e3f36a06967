"""`distserver up` on a LAN of its own: what it opens, as whom, and that nothing outlives it."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.demo import Scene, serving
from appliance.lab import APPLIANCE_ADDRESS, Lan, lan, wait_for_port
from appliance.run import run
from tests.quiet import quiet_scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return quiet_scene(tmp_path)


@pytest.fixture
def net() -> Iterator[Lan]:
    with lan("up", clients={"client": "10.77.0.9"}) as made:
        yield made


def children(pid: int) -> dict[str, int]:
    """Name of each process of `up` -> its PID."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().decode().split("\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid and "process" in words:
            found[words[words.index("process") + 1]] = int(entry.name)
    return found


def test_three_processes_run_and_the_web_page_asks_for_a_login(scene: Scene, net: Lan) -> None:
    with serving(scene, net) as pid:
        assert set(children(pid)) == {"boot", "farm", "web"}
        wait_for_port(net, "appliance", 8080, seconds=30)
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8080/"]
        assert run(argv, prefix=net.exec_prefix("appliance")).stdout == "401"
        # The page is not for the LAN.
        far = ["curl", "-s", "-m", "5", f"http://{APPLIANCE_ADDRESS}:8080/"]
        assert run(far, prefix=net.exec_prefix("client"), ok=(7, 28)).status in (7, 28)


def test_the_door_for_workers_opens_when_the_site_says_so_and_can_mount_nothing(
    scene: Scene, net: Lan
) -> None:
    file = scene.site / "appliance.toml"
    file.write_text(file.read_text().replace("[farm]\n", "[farm]\nport = 8099\n"))
    with serving(scene, net) as pid:
        wait_for_port(net, "appliance", 8099, seconds=30)
        status = Path(f"/proc/{children(pid)['door']}/status").read_text()
        argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
        page = f"http://{APPLIANCE_ADDRESS}:8099/farm/distfile/x"
        assert run([*argv, page], prefix=net.exec_prefix("client")).stdout == "401"
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapEff"], 16) == (1 << 0) | (1 << 1)  # CAP_CHOWN, CAP_DAC_OVERRIDE


@pytest.mark.parametrize("name", ["boot", "web"])
def test_what_answers_the_network_has_lost_roots_capabilities(scene: Scene, net: Lan, name: str) -> None:
    with serving(scene, net) as pid:
        status = Path(f"/proc/{children(pid)[name]}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    allowed = {"boot": (1 << 10) | (1 << 13), "web": 0}[name]  # CAP_NET_BIND_SERVICE, CAP_NET_RAW
    assert int(fields["CapEff"], 16) & ~allowed == 0
    assert int(fields["CapBnd"], 16) & ~allowed == 0
    assert fields["NoNewPrivs"] == "1"


def test_a_machine_is_found_by_its_name_where_it_asked_for_its_script(scene: Scene, net: Lan) -> None:
    with (scene.site / "appliance.toml").open("a") as file:
        file.write('[dns]\nzone = "lab.example"\n')
    scene.services().add_machine("52:54:00:00:00:01", name="web1")
    dig = ["dig", f"@{APPLIANCE_ADDRESS}", "+short", "+time=5"]
    with serving(scene, net):
        url = f"http://{APPLIANCE_ADDRESS}/boot/52:54:00:00:00:01.ipxe"
        run(["curl", "-sf", url], prefix=net.exec_prefix("client"))

        def found() -> bool | None:
            said = run([*dig, "web1.lab.example"], prefix=net.exec_prefix("client")).stdout
            return said == "10.77.0.9\n" or None

        wait_until(found, seconds=20, what="the name of the machine is known")
        assert (
            run([*dig, "-x", "10.77.0.9"], prefix=net.exec_prefix("client")).stdout == "web1.lab.example.\n"
        )


def test_a_process_that_dies_comes_back(scene: Scene, net: Lan) -> None:
    with serving(scene, net) as pid:
        before = children(pid)["boot"]
        os.kill(before, signal.SIGKILL)

        def another() -> bool | None:
            return children(pid).get("boot", before) != before or None

        wait_until(another, seconds=30, what="the boot process is started again")
        wait_for_port(net, "appliance", 80, seconds=30)


def test_killing_it_takes_its_processes_along_and_it_can_start_again_at_once(scene: Scene, net: Lan) -> None:
    with serving(scene, net) as pid:
        left = children(pid)
        os.kill(pid, signal.SIGKILL)

        def gone() -> bool | None:
            return not any(Path(f"/proc/{child}").exists() for child in left.values()) or None

        wait_until(gone, seconds=20, what=f"{left} end")
    with serving(scene, net):
        argv = ["curl", "-s", f"http://{APPLIANCE_ADDRESS}/boot/52-54-00-00-00-01.ipxe"]
        run(argv, prefix=net.exec_prefix("client"))


def test_a_second_one_on_the_same_host_says_that_somebody_has_the_port(scene: Scene, net: Lan) -> None:
    program = [sys.executable, "-m", "appliance.cli", "--state", str(scene.tree.path)]
    argv = [*program, "process", "boot", "--site", str(scene.site), "--interface", "eth0"]
    with serving(scene, net):
        said = run(argv, prefix=net.exec_prefix("appliance"), ok=(1,), timeout_seconds=30).stdout
    assert "UDP port 4011 is taken" in said
    assert "hint:" in said
    assert "Traceback" not in said


def test_only_the_store_belongs_to_what_answers_the_network(scene: Scene, net: Lan) -> None:
    with serving(scene, net) as pid:
        user = Path(f"/proc/{children(pid)['boot']}").stat().st_uid
    assert scene.tree.store.parent.stat().st_uid == scene.tree.store.stat().st_uid == user
    assert scene.tree.path.stat().st_uid == 0
    assert scene.tree.room("boot").stat().st_uid == 0
