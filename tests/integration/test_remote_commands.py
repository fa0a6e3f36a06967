"""Commands that another host's DistServer does: over real TLS, with real tokens, from the command line."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.account_model import Role
from appliance.deadline import wait_until
from appliance.desks.switching import SWITCHES
from appliance.facts import parse_facts
from appliance.farm_model import Release
from appliance.model import Disk, DiskPartition, Event, Facts, Firmware, Machine, MachineState, PciDevice
from appliance.services import Services
from appliance.store.jobs import Wanted
from appliance.web_keys import WebKeys
from tests.afar import Afar, put_token, said_by, serving
from tests.mergeyard import MERGED, PATH, Client, add_machine

MAC = "52:54:00:00:00:01"


@pytest.fixture
def afar(tmp_path: Path) -> Iterator[Afar]:
    with serving(tmp_path) as there:
        yield there


def test_a_machine_is_added_assigned_armed_and_disarmed_from_afar(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    top = afar.options()
    for words, wanted in (
        (["add", MAC, "--name", "web1"], "discovered"),
        (["assign", "web1", "vm"], "assigned, profile vm, channel stable"),
        (["channel", "web1", "canary"], "assigned, profile vm, channel canary"),
        (["arm", "web1"], "armed"),
        (["disarm", MAC], "assigned"),
        (["rename", "web1", "web1"], "assigned"),
    ):
        assert f"{MAC} web1: {wanted}" in said_by(capsys, [*top, "machine", *words])
    assert afar.services.machine(MAC).state is MachineState.ASSIGNED
    assert {one.who for one in afar.services.audit.page(subject=MAC)} == {"api ann"}


def test_profiles_are_listed_and_shown_from_afar(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    assert "a virtual machine of QEMU or KVM" in said_by(capsys, [*afar.options(), "profile", "list"])
    shown = said_by(capsys, [*afar.options(), "profile", "show", "vm", "--replaced"])
    line = next(line for line in shown.splitlines() if "any amd64 machine" in line)
    assert "amd64/profile.toml:2" in line and "vm/profile.toml:1" in line
    assert "there is no profile none" in said_by(capsys, [*afar.options(), "profile", "show", "none"], 1)


def test_a_machine_is_renamed_and_retired_from_afar(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    afar.services.add_machine(MAC, name="web1")
    assert f"{MAC} db1: discovered" in said_by(capsys, [*afar.options(), "machine", "rename", "web1", "db1"])
    assert said_by(capsys, [*afar.options(), "machine", "retire", "db1"]) == "db1 is retired\n"
    assert afar.services.machines() == []


def test_a_machine_is_wiped_and_retired_from_afar_by_its_name_only(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    store = afar.services.store
    store.releases.add(Release("20260101-00000000000a", "vm", 1.0, "gentoo:ab", 3, 5))
    facts = Facts(MAC, Firmware.UEFI, 4 << 30, disks=(Disk("/dev/vda", 8 << 30, "virtio"),))
    store.machines.add(Machine(MAC, MachineState.ASSIGNED, "web1", "vm", facts))
    words = [*afar.options(), "machine", "retire", "web1", "--wipe"]
    assert "was not typed" in said_by(capsys, [*words, "web2"], 1)
    assert "its disk is to be wiped" in said_by(capsys, [*words, "web1"])
    assert afar.services.machine("web1").wipes


def test_what_is_on_a_machines_disks_is_shown_from_afar(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    old = DiskPartition("/dev/vda1", 1 << 20, 1 << 30, "ntfs", "Data")
    disks = Disk("/dev/vda", 8 << 30, table="dos", partitions=(old,)), Disk("/dev/vdb", 8 << 30)
    facts = Facts(MAC, Firmware.UEFI, 4 << 30, disks=disks)
    afar.services.store.machines.add(Machine(MAC, MachineState.ASSIGNED, "web1", "vm", facts))
    said = said_by(capsys, [*afar.options(), "machine", "show", "web1"])
    assert "\n    /dev/vda1 1.0 GiB ntfs Data\n" in said
    assert "\n    the machine did not report what is on it\n" in said


def test_match_rules_are_tried_from_afar_on_a_machines_facts(
    afar: Afar, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    devices = (PciDevice("8086:10d3", "020000", "8086:0000"),)
    facts = Facts(MAC, Firmware.UEFI, 4 << 30, vendor="QEMU", cpus=2, cpu_flags=("mmx", "sse"), pci=devices)
    afar.services.store.machines.add(Machine(MAC, MachineState.DISCOVERED, "web1", facts=facts))
    said = said_by(capsys, [*afar.options(), "machine", "facts", "web1"])
    assert parse_facts(said) == facts
    file, site = tmp_path / "web1.facts", afar.services.live.path
    file.write_text(said)
    there = said_by(capsys, [*afar.options(), "match", "--facts", str(file)])
    assert there.startswith("profile vm: ") and "it is the one that counts" in there
    state = ["--state", str(tmp_path / "state")]
    assert said_by(capsys, [*state, "match", "--site", str(site), "--facts", str(file)]) == there
    assert "cannot be read" in said_by(capsys, [*afar.options(), "match", "--facts", str(tmp_path)], 1)
    assert "of the server" in said_by(capsys, [*afar.options(), "match", "--against", str(tmp_path)], 1)


def test_a_machine_is_woken_by_the_farm_afar_and_what_came_of_it_is_told(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    afar.services.add_machine(MAC, name="web1")

    def farm() -> None:
        own = Services(afar.services.live.path, afar.services.tree)
        wait_until(lambda: own.errands.do_next(SWITCHES), seconds=20, what="an errand")
        own.store.close()

    worker = threading.Thread(target=farm)
    worker.start()
    said = said_by(capsys, [*afar.options(), "machine", "wake", "web1"])
    worker.join()
    assert said.startswith(f"{MAC}: a magic packet was sent by ")
    refused = said_by(capsys, [*afar.options(), "machine", "power", "web1", "on"], 1)
    assert "the site names no controller" in refused
    only_there = [*afar.options(), "machine", "wake", "web1", "--interface", "eth0"]
    assert "works on the server itself only" in said_by(capsys, only_there, 1)


def test_the_list_and_the_timeline_come_whole_however_many_pages_they_have(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(450):
        afar.services.add_machine(f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}")
    afar.services.store.events.add_all([Event(MAC, float(at), f"step{at}") for at in range(450)])
    listed = said_by(capsys, [*afar.options(), "machine", "list"])
    assert listed.count("discovered") == 450
    shown = said_by(capsys, [*afar.options(), "machine", "show", MAC])
    assert "at its next boot it" in shown
    assert all(f"step{at}" in shown for at in (0, 200, 449))


def test_builds_are_asked_for_and_holds_listed_from_afar(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    top = afar.options()
    said = said_by(capsys, [*top, "retry", "vm", "--why", "the mirror is back"])
    assert "vm is built as soon as a worker is free" in said
    waiting = afar.services.build_requests.waiting("vm")
    assert waiting and (waiting.who, waiting.why) == ("api ann", "the mirror is back")
    assert "machines have none" in said_by(capsys, [*top, "hold", "skip", "vm", "app-misc/a-2"])
    listed = said_by(capsys, [*top, "hold", "list", "vm"])
    assert "app-misc/a-2" in listed and "api ann" in listed
    assert "release-hold" in said_by(capsys, [*top, "hold", "release", "vm", "app-misc/a-2"])
    assert "has no release yet" in said_by(capsys, [*top, "hold", "add", "vm", "app-misc/a"], 1)


def test_what_waits_to_be_built_is_shown_from_afar(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    now = afar.services.clock()
    afar.services.store.jobs.wait("build", Wanted("vm", "inputs", now), now=now)
    shown = said_by(capsys, [*afar.options(), "queue"])
    assert re.search(r"\bvm\b.*\bwaiting\b", shown), shown


def test_the_servers_own_words_come_when_it_refuses(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_by(capsys, [*afar.options(), "machine", "arm", MAC], 1)
    assert f"distserver: there is no machine {MAC}" in said
    assert "hint: `distserver machine list`" in said
    afar.services.add_machine(MAC, profile="vm")
    put_token(afar.services, afar.token_file, Role.VIEWER)
    assert "needs the role operator" in said_by(capsys, [*afar.options(), "machine", "arm", MAC], 1)
    assert afar.services.machine(MAC).state is MachineState.ASSIGNED


def test_a_server_that_cannot_be_verified_is_shown_no_token(
    afar: Afar, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = [one.used_at for one in afar.services.api_tokens.of("ann")]
    other = WebKeys(tmp_path / "other")
    other.make_authority("other")
    for wrong in ({"authority": ""}, {"authority": str(other.authority)}):
        assert "is not to be trusted" in said_by(capsys, [*afar.options(**wrong), "machine", "list"], 1)
    by_address = afar.options(server=f"https://127.0.0.1:{afar.port}")
    assert "is not to be trusted" in said_by(capsys, [*by_address, "machine", "list"], 1)
    assert [one.used_at for one in afar.services.api_tokens.of("ann")] == used == [None]


@pytest.mark.parametrize(
    ("other", "words", "said"),
    [
        ({"server": "http://192.0.2.1:8080"}, ["machine", "list"], "is not encrypted"),
        ({"server": "localhost:8080"}, ["machine", "list"], "is no address of a server"),
        ({"token_file": ""}, ["machine", "list"], "--server needs --token-file"),
        ({"token_file": "/nonexistent"}, ["machine", "list"], "/nonexistent cannot be read: No such file"),
        ({"authority": "/nonexistent"}, ["machine", "list"], "/nonexistent holds no certificates"),
        ({"server": "https://localhost:1"}, ["machine", "list"], "does not answer"),
        ({}, ["sync"], "works on the server itself only"),
        ({}, ["machine", "show", "--follow", MAC], "works on the server itself only"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    afar: Afar, capsys: pytest.CaptureFixture[str], other: dict[str, str], words: list[str], said: str
) -> None:
    assert said in said_by(capsys, [*afar.options(**other), *words], 1)


def test_a_token_that_others_may_read_is_not_used(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    afar.token_file.chmod(0o644)
    assert "others may read" in said_by(capsys, [*afar.options(), "machine", "list"], 1)


def test_a_merge_is_listed_shown_decided_and_taken_back_from_afar(
    afar: Afar, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    client = Client(afar.services, add_machine(afar.services, 1))
    client.settle()
    top = [*afar.options(), "merge"]
    assert PATH in said_by(capsys, [*top, "list"])
    assert PATH not in said_by(capsys, [*top, "list", "decided"])
    assert "+ PermitRootLogin no" in said_by(capsys, [*top, "show", "1"])
    proposed = said_by(capsys, [*top, "show", "1", "--proposed"])
    text = tmp_path / "text"
    text.write_text(proposed)
    assert "marker" in said_by(capsys, [*top, "decide", "1", "--file", str(text)], status=1)
    text.write_bytes(MERGED)
    assert "sshd_config: text" in said_by(capsys, [*top, "decide", "1", "--file", str(text)])
    assert (client.hear(), client.file) == (["decided"], MERGED)
    assert "open again" in said_by(capsys, [*top, "undo", "1", "--why", "no"])
    assert "there is no merge 7" in said_by(capsys, [*top, "show", "7"], status=1)
    who = {(note.who, note.action) for note in afar.services.audit.page()}
    assert {("api ann", "merge decide"), ("api ann", "merge undo")} <= who
