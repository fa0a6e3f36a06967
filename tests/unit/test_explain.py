"""An explanation is what the servers would do and why; a difference is what another site would change."""

import shutil
from pathlib import Path

import pytest

from appliance import statement
from appliance.channels import Channels
from appliance.cli import main
from appliance.desks.explain import ExplainDesk, Question, read_arch
from appliance.errors import Problem
from appliance.farm_model import Release
from appliance.model import Disk, Facts, Firmware, Machine, MachineState, Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.statement import Statement
from tests.fake_notary import FakeNotary

MAC, BIOS_MAC, STRANGER = "52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:99"
RELEASE = "20260101-00000000000a"


def facts(mac: str, firmware: Firmware) -> Facts:
    disk = Disk("/dev/vda", 8 * 2**30, "virtio")
    return Facts(mac, firmware, 2**30, vendor="QEMU", product="Standard PC", disks=(disk,))


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    made = Services(site, Tree(tmp_path / "state"))
    channels = Channels(tmp_path / "state" / "channels", FakeNotary().signed_text)
    made.explain = ExplainDesk(made.live, made.tree, made.store, channels, made.clock)
    made.store.releases.add(Release(RELEASE, "vm", 1.0, "distserver:0123", 3, 100))
    said = Statement("vm", "stable", RELEASE, 7, "2026-01-01T00:00:00Z")
    channels.put(said, FakeNotary().clearsign(statement.write(said)))
    for mac, firmware in ((MAC, Firmware.UEFI), (BIOS_MAC, Firmware.BIOS)):
        machine = Machine(mac, MachineState.ASSIGNED, profile="vm", facts=facts(mac, firmware))
        made.store.machines.add(machine)
    return made


CHAIN = ["DISCOVER of the firmware", "the firmware asks port 4011", "boot program"]
IPXE = ["DISCOVER of iPXE", "script"]
INSTALLER = ["installer: hello", "installer: plan"]


def test_the_chain_of_an_armed_machine_goes_from_discover_to_its_plan(services: Services) -> None:
    services.arm(MAC)
    explained = services.explain.explain(MAC)
    assert [step.title for step in explained.steps] == [
        f"machine {MAC}",
        "decision",
        *CHAIN,
        *IPXE,
        *INSTALLER,
    ]
    text = "\n".join(explained.lines)
    for said in (
        "match rules: profiles/vm/profile.toml: match[1]: vendor 'QEMU' is like 'QEMU*'",
        "inherits amd64 < vm",
        f"channel stable: release {RELEASE}, move 7 of it",
        f"NetBoot: armed: install release {RELEASE}",
        "answer: ACK from 192.0.2.2:4011 to 192.0.2.1:4011, 300 bytes",
        "header siaddr 192.0.2.2, file snponly.efi",
        "strategy: no option 43: the firmware asks port 4011 (BINL)",
        f"kernel http://192.0.2.2:80/r/{RELEASE}/kernel?mac={MAC}",
        "distserver.token=<one-time token>",
        "answer: install <one-time token>",
        "sfdisk start=1MiB, size=",
        "report <secret>",
    ):
        assert said in text


def test_an_installed_machine_goes_to_its_disk_and_what_arming_would_do_is_said(services: Services) -> None:
    for state in (MachineState.ARMED, MachineState.INSTALLING, MachineState.INSTALLED):
        services.store.machines.move(BIOS_MAC, state, release=RELEASE)
    explained = services.explain.explain(BIOS_MAC)
    text = "\n".join(explained.lines)
    assert "the firmware asks port 4011" not in text and "option 43 says: just fetch the file" in text
    assert "sanboot --no-describe --drive 0x80" in text
    assert explained.steps[-1].title == "installer: plan, if it were armed"
    assert any(line.startswith("sfdisk start=") for line in explained.steps[-1].lines)


def test_nothing_is_changed_by_an_explanation(services: Services) -> None:
    services.arm(MAC)
    token = services.store.tokens.issue(MAC, "install", now=services.clock(), lifetime_seconds=60)
    before = list(services.store.database.connection.iterdump())
    for mac in (MAC, BIOS_MAC, STRANGER):
        services.explain.explain(mac)
    assert list(services.store.database.connection.iterdump()) == before
    assert services.store.tokens.owner(token, "install", now=services.clock()) == MAC


def test_two_explanations_of_one_state_are_equal(services: Services) -> None:
    services.arm(MAC)
    assert services.explain.explain(MAC) == services.explain.explain(MAC)


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (Question(arch=0), "BIOS x86, PXEClient"),
        (Question(vendor_class="HTTPClient"), "a URL for UEFI HTTP boot"),
        (Question(vendor_class="iPXE"), "a URL for iPXE"),
        (Question(arch=4660), "no answer: no boot program for architecture 4660"),
    ],
)
def test_another_client_may_be_asked_for(services: Services, question: Question, said: str) -> None:
    assert said in "\n".join(services.explain.explain(MAC, question).lines)


def test_a_network_card_with_ipxe_begins_with_its_own_discover(services: Services) -> None:
    steps = services.explain.explain(MAC, Question(vendor_class="iPXE")).steps
    assert [step.title for step in steps][2:4] == IPXE


def test_a_machine_that_nobody_knows_gets_the_installer_that_finds_out(services: Services) -> None:
    text = "\n".join(services.explain.explain(STRANGER).lines)
    assert "unknown: no machine has this MAC" in text
    assert f"kernel and installer of release {RELEASE}" in text
    assert "token" not in text


def other_site(services: Services, tmp_path: Path, was: str, becomes: str) -> Path:
    site = Path(shutil.copytree(services.live.path, tmp_path / "other"))
    file = site / "profiles/vm/profile.toml"
    assert was in file.read_text()
    file.write_text(file.read_text().replace(was, becomes))
    return site


def test_a_site_that_says_the_same_changes_nothing(services: Services, tmp_path: Path) -> None:
    site = other_site(services, tmp_path, "QEMU*", "QEMU*")
    assert services.explain.differences(site) == {MAC: [], BIOS_MAC: []}


def test_a_difference_is_what_would_change_for_the_machine(services: Services, tmp_path: Path) -> None:
    site = other_site(services, tmp_path, "QEMU*", "Sun*")
    found = services.explain.differences(site)
    assert set(found) == {MAC, BIOS_MAC}
    changed = [line for line in found[MAC][2:] if line[0] in "+-"]
    assert changed == [
        "-  match rules: profiles/vm/profile.toml: match[1]: vendor 'QEMU' is like 'QEMU*'",
        "+  match rules: no match rule of any profile fits: assign a profile",
    ]


def test_the_command_says_it_and_its_status_whether_anything_would_change(
    services: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--state", str(services.tree.path), "explain", "--site", str(services.live.path)]
    assert main([*words, MAC, "--arch", "arm64"]) == 0
    assert "UEFI arm64" in capsys.readouterr().out
    same = other_site(services, tmp_path, "QEMU*", "QEMU*")
    assert main([*words, "--all", "--against", str(same)]) == 0
    assert "0 of 2 machines would change" in capsys.readouterr().out
    (same / "profiles/vm/world").write_text("")
    (same / "profiles/vm/profile.toml").write_text("nonsense = [")
    assert main([*words, MAC, "--against", str(same)]) == 1
    assert "distserver: " in capsys.readouterr().err
    assert main([*words]) == 1
    assert "name a machine, or --all" in capsys.readouterr().err


def test_an_architecture_is_a_name_or_a_number() -> None:
    assert (read_arch("x64"), read_arch("41")) == (7, 41)
    with pytest.raises(Problem, match="no architecture"):
        read_arch("x65")
