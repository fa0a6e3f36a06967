"""The agent is a package that the farm writes: whole, with its services, and nothing of a site in it."""

import ast
import os
from dataclasses import replace
from pathlib import Path

from appliance.client_keys import ClientKeys
from appliance.model import Tree
from appliance.overlays import example_site, overlay
from appliance.profile_model import AGENT
from appliance.site import read_site
from buildfarm import client_package
from buildfarm.client_package import door_files


def test_the_package_has_the_program_its_modules_and_its_services(tmp_path: Path) -> None:
    (tmp_path / "made" / "old").mkdir(parents=True)
    made = client_package.write_repository(tmp_path / "made", masters=["gentoo", "guru"])
    assert (made.name, made.location) == ("distserver-client", tmp_path / "made")
    assert not (tmp_path / "made" / "old").exists()
    assert "masters = gentoo guru\n" in (tmp_path / "made/metadata/layout.conf").read_text()
    root = tmp_path / "made" / AGENT / "files/root"
    for name in ("usr/sbin/distserver-client", "etc/init.d/distserver-central", "etc/rc.d/distserver-client"):
        assert (root / name).stat().st_mode & 0o111, name
    for link in root.rglob("*.wants/*"):
        assert link.is_symlink() and link.resolve().is_file(), link
    modules = overlay("client") / "usr/lib/distserver/distserver_client"
    packaged = {path.name for path in (root / "usr/lib/distserver/distserver_client").iterdir()}
    assert packaged == {path.name for path in modules.glob("*.py")}
    assert not (root / "etc/distserver").exists()


def test_a_release_made_before_the_server_was_ever_up_tells_machines_whom_to_trust(tmp_path: Path) -> None:
    site, tree = read_site(example_site()), Tree(tmp_path)
    told = door_files(site, tree)
    assert told["etc/distserver/door-port"].content == b"8443\n"
    keys = ClientKeys.below(tree)
    keys.keep(site.name, ("localhost",), group=os.getgid())
    assert told["etc/distserver/ca.crt"].content == keys.authority.read_bytes()
    assert door_files(site, tree) == told
    assert door_files(replace(site, clients=replace(site.clients, port=0)), tree) == {}


def test_services_start_the_commands_that_the_agent_has() -> None:
    main = overlay("client") / "usr/lib/distserver/distserver_client/__main__.py"
    calls = [node for node in ast.walk(ast.parse(main.read_text())) if isinstance(node, ast.Call)]
    commands = {
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Attribute)
        and call.func.attr == "add_parser"
        and isinstance(call.args[0], ast.Constant)
    }
    services = [
        path.read_text()
        for path in overlay("client").rglob("*")
        if path.is_file()
        and path.name.startswith(("distserver-c", "00-distserver-c"))
        and "sbin" not in path.parts
    ]
    started = {
        text.partition("/usr/sbin/distserver-client ")[2].split()[0]
        for text in services
        if "/usr/sbin/distserver-client " in text
    }
    assert started == {"mount", "run"} <= commands


def test_without_the_agent_only_the_first_report_is_laid_over_a_machine() -> None:
    names = {name.rpartition("/")[2] for name in client_package.without_agent()}
    assert names == {
        "README",
        "distserver-report",
        "distserver-report.service",
        "distserver-report.start",
        "first-report",
    }
    assert list(client_package.left_over()) == ["etc/distserver/README"]
