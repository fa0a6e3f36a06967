"""Who may import whom: a test reads the imports and fails when a rule is broken."""

import ast
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
ROOMS = ("pxe", "iso", "buildfarm", "webui")
TOP = (
    "appliance/services.py",
    "appliance/daemon.py",
    "appliance/farm_process.py",
    "appliance/up.py",
    "appliance/demo.py",
    "appliance/rehearsal.py",
)
TOP_ROOMS = ("appliance/cli/", "appliance/desks/")
"""What puts the rooms together."""
PURE = (
    "appliance/disk_kernel.py",
    "appliance/disk_model.py",
    "appliance/disk_choice.py",
    "appliance/disk_check.py",
    "appliance/disk_plan.py",
    "appliance/account_model.py",
    "appliance/package_lines.py",
    "appliance/webhook_model.py",
    "appliance/build_story.py",
    "webui/effort_picture.py",
    "appliance/web_settings.py",
    "appliance/client_settings.py",
    "appliance/client_order.py",
    "appliance/client_view.py",
    "appliance/client_words.py",
    "appliance/client_report.py",
    "appliance/signing_request.py",
    "appliance/model.py",
    "buildfarm/processors.py",
    "appliance/site_model.py",
    "appliance/profile_model.py",
    "appliance/medium.py",
    "appliance/offering.py",
    "appliance/step_report.py",
    "appliance/farm_model.py",
    "appliance/errors.py",
    "appliance/schema.py",
    "appliance/match.py",
    "appliance/match_conditions.py",
    "appliance/match_rules.py",
    "appliance/kconfig.py",
    "appliance/decision.py",
    "appliance/discovery.py",
    "appliance/install.py",
    "appliance/grub.py",
    "iso/menu.py",
    "iso/entries.py",
    "appliance/facts.py",
    "appliance/first_report.py",
    "appliance/stages.py",
    "appliance/secure_boot.py",
    "appliance/boards.py",
    "appliance/statement.py",
    "appliance/schedule.py",
    "appliance/backlog.py",
    "appliance/forecast.py",
    "appliance/overview_model.py",
    "appliance/whence.py",
    "appliance/merge_model.py",
    "appliance/merge_secrets.py",
    "appliance/merge_checks.py",
    "appliance/edit_model.py",
    "appliance/text_merge.py",
    "webui/glance.py",
    "webui/paging.py",
    "webui/api/document.py",
    "webui/api/schema.py",
    "webui/api/shapes.py",
    "webui/api/profile_shapes.py",
    "webui/api/build_shapes.py",
    "webui/api/merge_shapes.py",
    "appliance/merge_lines.py",
    "webui/disk_picture.py",
    "appliance/prospect.py",
    "appliance/dhcp_settings.py",
    "appliance/leases.py",
    "appliance/findings.py",
    "appliance/figures.py",
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
    "pxe/resuming.py",
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
    "buildfarm/imports.py",
    "buildfarm/index.py",
    "buildfarm/instruction_sets.py",
    "buildfarm/reference_recipes.py",
    "buildfarm/manifest.py",
    "buildfarm/required_use.py",
    "buildfarm/keeping.py",
    "buildfarm/resolution.py",
    "buildfarm/cpio.py",
    "iso/layout.py",
    "iso/partitions.py",
    "iso/iso9660.py",
    "iso/sticks.py",
    "iso/stick_choice.py",
)
CLIENT = "overlays/client/usr/lib/distserver/distserver_client"
CLIENT_PURE = (
    "emerge.py",
    "formats.py",
    "index.py",
    "keyvalue.py",
    "manifest.py",
    "menu.py",
    "merging.py",
    "policy.py",
    "protection.py",
    "report.py",
    "survival.py",
    "timing.py",
    "trials.py",
    "triples.py",
    "updating.py",
    "worlds.py",
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
    "client_keys",
    "account_model", "backlog", "boot", "build_story", "channels", "client_order", "client_view",
    "client_words", "compile_host", "console", "deadline",
    "dhcp_settings", "disk_check", "disk_choice", "disk_kernel", "disk_model", "disk_plan",
    "dns_settings", "durable", "edit_model", "enter", "errors", "facts", "farm_model", "figures", "findings",
    "grub", "install", "kconfig",
    "kernel_choice", "lab", "leases", "medium", "merge_lines", "merge_model", "sun_label",
    "match",
    "match_rules",
    "model",
    "net_settings", "offering", "overlays", "overview_model",
    "prospect",
    "profile_model", "run", "sandbox", "secure_boot", "site", "site_cluster", "site_model", "stages",
    "statement", "store", "strategies", "text_merge", "tftp_settings", "timeline", "vm", "vm_power",
    "webhook_model", "whence",
}  # fmt: skip


def sources() -> list[str]:
    names = ("appliance", *ROOMS)
    return sorted(str(file.relative_to(HOME)) for name in names for file in (HOME / name).rglob("*.py"))


def client_sources() -> list[str]:
    return sorted(str(file.relative_to(HOME)) for file in (HOME / CLIENT).rglob("*.py"))


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


@pytest.mark.parametrize("source", [*PURE, *(f"{CLIENT}/{name}" for name in CLIENT_PURE)])
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


@pytest.mark.parametrize("source", [*sources(), *client_sources()])
def test_every_module_says_in_one_line_what_it_promises(source: str) -> None:
    said = ast.get_docstring(ast.parse((HOME / source).read_text()))
    assert said, f"{source} has no docstring"
    assert said.splitlines()[0].endswith(".")


@pytest.mark.parametrize("source", client_sources())
def test_the_agent_needs_only_python_itself(source: str) -> None:
    # What it asks Portage it asks in a process of its own.
    asked = {"portage"} if source.endswith("/satisfied.py") else set()
    assert heads(source) <= {*sys.stdlib_module_names, "distserver_client", *asked}


@pytest.mark.parametrize("source", client_sources())
def test_the_agent_runs_programs_in_one_place(source: str) -> None:
    if not source.endswith("/programs.py"):
        assert "subprocess" not in heads(source)


@pytest.mark.parametrize("source", sources())
def test_nothing_of_ours_imports_the_agent(source: str) -> None:
    assert "distserver_client" not in heads(source)
