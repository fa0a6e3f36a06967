"""What the boot server answers compile hosts, against a real store."""

import shutil
from pathlib import Path

import pytest

from appliance.boot import BootDesk
from appliance.channels import Channels
from appliance.compile_host import CompileHost, HostState
from appliance.farm_model import Release
from appliance.live import LiveSite
from appliance.model import Machine, MachineState, NetBoot, Tree
from appliance.overlays import example_site
from appliance.store import Store
from tests.fake_notary import FakeNotary

ONE = "host one\narch x86_64\ncpus 4\n"
ADDRESS = "10.0.0.1"
MAC = "52:54:00:00:00:01"
HASH = "ab" * 32


@pytest.fixture
def desk(tmp_path: Path) -> BootDesk:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    with (site / "appliance.toml").open("a") as file:
        file.write(f'\n[[cluster.host]]\nname = "one"\naddress = "{ADDRESS}"\nslots = 3\n')
    tree = Tree(tmp_path / "state")
    store = Store(tree.store)
    store.releases.add(Release("20260101-00000000000a", "vm", 1.0, "s", 3, 100))
    channels = Channels(tree.path / "channels", FakeNotary().signed_text)
    return BootDesk(LiveSite(site), tree, store, channels, lambda: 1000.0)


def known(desk: BootDesk, name: str) -> CompileHost:
    found = desk.store.compile_hosts.get(name)
    assert found is not None
    return found


def test_a_host_of_the_site_becomes_ready(desk: BootDesk) -> None:
    assert desk.cluster_hello(ONE, f"::ffff:{ADDRESS}") == "ok 5 1000"
    one = known(desk, "one")
    assert one.state is HostState.READY
    assert (one.origin, one.slots) == ("site", 3)


def test_a_host_that_does_not_run_its_orders_yet_comes_back_soon(desk: BootDesk) -> None:
    desk.cluster_hello(ONE, ADDRESS)
    desk.store.compile_hosts.set_ports("one", {HASH: 3640})
    assert desk.cluster_hello(ONE, ADDRESS) == "ok 1 1000"
    assert desk.cluster_hello(f"{ONE}runs {HASH} 3640\n", ADDRESS) == "ok 5 1000"


def test_a_name_at_another_address_is_refused(desk: BootDesk) -> None:
    assert desk.cluster_hello(ONE, "10.0.0.9").startswith("refused 60 1000 one is 10.0.0.1, not 10.0.0.9")
    assert desk.store.compile_hosts.get("one") is None


def test_an_unknown_host_is_noted_and_not_used(desk: BootDesk) -> None:
    answer = desk.cluster_hello(ONE.replace("one", "stranger"), "10.0.0.9")
    assert answer.startswith("unknown 60 1000 nobody said")
    assert known(desk, "stranger").state is HostState.UNKNOWN


def test_strangers_cannot_fill_the_store(desk: BootDesk) -> None:
    for number in range(100):
        desk.cluster_hello(ONE.replace("one", f"s{number}"), "10.0.0.9")
    assert len(desk.store.compile_hosts.all()) == 64


def test_a_lending_machine_boots_as_a_compile_node_and_proves_itself_by_its_token(desk: BootDesk) -> None:
    desk.store.machines.add(Machine(MAC, MachineState.INSTALLED, name="web1", profile="vm"))
    desk.store.machines.set_lends(MAC, True)
    target = desk.script_target(MAC, None, "http://here")
    assert isinstance(target, NetBoot)
    words = dict(word.partition("=")[::2] for word in target.arguments.split())
    assert words["distserver.mode"] == "compile-node"
    assert words["distserver.name"] == "web1"
    hello = f"{ONE.replace('one', 'web1')}token {words['distserver.token']}\n"
    assert desk.cluster_hello(hello, "10.0.0.77") == "ok 5 1000"
    web1 = known(desk, "web1")
    assert (web1.state, web1.address, web1.origin) == (HostState.READY, "10.0.0.77", "machine")
    assert web1.report is not None
    assert web1.report.token == ""
    desk.store.machines.set_lends(MAC, False)
    assert desk.cluster_hello(hello, "10.0.0.77").startswith("stop ")


def test_a_machine_that_is_to_be_installed_is_installed_first(desk: BootDesk) -> None:
    desk.store.machines.add(
        Machine(MAC, MachineState.INSTALLING, profile="vm", release="20260101-00000000000a")
    )
    desk.store.machines.set_lends(MAC, True)
    target = desk.script_target(MAC, None, "http://here")
    assert isinstance(target, NetBoot)
    assert "compile-node" not in target.arguments
    assert "distserver.token=" in target.arguments


def test_a_forged_token_is_told_to_stop(desk: BootDesk) -> None:
    assert desk.cluster_hello(f"{ONE}token abc\n", ADDRESS).startswith("stop ")


def test_orders_and_images_are_only_found_by_their_names(desk: BootDesk) -> None:
    orders = desk.tree.room("cluster") / "orders"
    orders.mkdir()
    (orders / "one").write_text("orders 1\n")
    image = desk.tree.room("toolchains") / f"{HASH}.sqfs"
    image.write_bytes(b"x")
    (desk.tree.room("toolchains") / f"{HASH}.json").write_text("{}")
    assert desk.cluster_orders("one") == orders / "one"
    assert desk.cluster_orders("..") is None
    assert desk.cluster_orders("../../store/store.sqlite") is None
    assert desk.toolchain_file(f"{HASH}.sqfs") == image
    assert desk.toolchain_file(f"{HASH}.json") is None
    assert desk.toolchain_file(HASH) is None
