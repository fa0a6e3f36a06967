"""The menu of machines with Secure Boot: the same choices, and no text leaves its line."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from iso.entries import Bootable, loader_files
from tests.unit.test_menu import MENU, WEB

ONE = Bootable(WEB, "distserver/kernel-1", "distserver/installer-1")
KEYS = {"title", "sort-key", "linux", "initrd", "options", "efi", "timeout", "default", "editor"}


def test_the_first_profile_boots_by_default_and_nobody_edits_its_line() -> None:
    other = Bootable(
        replace(WEB, profile="db", description=""), "distserver/kernel-2", "distserver/installer-2"
    )
    files = loader_files(MENU, [ONE, other])
    assert files["loader/loader.conf"] == "timeout 10\ndefault recognise.conf\neditor no\n"
    assert files["loader/entries/recognise.conf"].splitlines() == [
        "title Recognise this machine (asks http://10.77.0.2)",
        "sort-key 10",
        "linux /distserver/kernel-1",
        "initrd /distserver/installer-1",
        "options distserver.medium=0123456789abcdef distserver=http://10.77.0.2 console=ttyS0 quiet",
    ]
    assert "distserver.mode=rescue" in files["loader/entries/rescue.conf"]
    second = files["loader/entries/profile-0001.conf"]
    assert "title Profile db\n" in second and "/distserver/kernel-2" in second
    assert "distserver.profile=db" in second
    assert "efi /EFI/distserver/grubx64.efi" in files["loader/entries/more.conf"]


def test_an_argument_with_white_space_stays_one() -> None:
    quoted = Bootable(replace(WEB, arguments='dyndbg="file a.c +p" quiet'), "k", "i")
    assert loader_files(MENU, [quoted])["loader/entries/recognise.conf"].endswith(
        ' "dyndbg=file a.c +p" quiet\n'
    )


@given(st.text(), st.text(), st.text(), st.text())
def test_no_text_adds_a_line(profile: str, description: str, arguments: str, machine: str) -> None:
    entry = replace(WEB, profile=profile, description=description, arguments=arguments)
    for text in loader_files(replace(MENU, machine=machine), [replace(ONE, entry=entry)]).values():
        assert text.isascii() and text.endswith("\n")
        lines = text.split("\n")[:-1]
        keys = [line.split(" ")[0] for line in lines]
        assert len(set(keys)) == len(keys) and set(keys) <= KEYS
        assert all(line.isprintable() for line in lines)
