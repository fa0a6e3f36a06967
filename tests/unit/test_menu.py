"""The menu of a medium: what it offers, what it does by default, and that no text leaves its place."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.errors import Problem
from appliance.run import run
from iso.menu import MEMORY_TESTS, Entry, Menu, first_commands, grub_config

RELEASE = "20260101-0123456789ab"
WEB = Entry(
    "web", "Web servers", RELEASE, "console=ttyS0 quiet", f"r/{RELEASE}/kernel", f"r/{RELEASE}/installer"
)
PI = replace(WEB, profile="pi", description="", arguments="console=ttyAMA0", arch="arm64")
MENU = Menu("0123456789abcdef", "DISTSERVER", (WEB,), "http://10.77.0.2", offline=False)
TITLE = re.compile(r"^ *menuentry '(.*)' --id (\S+) \{$", re.MULTILINE)
NASTY = "it's; reboot\nmenuentry '$(x)' `y` ${z} \"q\" # \\ } { \x1b[2J\r\0 é"
hostile = st.one_of(st.text(), st.text(alphabet="'\"\\${}();|&\n\r`# ax-="))


def titles(config: str) -> dict[str, str]:
    """Titles by their key; of what is offered twice the last."""
    return {key: title for title, key in TITLE.findall(config)}


def kernel_lines(menu: Menu) -> list[list[str]]:
    lines = [line.strip() for line in grub_config(menu).splitlines()]
    return [line.split(" ")[2:] for line in lines if line.startswith('linux "($medium)"\'')]


def checked(config: str, place: Path) -> None:
    """By GRUB's own parser."""
    (place / "grub.cfg").write_text(config)
    run(["grub-script-check", place / "grub.cfg"])


def test_a_person_can_choose_everything_a_medium_does() -> None:
    found = titles(grub_config(MENU))
    assert found == {
        "recognise": "Recognise this machine (asks http://10.77.0.2)",
        "profile-1": "Profile web: Web servers",
        "rescue": "Rescue shell",
        "memory": "Memory test",
        "memory-serial": "Memory test, on the serial line too",
        "disk": "Boot the system on the local disk",
        "restart": "Restart",
        "off": "Power off",
    }


def test_the_first_entry_asks_the_server_and_names_no_profile() -> None:
    recognise, chosen, rescue = kernel_lines(MENU)
    always = ["'distserver.medium=0123456789abcdef'", "'distserver=http://10.77.0.2'"]
    own = ["'console=ttyS0'", "'quiet'"]
    assert recognise == [*always, *own]
    assert chosen == [*always, "'distserver.profile=web'", *own]
    assert rescue == [*always, "'distserver.mode=rescue'", *own]


def test_an_offline_medium_says_so_to_every_kernel() -> None:
    for line in kernel_lines(replace(MENU, offline=True, token="ab")):
        assert "'distserver.offline=1'" in line
        assert not any("token" in word for word in line)
    assert "by what this medium knows" in grub_config(replace(MENU, offline=True))


def test_an_online_medium_for_one_machine_carries_its_token() -> None:
    menu = replace(MENU, machine="web1", token="ab")
    assert all("'distserver.token=ab'" in line for line in kernel_lines(menu))
    assert "this medium is for web1" in grub_config(menu)


def test_each_profile_boots_its_own_release() -> None:
    other = replace(WEB, profile="db", release="r2", kernel="r/r2/kernel", installer="r/r2/installer")
    config = grub_config(replace(MENU, entries=(WEB, other)))
    chosen = config.partition("menuentry 'Profile db")[2].partition("}")[0]
    assert "'/r/r2/kernel'" in chosen and "'/r/r2/installer'" in chosen and RELEASE not in chosen
    rescue = config.partition("menuentry 'Rescue shell'")[2].partition("}")[0]
    assert f"'/r/{RELEASE}/kernel'" in rescue


