"""The planner of a medium: what the server would say, in one answer or one sentence."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance import medium
from appliance.facts import render_facts
from appliance.farm_model import Release
from appliance.install import describe, fingerprint, plan_install, render
from appliance.model import Disk, Facts, Firmware
from appliance.offering import Offer, write_offers
from appliance.offline import Answer, answer
from appliance.profile_model import MatchRule
from tests.unit.plain_profile import GIB, PLAIN

VM = replace(
    PLAIN,
    description="a virtual\tmachine \x1b[2J of \N{LEFT DOUBLE QUOTATION MARK}QEMU",
    match=(MatchRule(vendor="qemu*", source="vm: match[1]"),),
)
WEB = replace(VM, name="web", description="a web server", match=(MatchRule(vendor="Sun*", arm=True),))
SEALED = Release("20260101-0123456789ab", "vm", 1.0, "gentoo:0a1b guru:2c3d", 3, 100)
OFFERS = [Offer(WEB, replace(SEALED, id="20260102-0123456789ab", profile="web")), Offer(VM, SEALED)]
FACTS = Facts("52:54:00:12:34:56", Firmware.UEFI, vendor="QEMU", disks=(Disk("/dev/vda", 8 * GIB, "virtio"),))
SUM = "ab" * 32
DESCRIPTION = medium.Medium(
    created="2026-01-02T00:00:00Z",
    server="http://10.77.0.2",
    offline=True,
    releases=tuple((one.release.id, one.profile.name) for one in OFFERS),
    files=(medium.MediumFile(medium.PLANNER, 1, SUM), medium.MediumFile(medium.PROFILES, 1, SUM)),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "distserver").mkdir()
    (tmp_path / medium.DESCRIPTION).write_text(medium.write(DESCRIPTION))
    (tmp_path / medium.PROFILES).write_text(write_offers(OFFERS))
    return tmp_path


def ask(place: Path, *words: str, given: str = "") -> Answer:
    return answer(words, place, lambda: given)


def test_profiles_are_listed_in_the_order_of_the_medium_and_cannot_steer_a_terminal(place: Path) -> None:
    listed = "web\ta web server\nvm\ta virtual machine  [2J of \N{LEFT DOUBLE QUOTATION MARK}QEMU\n"
    assert ask(place, "list") == Answer(0, listed)


def test_a_match_rule_chooses_as_on_the_server(place: Path) -> None:
    said = ask(place, "choose", given=render_facts(FACTS))
    assert said == Answer(0, "profile vm vm: match[1]: vendor 'QEMU' is like 'qemu*'\n")
    other = ask(place, "choose", given=render_facts(replace(FACTS, vendor="Dell")))
    assert other == Answer(0, "none no match rule of any profile fits: assign a profile\n")


def test_the_machine_of_a_per_machine_image_gets_its_profile_and_no_other_does(place: Path) -> None:
    own = replace(
        DESCRIPTION,
        releases=DESCRIPTION.releases[:1],
        machine=medium.MediumMachine(FACTS.mac, "web-1", "0f" * 16, "2026-02-02T00:00:00Z"),
    )
    (place / medium.DESCRIPTION).write_text(medium.write(own))
    assert ask(place, "choose", given=render_facts(FACTS)).text.startswith("profile web the medium was made")
    foreign = ask(place, "choose", given=render_facts(replace(FACTS, mac="52:54:00:00:00:99")))
    assert foreign.text.startswith("profile vm vm: match[1]")


def test_the_plan_is_the_servers_but_for_the_way_its_files_come(place: Path) -> None:
    plan = plan_install(FACTS, VM, SEALED, hostname="m123456")
    here = "file:///run/medium"
    wanted = render(plan, report="offline", base=f"{here}/r/{SEALED.id}", pool=here)
    assert ask(place, "plan", "vm", given=render_facts(FACTS)) == Answer(0, wanted)
    named = ask(place, "plan", "vm", "web-1", given=render_facts(FACTS)).text
    assert "\nhostname web-1\n" in named
    assert "\nhostname m123456\n" in wanted
    assert ask(place, "fingerprint", given=wanted) == Answer(0, f"{fingerprint(wanted)}\n")
    from_net = render(plan, report="s3cret", base=f"http://10.77.0.2/r/{SEALED.id}", pool="http://10.77.0.2")
    assert fingerprint(from_net) == fingerprint(wanted)


def test_a_person_reads_what_is_lost_and_what_will_be(place: Path) -> None:
    said = ask(place, "describe", "vm", "vm-1", given=render_facts(FACTS))
    assert said.text.splitlines() == describe(plan_install(FACTS, VM, SEALED, hostname="vm-1"))
    assert "  /dev/vda1 64.0 MiB esp: vfat on /boot/efi" in said.text.splitlines()


def test_a_refusal_is_an_answer_of_one_line(place: Path) -> None:
    bare = render_facts(replace(FACTS, disks=()))
    for command, start in (("plan", "refused the machine reported"), ("describe", "refused: the machine")):
        said = ask(place, command, "vm", given=bare)
        assert said.status == 0
        assert said.text.startswith(start)
        assert said.text.count("\n") == 1
    assert ask(place, "plan", "vm", "Not_A_Name", given=render_facts(FACTS)).text.startswith("refused host")


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (("plan", "db"), render_facts(FACTS), "profile db is not on this medium (it has web, vm)"),
        (("plan", "vm"), "mac x\n", "facts line 1: expected a MAC address of 6 octets, came 'x'"),
        (("choose",), "", "facts have no mac line, expected one"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence_and_status_1(
    place: Path, words: tuple[str, ...], given: str, said: str
) -> None:
    assert ask(place, *words, given=given) == Answer(1, f"{said}\n")


@pytest.mark.parametrize(
    "words", [(), ("plan",), ("plan", "a", "b", "c"), ("list", "x"), ("--help",), ("choose", "vm\x1b")]
)
def test_a_command_that_is_none_says_which_there_are(place: Path, words: tuple[str, ...]) -> None:
    said = ask(place, *words)
    assert said.status == 2
    assert said.text.startswith("expected choose, list, plan PROFILE")
    assert said.text.rstrip("\n").isprintable()


def test_a_medium_that_cannot_be_read_is_a_sentence(place: Path) -> None:
    (place / medium.PROFILES).write_bytes(b"\xff\xfe")
    said = ask(place, "list")
    assert said.status == 1
    assert "profiles.json cannot be read" in said.text
    (place / medium.PROFILES).unlink()
    assert "No such file" in ask(place, "list").text
    (place / medium.PROFILES).write_text(write_offers(OFFERS))
    (place / medium.DESCRIPTION).write_text(medium.write(DESCRIPTION).replace("yes", "no"))
    assert "was changed" in ask(place, "choose", given=render_facts(FACTS)).text


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.lists(
        st.sampled_from(["choose", "list", "plan", "describe", "fingerprint", "vm", "web", "h"])
        | st.text(max_size=5),
        max_size=4,
    ),
    given=st.text(max_size=80) | st.just(render_facts(FACTS)),
    profiles=st.just(write_offers(OFFERS))
    | st.just('{"format": 1, "offers": [{"profile": {"disk": 3}}]}')
    # What is of the wrong kind is found only when it is used.
    | st.just(write_offers(OFFERS).replace('"console=ttyS0"', "7").replace('"qemu*"', "{}")),
)
def test_whatever_comes_there_is_an_answer_and_never_a_traceback(
    place: Path, words: list[str], given: str, profiles: str
) -> None:
    (place / medium.PROFILES).write_text(profiles)
    said = ask(place, *words, given=given)
    assert said.status in (0, 1, 2)
    assert said.text.endswith("\n") or (words == ["list"] and not said.text)
    assert said.status == 0 or said.text.count("\n") == 1
