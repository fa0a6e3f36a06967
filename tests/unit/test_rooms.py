"""Who may import whom: a test reads the imports and fails when a rule is broken."""

import ast
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
ROOMS = ("pxe", "iso", "buildfarm", "webui")
TOP = ("appliance/services.py", "appliance/daemon.py", "appliance/demo.py", "appliance/rehearsal.py")
TOP_ROOMS = ("appliance/cli/", "appliance/desks/")
"""What puts the rooms together."""
PURE = (
    "appliance/model.py",
    "appliance/site_model.py",
    "appliance/farm_model.py",
    "appliance/errors.py",
    "appliance/schema.py",
    "appliance/match.py",
    "appliance/kconfig.py",
    "appliance/decision.py",
    "appliance/install.py",
    "appliance/facts.py",
    "appliance/stages.py",
    "appliance/secure_boot.py",
    "appliance/boards.py",
    "appliance/statement.py",
    "appliance/schedule.py",
    "appliance/backlog.py",
    "appliance/forecast.py",
    "appliance/dhcp_settings.py",
    "appliance/leases.py",
    "appliance/findings.py",
    "appliance/firewall.py",
    "appliance/listeners.py",
    "appliance/host_checks.py",
    "pxe/diagnosis.py",
    "pxe/dhcp.py",
    "pxe/links.py",
    "pxe/netlink.py",
    "pxe/full.py",
    "pxe/full_reply.py",
    "pxe/leases.py",
    "pxe/packets.py",
    "pxe/templates.py",
    "pxe/rarp.py",
    "pxe/client.py",
    "pxe/policy.py",
    "pxe/admission.py",
    "pxe/stalls.py",
    "pxe/imitation.py",
    "pxe/programs.py",
    "pxe/grub_image.py",
    "pxe/offers.py",
    "pxe/strategy.py",
    "pxe/recent.py",
    "pxe/advice.py",
    "pxe/asked.py",
    "pxe/configs.py",
    "appliance/strategies.py",
    "pxe/tftp.py",
    "appliance/tftp_settings.py",
    "pxe/script.py",
    "pxe/dns.py",
    "pxe/dns_packets.py",
    "pxe/dns_zone.py",
    "pxe/dns_limit.py",
    "appliance/dns_settings.py",
    "appliance/machine_settings.py",
    "appliance/dialogue.py",
    "appliance/dialogues.py",
    "buildfarm/complaints.py",
    "buildfarm/decisions.py",
    "appliance/compile_host.py",
    "appliance/site_cluster.py",
    "buildfarm/cluster.py",
    "buildfarm/key.py",
    "buildfarm/failures.py",
    "buildfarm/sync/doubt.py",
    "buildfarm/sonames.py",
    "buildfarm/holds.py",
    "buildfarm/index.py",
    "buildfarm/manifest.py",
    "buildfarm/required_use.py",
    "buildfarm/keeping.py",
    "buildfarm/resolution.py",
    "buildfarm/cpio.py",
)
ACTING = {
    "socket",
    "subprocess",
    "asyncio",
    "time",
    "os",
    "sqlite3",
    "random",
    "secrets",
    "shutil",
    "threading",
}
ALLOWED_FROM_APPLIANCE = {
    "boot", "channels", "compile_host", "console", "deadline", "dhcp_settings", "dns_settings",
    "durable", "enter", "errors", "facts", "farm_model", "findings", "install", "kconfig",
    "kernel_choice", "lab", "leases", "model", "net_settings", "overlays", "run", "sandbox",
    "secure_boot", "site", "site_cluster", "site_model", "stages", "statement", "store",
    "strategies", "tftp_settings", "timeline", "vm",
}  # fmt: skip


def sources() -> list[str]:
    names = ("appliance", *ROOMS)
    return sorted(str(file.relative_to(HOME)) for name in names for file in (HOME / name).rglob("*.py"))


def imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((HOME / source).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def heads(source: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(source)}


@pytest.mark.parametrize("source", [one for one in sources() if one.partition("/")[0] in ROOMS])
def test_rooms_do_not_import_one_another(source: str) -> None:
    room = source.partition("/")[0]
    assert not heads(source) & (set(ROOMS) - {room})


@pytest.mark.parametrize(
    "source",
    [
        one
        for one in sources()
        if one.startswith("appliance/") and one not in TOP and not one.startswith(TOP_ROOMS)
    ],
)
def test_the_appliance_knows_no_room_except_where_it_puts_them_together(source: str) -> None:
    assert not heads(source) & set(ROOMS)


@pytest.mark.parametrize("source", [one for one in sources() if one.partition("/")[0] in ROOMS])
def test_rooms_use_only_the_lower_floor_of_the_appliance(source: str) -> None:
    allowed = ALLOWED_FROM_APPLIANCE | ({"services"} if source.startswith("webui/") else set())
    used = {name.split(".")[1] for name in imports(source) if name.startswith("appliance.")}
    assert used <= allowed


@pytest.mark.parametrize("source", PURE)
def test_pure_modules_have_no_clock_no_socket_and_no_file(source: str) -> None:
    assert not heads(source) & ACTING
    calls = {
        node.func.id
        for node in ast.walk(ast.parse((HOME / source).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert "open" not in calls


@pytest.mark.parametrize("source", sources())
def test_only_run_py_runs_programs(source: str) -> None:
    # What is asked inside a root runs there, with the root's Python and without our modules.
    if source not in ("appliance/run.py", "buildfarm/inside/plan.py"):
        assert "subprocess" not in heads(source)


@pytest.mark.parametrize("source", sources())
def test_every_module_says_in_one_line_what_it_promises(source: str) -> None:
    said = ast.get_docstring(ast.parse((HOME / source).read_text()))
    assert said, f"{source} has no docstring"
    assert said.splitlines()[0].endswith(".")