def test_a_processor_is_offered_only_what_is_for_it() -> None:
    config = grub_config(replace(MENU, entries=(WEB, PI)))
    arm, _, x86 = config.partition('if [ "$grub_cpu" = "arm64" ]; then\n')[2].partition("\nelse\n")
    assert "'Profile pi'" in arm and "web" not in arm and "memtest" not in arm
    assert "'Profile web: Web servers'" in x86 and "pi'" not in x86.partition("\nfi\n")[0]
    lonely = grub_config(MENU).partition("else")[0]
    assert "No profile on this medium is for this processor" in lonely and "linux" not in lonely


def test_an_installed_system_is_booted_by_default() -> None:
    lines = grub_config(MENU).splitlines()
    start = lines.index("set default=recognise")
    assert lines[start + 2 : start + 7] == [
        "if search --no-floppy --file --set=installed /var/lib/distserver/installed; then",
        "  set default=disk",
        "elif search --no-floppy --file --set=installed /distserver-installed; then",
        "  set default=disk",
        "fi",
    ]


def test_a_medium_for_one_machine_minds_only_what_it_installed_itself() -> None:
    config = grub_config(replace(MENU, token="ab"))
    # printf ab | sha256sum
    assert "/var/lib/distserver/media/fb8e20fc2e4c3f24; then" in config
    assert config.count("search ") == 1
    assert "distserver/installed" not in config


@pytest.mark.parametrize("name", MEMORY_TESTS)
def test_a_memory_test_that_is_not_there_is_not_offered(name: str, tmp_path: Path) -> None:
    config = grub_config(MENU, set(MEMORY_TESTS) - {name})
    assert name not in config and config.count("'Memory test'") == len(MEMORY_TESTS) - 1
    without = grub_config(MENU, ())
    assert "emory test" not in without
    for one in (config, without):
        checked(one, tmp_path)


def test_the_countdown_can_be_seen() -> None:
    assert "set timeout=25\nset timeout_style=menu\n" in grub_config(replace(MENU, timeout_seconds=25))


def test_this_medium_is_found_among_others() -> None:
    assert first_commands(MENU).splitlines()[0] == (
        "search --no-floppy --file --set=root /distserver/id-0123456789abcdef"
    )


def test_a_medium_without_a_profile_is_refused() -> None:
    with pytest.raises(Problem, match="boots nothing"):
        grub_config(replace(MENU, entries=()))


def test_what_cannot_be_shown_on_a_console_is_left_out() -> None:
    entry = replace(WEB, description="Café ☕ " + "x" * 200)
    title = titles(grub_config(replace(MENU, entries=(entry,))))["profile-1"]
    assert title.startswith("Profile web: Cafe  xxx") and len(title) <= 74


@given(hostile, hostile, hostile, hostile)
@settings(max_examples=60)
def test_no_text_adds_a_line_or_a_command(one: str, two: str, three: str, four: str) -> None:
    def menu(one: str, two: str, three: str, four: str) -> Menu:
        entry = replace(WEB, profile=f"a{one}", description=f"b{two}", arguments=three)
        return replace(MENU, entries=(entry,), machine=f"m{four}")

    config = grub_config(menu(one, two, three, four))
    plain = grub_config(menu("", "", "", ""))
    assert config.isascii()
    lines, expected = config.split("\n"), plain.split("\n")
    assert len(lines) == len(expected)
    for line, usual in zip(lines, expected, strict=True):
        assert line.split()[:1] == usual.split()[:1] and (not line or line.isprintable())


@given(hostile)
@settings(max_examples=60)
def test_grub_understands_the_menu_whatever_the_texts_are(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    entry = replace(WEB, profile=text, description=text, release=text, arguments=text, kernel=text)
    menu = replace(MENU, entries=(entry, replace(entry, arch="arm64")), machine=text, server=text)
    checked(grub_config(menu), tmp_path_factory.getbasetemp())


def test_grub_understands_the_nastiest_menu(tmp_path: Path) -> None:
    entry = replace(WEB, profile=NASTY, description=NASTY, arguments=NASTY)
    checked(grub_config(replace(MENU, entries=(entry,), machine=NASTY)), tmp_path)
