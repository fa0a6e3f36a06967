"""With what rights the processes of `up` are started."""

import pwd
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.cli import parser
from appliance.daemon import BOOT_CAPABILITIES
from appliance.errors import Problem
from appliance.net_settings import NetSettings
from appliance.overlays import example_site
from appliance.rights import DIE_TOGETHER, unprivileged
from appliance.site import read_site
from appliance.site_model import Site
from appliance.up import Up

SOMEBODY = pwd.struct_passwd(("distserver", "x", 998, 997, "", "/nonexistent", "/usr/sbin/nologin"))


def test_a_process_becomes_the_service_user_with_only_its_capabilities() -> None:
    argv = unprivileged(SOMEBODY, BOOT_CAPABILITIES)
    kept = "-all,+net_bind_service,+net_raw"
    assert argv[: len(DIE_TOGETHER)] == DIE_TOGETHER
    assert argv[argv.index("--reuid") + 1] == "998"
    assert argv[argv.index("--regid") + 1] == "997"
    assert {f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}"} <= set(argv)
    assert "--no-new-privs" in argv


def test_without_a_service_user_root_loses_its_capabilities_all_the_same() -> None:
    argv = unprivileged(None, ())
    assert "--reuid" not in argv
    assert {"--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"} <= set(argv)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return read_site(Path(shutil.copytree(example_site(), tmp_path / "site")))


def asked(*interfaces: str) -> Up:
    return Up(Path("/site"), Path("/state"), interfaces)


def test_the_interfaces_of_the_command_line_count_before_those_of_the_site(site: Site) -> None:
    named = replace(site, net=NetSettings(("eth0", "eth0.5"), beside_dhcp=True), address="10.0.0.2")
    assert asked().network(named).interfaces == ("eth0", "eth0.5")
    assert asked("br0", "eth1", "br0").network(named).interfaces == ("br0", "eth1")
    assert asked().network(named).beside_dhcp
    assert asked().network(named).address == "10.0.0.2"


def test_no_interface_at_all_is_a_problem(site: Site) -> None:
    with pytest.raises(Problem, match="nobody said on which network interface") as caught:
        asked().network(site)
    assert "--interface" in caught.value.hint


def test_each_process_is_told_every_interface() -> None:
    words = asked("eth0", "eth0.5").argv("boot")
    read = parser().parse_args(words[words.index("--state") :])
    assert (read.name, read.interface) == ("boot", ["eth0", "eth0.5"])
