"""Dialogues with firmware, played against what firmware says, however it is cut into pieces."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.dialogue import DONE, Break, Dialogue, Ended, On, Player, State, Type
from appliance.dialogues import DIALOGUES, OBP, SEABIOS

SMALL = Dialogue(
    "small",
    "",
    {
        "ask": State(
            (On(r"name\?", "me\r", "wait"), On("panic", problem="it broke")), seconds=10, knock="\r"
        ),
        "wait": State((On(r"hello (\w+)", r"<\1>", DONE),), seconds=20),
    },
)
# What QEMU's SeaBIOS 1.16 says, without its escape sequences.
SEABIOS_SAYS = """SeaBIOS (version 1.16.2-debian-1.16.2-1)

iPXE (http://ipxe.org) 00:03.0 CA00 PCI2.10 PnP PMM+06FCF040+06F0F040 CA00

Press ESC for boot menu.

Select boot device:

1. Virtio disk PCI:00:04.0
2. Legacy option rom
3. iPXE (PCI 00:03.0)

Booting from ROM...
"""


def play(dialogue: Dialogue, *texts: str) -> list[object]:
    player = Player(dialogue, 0.0)
    return [act for text in texts for act in player.hear(text, 0.5)]


def typed(acts: list[object]) -> list[str]:
    return [act.keys for act in acts if isinstance(act, Type)]


def test_a_text_leads_to_keys_and_the_next_state() -> None:
    assert play(SMALL, "your name?", "well, hello there!") == [Type("me\r"), Type("<there>"), Ended()]


def test_it_knocks_until_something_comes_and_gives_up_in_time() -> None:
    player = Player(SMALL, 100.0)
    acts = [act for tenth in range(110) for act in player.hear("", 100 + tenth / 10)]
    assert acts[:10] == [Type("\r")] * 10
    (end,) = acts[10:]
    assert isinstance(end, Ended)
    assert "nothing of what was awaited came within 10 s: name" in end.problem
    assert player.hear("name?", 200) == []


def test_what_comes_first_counts() -> None:
    assert play(SMALL, "panic! name?")[-1] == Ended("it broke")
    assert play(SMALL, "name? panic!")[-1] == Type("me\r")


@pytest.mark.parametrize("name", sorted(DIALOGUES))
def test_every_table_leads_somewhere(name: str) -> None:
    dialogue = DIALOGUES[name]
    reached, ends = {next(iter(dialogue.states))}, False
    for state in dialogue.states.values():
        for rule in state.on:
            re.compile(rule.pattern)
            assert rule.then in ("", DONE, *dialogue.states)
            assert rule.then or rule.keys or rule.problem
            reached.add(rule.then)
            ends |= rule.then == DONE
    assert set(dialogue.states) <= reached
    assert ends


def test_seabios_is_told_the_number_of_the_network_card() -> None:
    acts = play(SEABIOS, SEABIOS_SAYS)
    assert typed(acts) == ["\x1b", "3"]
    assert acts[-1] == Ended()


def test_seabios_without_a_network_card_is_a_problem() -> None:
    acts = play(SEABIOS, SEABIOS_SAYS.replace("3. iPXE (PCI 00:03.0)\n", "").replace("ROM", "Hard Disk"))
    assert acts[-1] == Ended("its menu has no network card")


@given(st.lists(st.integers(0, len(SEABIOS_SAYS)), max_size=30))
def test_the_answers_do_not_depend_on_how_the_text_is_cut(cuts: list[int]) -> None:
    places = sorted({0, len(SEABIOS_SAYS), *cuts})
    pieces = [SEABIOS_SAYS[start:end] for start, end in itertools.pairwise(places)]
    player = Player(SEABIOS, 0.0)
    acts: list[object] = [act for piece in pieces for act in player.hear(piece, 0.5)]
    assert typed(acts) == ["\x1b", "3"]
    assert player.passed == ["banner", "menu", "chosen"]


# Texts of OpenBoot as its manuals print them (OpenBoot 3.x and 4.x Command Reference).


def test_obp_at_its_prompt_is_told_to_boot_by_dhcp() -> None:
    acts = play(
        OBP, "\n{0} ok ", "boot net:dhcp - install\n", "Boot device: /pci@1f,0/network@c:dhcp\n", "Link Up\n"
    )
    assert acts == [Break(), Type("boot net:dhcp - install\r"), Ended()]


def test_obp_of_before_dhcp_is_told_to_ask_by_rarp() -> None:
    acts = play(OBP, "\nok ", "Can't open boot device\n\nok ", "Timeout waiting for ARP/RARP packet\n")
    assert typed(acts) == ["boot net:dhcp - install\r", "boot net - install\r"]
    assert acts[-1] == Ended()


def test_a_system_that_ran_is_stopped_reset_and_left_as_it_was() -> None:
    said = [
        "Type  'go' to resume\n",
        "{2} ok ",
        "setenv auto-boot? false\nauto-boot? =          false\n",
        "{2} ok ",
        "Sun Fire V240, No Keyboard\nOpenBoot 4.22.33\n\n{0} ok ",
        "setenv auto-boot? true\nauto-boot? =          true\n",
        "{0} ok ",
        "Requesting Internet Address for 0:3:ba:1:2:3\n",
    ]
    keys = [
        "setenv auto-boot? false\r",
        "reset-all\r",
        "setenv auto-boot? true\r",
        "boot net:dhcp - install\r",
    ]
    acts = play(OBP, *(f"\n{text}" for text in said))
    assert [one for one in typed(acts) if one != "\r"] == keys
    assert acts[-1] == Ended()


def test_a_program_that_ended_leaves_a_prompt_that_can_be_used() -> None:
    acts = play(OBP, "Program terminated\n{1} ok ")
    assert typed(acts) == ["boot net:dhcp - install\r"]


@pytest.mark.parametrize(
    ("name", "text", "keys"),
    [
        ("dell", "<F2> = System Setup\n<F10> = System Services\n<F12> = PXE Boot\n", "\x1b@"),
        ("hp", 'Press "F9" key for ROM-Based Setup Utility\nPress "F12" key for Network Boot\n', "\x1b@"),
        ("ami", "Press <DEL> to run Setup\nPress <F12> if you want to boot from the network\n", "\x1b[24~"),
    ],
)
def test_servers_are_told_f12_in_the_terminal_they_speak(name: str, text: str, keys: str) -> None:
    acts = play(DIALOGUES[name], text, "CLIENT MAC ADDR: 00 11 22 33 44 55\n")
    assert acts == [Type(keys), Ended()]
