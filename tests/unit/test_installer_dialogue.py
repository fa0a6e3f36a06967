"""What the installer asks a person: on every console at once, through real terminals."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.console import Console
from appliance.deadline import wait_until
from appliance.facts import parse_facts
from appliance.first_report import parse
from appliance.match import NoChoice, choose
from appliance.medium import MediumMachine
from appliance.run import run
from appliance.site import read_site
from tests.burning import PLAIN, Slot, make_planner
from tests.installer_box import MIB, RELEASE, Box, Server, lay, plan_text, sha256

NO_RULE = "no match rule of any profile fits: assign a profile"
MAC = "52:54:00:77:00:01"
LIST = b"vm\ta virtual machine\nweb\tweb servers\n"
WAIT = 20.0


@dataclass(frozen=True)
class Seats:
    """A machine with two consoles and somebody at each."""

    box: Box
    first: Console
    second: Console

    def during(self, script: str, ok: tuple[int, ...], meanwhile: Callable[[], None]) -> str:
        """What the script prints; `meanwhile` happens while it runs."""
        said: list[str] = []
        runner = threading.Thread(target=lambda: said.append(self.box.sh(script, ok=ok).stdout))
        runner.start()
        try:
            meanwhile()
        finally:
            runner.join(60)
        return said[0]


@pytest.fixture
def seats(box: Box, tmp_path: Path) -> Iterator[Seats]:
    lay(tmp_path, {"sys/class/tty/console/active": "ttyA ttyB\n", "sys/class/net/eth0/address": f"{MAC}\n"})
    lay(tmp_path, {"sys/class/net/eth0/device/x": "", "sys/class/dmi/id/sys_vendor": "ACME\n"})
    with ExitStack() as stack:
        consoles = []
        for name in ("ttyA", "ttyB"):
            ours, theirs = os.openpty()
            stack.callback(os.close, theirs)
            stack.callback(os.close, ours)
            (tmp_path / name).symlink_to(os.ttyname(theirs))
            consoles.append(stack.enter_context(Console(ours, tmp_path / f"{name}.log")))
        yield Seats(box, *consoles)


# The menu


def test_a_profile_is_chosen_by_its_number_on_any_console(seats: Seats) -> None:
    (seats.box.path / "profiles").write_bytes(LIST)
    ask = "begin_dialogue; show_menu $work/profiles; typed_line; end_dialogue"

    def person() -> None:
        seats.first.wait_for("1  vm: a virtual machine", seconds=WAIT)
        seats.second.wait_for("2  web: web servers", seconds=WAIT)
        seats.second.wait_for("nothing is chosen by waiting", seconds=WAIT)
        seats.second.send_line(" 2 ")

    script = f"{ask}; menu_choice $work/profiles $typed"
    assert seats.during(script, (0,), person) == "web\n"


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [("vm", "vm\n"), ("1", "vm\n"), ("3", ""), ("", ""), ("0", ""), ("w", ""), ("1 2", "")],
)
def test_what_is_typed_means_one_line_of_the_menu_or_nothing(box: Box, typed: str, chosen: str) -> None:
    (box.path / "profiles").write_bytes(LIST)
    script = f"menu_choice $work/profiles '{typed}'"
    assert box.sh(script, ok=(0 if chosen else 1,)).stdout == chosen


def test_waiting_chooses_nothing(seats: Seats) -> None:
    assert seats.during("begin_dialogue; typed_line 1; echo $?; end_dialogue", (0,), lambda: None) == "1\n"


# The menu beside a server


def test_the_installer_offers_a_menu_where_the_server_says_that_no_rule_fits(site: Path) -> None:
    """It goes by the end of what the server says, so that is what match.py must say."""
    profiles = read_site(site).profiles
    facts = parse_facts(f"mac {MAC}\nfirmware bios\nvendor ACME\n")
    choice = choose(facts, profiles)
    assert isinstance(choice, NoChoice)
    twice = {name: replace(profiles["vm"], name=name) for name in ("vm", "web")}
    both = choose(replace(facts, vendor="QEMU"), twice)
    assert isinstance(both, NoChoice)
    for reason in (choice.reason, both.reason):
        assert reason.endswith((": assign a profile", ": assign one"))


def test_a_choice_at_the_console_goes_to_the_server_which_is_asked_all_the_time(
    seats: Seats, server: Server
) -> None:
    server.answers["/hello"] = f"wait 1 {NO_RULE}\n"
    server.files["/profiles"] = LIST

    def person() -> None:
        seats.first.wait_for("2  web: web servers", seconds=WAIT)
        wait_until(lambda: len(server.posted) > 2 or None, seconds=WAIT, what="the server is asked again")
        seats.first.send_line("nonsense")
        seats.first.wait_for("there is no profile 'nonsense'", seconds=WAIT)
        assert not any("choose" in body for _, body in server.posted)
        seats.second.send_line("web")
        wait_until(lambda: "choose web" in server.posted[-1][1] or None, seconds=WAIT, what="it is sent")
        server.answers["/hello"] = "wait 1 it is assigned, not armed\n"
        seats.first.wait_for("waiting 1 s: it is assigned, not armed", seconds=WAIT)
        server.answers["/hello"] = "install tok-1\n"

    script = "nic=eth0; facts >$work/facts; ask_for_token; echo got $token"
    assert seats.during(script, (0,), person) == "got tok-1\n"
    said = seats.first.transcript.read_text()
    assert said.count("which profile shall this machine have?") == 1
    bodies = [body for path, body in server.posted if path == "/hello"]
    assert bodies[0].startswith(f"mac {MAC}\n")


def test_a_profile_of_the_boot_menu_is_sent_at_once(box: Box, server: Server) -> None:
    lay(box.path, {"sys/class/net/eth0/address": f"{MAC}\n"})
    server.answers["/hello"] = "install tok-1\n"
    inner = replace(box, arguments="distserver.profile=web")
    inner.sh("nic=eth0; facts >$work/facts; chosen=$preselected; ask_for_token")
    assert server.posted[0][1].endswith("\nchoose web\n")


def test_a_profile_that_the_server_does_not_take_is_asked_for_again(seats: Seats, server: Server) -> None:
    server.answers["/hello"] = "wait 1 there is no profile 'db' with a release: choose another\n"
    server.files["/profiles"] = LIST

    def person() -> None:
        seats.first.wait_for("there is no profile 'db' with a release: choose another", seconds=WAIT)
        seats.first.wait_for("2  web: web servers", seconds=WAIT)
        seats.first.send_line("vm")
        wait_until(lambda: "choose vm" in server.posted[-1][1] or None, seconds=WAIT, what="it is sent")
        server.answers["/hello"] = "install tok-1\n"

    script = "nic=eth0; facts >$work/facts; chosen=db; ask_for_token; echo got $token"
    assert seats.during(script, (0,), person) == "got tok-1\n"


def test_a_server_without_profiles_to_choose_from_is_waited_for(box: Box, server: Server) -> None:
    lay(box.path, {"sys/class/net/eth0/address": f"{MAC}\n"})
    server.answers["/hello"] = [f"wait 1 {NO_RULE}\n", "install tok-1\n"]
    assert box.sh("nic=eth0; facts >$work/facts; ask_for_token; echo got $token").stdout == "got tok-1\n"
    assert f"waiting: {NO_RULE}" in box.console
    assert "which profile" not in box.console


# Without a server


def put_in(slot: Slot, seats: Seats, choice: str, about: MediumMachine | None = None) -> tuple[str, Seats]:
    """A medium with a planner that says `choice` in a machine with two consoles; its id."""
    make_planner(slot.box.path, choice).replace(slot.tree / "distserver/planner.sqfs")
    (slot.tree / "distserver/credential").write_text("c" * 64 + "\n")
    for profile in ("vm", "web"):
        text = plan_text(base=f"file://{slot.box.settings['medium']}/r/{RELEASE}")
        (slot.tree / f"plan-{profile}").write_text(text.replace("report s3cret", "report offline"))
    made, image = slot.burn(replace(PLAIN, machine=about))
    slot.put_in(image)
    arguments = f"distserver.medium={made} distserver.offline=1"
    return made, replace(seats, box=replace(slot.box, arguments=arguments))


PLAN = "open_medium >/dev/null; use_its_card; plan_offline && plan_value hostname && cat $work/profile"


def test_a_plan_made_without_a_server_begins_only_when_a_person_types_install(
    slot: Slot, seats: Seats
) -> None:
    _, there = put_in(slot, seats, "profile vm rule 1: vendor 'ACME' is like 'ACME'\n")

    def person() -> None:
        there.first.wait_for("profile vm: rule 1: vendor 'ACME' is like 'ACME'", seconds=WAIT)
        there.second.wait_for("m770001 gets profile vm", seconds=WAIT)
        there.second.wait_for("type 'install' to begin", seconds=WAIT)
        there.second.send_line("yes")
        there.first.wait_for("'yes' is neither 'install' nor 'no'", seconds=WAIT)
        there.first.send_line("install")
        there.second.wait_for("confirmed on the console", seconds=WAIT)

    assert there.during(PLAN, (0,), person) == "m770001\nvm\n"
    fingerprint = (slot.box.path / "fingerprint").read_text().strip()
    assert fingerprint == sha256((slot.box.path / "plan").read_bytes())


def test_without_a_rule_a_person_chooses_and_may_still_say_no(slot: Slot, seats: Seats) -> None:
    _, there = put_in(slot, seats, f"none {NO_RULE}\n")

    def person() -> None:
        there.first.wait_for("2  web: web servers", seconds=WAIT)
        there.first.send_line("9")
        there.first.wait_for("there is no profile '9'", seconds=WAIT)
        there.first.send_line("2")
        there.first.wait_for("m770001 gets profile web", seconds=WAIT)
        there.first.wait_for("type 'install' to begin", seconds=WAIT)
        there.first.send_line("no")

    assert there.during(PLAN, (1,), person) == ""


def test_a_refusal_of_the_planner_is_shown_and_ends_it(slot: Slot, seats: Seats) -> None:
    (slot.tree / "plan-none").write_text("refused 2 disks match\n")
    _, there = put_in(slot, seats, "profile none because\n")
    there.box.sh(PLAN, ok=(1,))
    seats.first.wait_for("refused: 2 disks match", seconds=WAIT)


# Images for one machine


ONE = MediumMachine(MAC, "web1", "ab" * 16, "2026-06-01T00:00:00Z")
NOW = {"before it was made": 1767225599, "in time": 1767225601, "too late": 1780272000}


def clock(box: Box, when: str) -> None:
    (box.path / "clock").write_text(f"{NOW[when]}\n")


def test_the_machine_an_image_is_for_is_installed_without_asking(slot: Slot, seats: Seats) -> None:
    made, there = put_in(slot, seats, "profile vm x\n", ONE)
    clock(slot.box, "in time")
    assert there.box.sh(PLAN).stdout == "web1\nvm\n"
    seats.first.wait_for("nobody is asked: the medium was made to install this machine", seconds=WAIT)
    there.box.sh("set -e; open_medium; leave_report 0")
    place = slot.box.path / "target/var/lib/distserver/report"
    assert place.stat().st_mode & 0o777 == 0o700
    head, events = ((place / name).read_text() for name in ("head", "events"))
    lines = "".join(f"event {line}\n" for line in events.splitlines())
    report = parse(f"distserver-installed 1\n{head}{lines}sent 1\n\n{(place / 'facts').read_text()}")
    assert (report.medium, report.release, report.profile, report.hostname) == (made, RELEASE, "vm", "web1")
    assert report.token == ONE.token
    assert report.facts.mac == MAC
    assert [event.stage for event in report.events] == ["planner", "finish"]
    assert (place / "credential").read_text() == "c" * 64 + "\n"


@pytest.mark.parametrize(
    ("when", "mac", "said"),
    [
        ("before it was made", MAC, "before the medium was made: whether it expired cannot be known"),
        ("too late", MAC, "the medium was good until 2026-06-01T00:00:00Z only"),
        (
            "in time",
            "52:54:00:77:00:02",
            "the medium is for 52:54:00:77:00:02 web1, which is not this machine",
        ),
    ],
)
def test_anything_else_is_asked_for(slot: Slot, seats: Seats, when: str, mac: str, said: str) -> None:
    _, there = put_in(slot, seats, "profile vm x\n", replace(ONE, mac=mac))
    clock(slot.box, when)

    def person() -> None:
        there.first.wait_for(said, seconds=WAIT)
        there.first.wait_for("type 'install' to begin", seconds=WAIT)
        there.first.send_line("no")

    there.during(PLAN, (1,), person)


def test_an_image_installs_its_machine_once(slot: Slot, seats: Seats) -> None:
    _, there = put_in(slot, seats, "profile vm x\n", ONE)
    root, partition = slot.box.path / "root", slot.box.path / "disk1"
    mark = root / "var/lib/distserver/media" / sha256(ONE.token.encode())[:16]
    mark.parent.mkdir(parents=True)
    clock(slot.box, "in time")
    script = "open_medium >/dev/null; plan_value() { echo $work/disk; }; must_ask"
    for used in (False, True):
        if used:
            mark.touch()
        partition.unlink(missing_ok=True)
        run(["mkfs.ext4", "-q", "-d", root, partition, "4M"])
        said = there.box.sh(script, ok=(0 if used else 1,)).stdout
        assert said == ("this machine was installed with this medium already\n" if used else "")


def test_an_installation_leaves_what_says_so(slot: Slot, seats: Seats) -> None:
    _, there = put_in(slot, seats, "profile vm x\n", ONE)
    there.box.plan(plan_text().replace("/boot/efi", "/boot"))
    lay(slot.box.path, {"target/boot/x": ""})
    there.box.sh("set -e; open_medium; mark_installed")
    target = slot.box.path / "target"
    assert (target / "var/lib/distserver/installed").read_text() == f"{RELEASE}\n"
    assert (target / "boot/distserver-installed").read_text() == f"{RELEASE}\n"
    marks = [path.name for path in (target / "var/lib/distserver/media").iterdir()]
    assert marks == [sha256(ONE.token.encode())[:16]]


def test_a_machine_without_a_network_card_makes_itself_a_name(box: Box) -> None:
    lay(box.path, {"sys/block/vda/size": "2048\n", "sys/block/vda/serial": "S1\n", "sys/firmware/x": ""})
    first, again = (parse_facts(box.sh("facts").stdout).mac for _ in range(2))
    lay(box.path, {"sys/block/vda/serial": "S2\n"})
    other = parse_facts(box.sh("facts").stdout).mac
    assert first == again != other
    assert first.startswith("02:")


# Room


@pytest.mark.parametrize(("packages", "said"), [(800 * MIB, ""), (900 * MIB, "the disk is too small")])
def test_what_surely_does_not_fit_is_said_before_anything_is_written(
    box: Box, packages: int, said: str
) -> None:
    box.plan(plan_text())  # about 893 MiB of ext4
    lines = (
        f"FILE stage {40 * MIB} SHA256 x",
        f"FILE tree-a.sqfs {5 * MIB} SHA256 x",
        f"PACKAGE a/b-1-1 {packages} x x",
    )
    (box.path / "manifest").write_text("\n".join(lines) + "\n")
    told = box.sh("set -e; check_room", ok=(1 if said else 0,)).stdout
    assert said in told
    if said:
        assert "needs at least 945 MiB (stage 40 MiB, packages 900 MiB, trees 5 MiB)" in told
        assert "nothing was written" in told


def test_a_stage_counts_unpacked_where_it_lies_on_the_medium(box: Box) -> None:
    plain = box.path / "r/stage.tar"
    plain.parent.mkdir()
    plain.write_bytes(bytes(100 * MIB))
    run(["zstd", "-q", "-1", plain, "-o", box.path / "r/stage"])
    plain.unlink()
    inner = replace(box, settings={"medium": str(box.path)})
    text = plan_text(base=f"file://{box.path}/r")
    (root,) = [line for line in text.splitlines() if 'name="root"' in line]
    inner.plan(text.replace(root, re.sub(r"size=\d+", "size=99", root)))
    (box.path / "manifest").write_text("FILE stage 40000 SHA256 x\n")
    assert "needs at least 100 MiB (stage 100 MiB" in inner.sh("set -e; check_room", ok=(1,)).stdout
