"""The one decision in the words of GRUB, PXELINUX and U-Boot, and that nothing in it can run anything."""

import shlex
import struct
import zlib
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.grub import grub_quoted, words
from appliance.model import BootTarget, LocalBoot, NetBoot, Silence
from appliance.run import CommandFailed, run
from pxe.configs import grub, grub_for_strangers, pxelinux, u_boot_script
from pxe.policy import Here

HERE = Here(IPv4Address("10.77.0.2"), 80)
MAC = "52:54:00:77:00:01"
NETBOOT = NetBoot("20260101-ab", 'quiet console=ttyS0 dyndbg="file a.c +p"', "armed by rule")
TARGETS: tuple[BootTarget, ...] = (
    NETBOOT,
    NetBoot("1", "quiet", "unknown", arm64="2"),
    LocalBoot("installed"),
    Silence("it's unknown"),
)
NASTY = 'it\'s; reboot\nboot || true && $(x) `y` ${z} "q" # \\ { } \x1b[2J ü'


def test_grub_boots_kernel_and_installer_by_http_and_else_by_tftp() -> None:
    assert grub(NETBOOT, MAC, HERE).splitlines() == [
        "echo 'DistServer: armed by rule'",
        f"echo 'Release 20260101-ab for {MAC}'",
        f"if linux '(http,10.77.0.2)/r/20260101-ab/kernel?mac={MAC}'"
        " 'quiet' 'console=ttyS0' 'dyndbg=file a.c +p'; then",
        f"  if initrd '(http,10.77.0.2)/r/20260101-ab/installer?mac={MAC}'; then",
        "    boot",
        "  fi",
        "fi",
        "if linux '(tftp,10.77.0.2)/r/20260101-ab/kernel' 'quiet' 'console=ttyS0' 'dyndbg=file a.c +p'; then",
        "  if initrd '(tftp,10.77.0.2)/r/20260101-ab/installer'; then",
        "    boot",
        "  fi",
        "fi",
        "echo 'DistServer: giving up, booting the next device'",
        "exit",
    ]


def test_grub_of_an_arm64_has_its_own_installer_and_no_console_of_a_pc() -> None:
    both = grub(NetBoot("1-wide", "quiet console=ttyS0", "unknown", arm64="2-arm"), MAC, HERE).splitlines()
    arm = grub(NetBoot("2-arm", "quiet", "unknown"), MAC, HERE).splitlines()
    others = grub(NetBoot("1-wide", "quiet console=ttyS0", "unknown"), MAC, HERE).splitlines()
    assert both == ['if [ "$grub_cpu" = "arm64" ]; then', *arm[:-1], "else", *others[:-1], "fi", "exit"]


def test_grub_uses_tftp_alone_when_http_has_another_port_than_grub_knows() -> None:
    assert "(http," not in grub(NETBOOT, MAC, Here(HERE.address, 8080))


def test_grub_finds_the_local_disk_on_bios_and_on_each_kind_of_uefi() -> None:
    text = grub(LocalBoot("installed"), MAC, HERE)
    assert text.startswith("echo 'DistServer: booting from the local disk: installed'\n")
    for cpu, loader in (("x86_64", "BOOTX64"), ("i386", "BOOTIA32"), ("arm64", "BOOTAA64")):
        assert f'if [ "$grub_cpu" = "{cpu}" ]; then set loader=/EFI/BOOT/{loader}.EFI; fi' in text
    assert '    set root="$disk"\n    chainloader "$loader"\n    boot\n' in text
    assert text.endswith("exit\n") and "set root=(hd0)\n  chainloader +1\n  boot\n" in text


def test_grubs_own_parser_takes_every_text(tmp_path: Path) -> None:
    nasty: list[BootTarget] = [NetBoot("1", NASTY, NASTY), LocalBoot(NASTY), Silence(NASTY)]
    for number, target in enumerate((*TARGETS, *nasty)):
        script = tmp_path / f"{number}.cfg"
        script.write_text(grub(target, MAC, HERE) + grub_for_strangers(HERE))
        run(["grub-script-check", script])
    # It does look: an unfinished `if` is refused.
    script.write_text("if true; then\n")
    with pytest.raises(CommandFailed):
        run(["grub-script-check", script])


def test_pxelinux_boots_kernel_and_installer_of_the_release() -> None:
    assert pxelinux(NETBOOT).splitlines() == [
        "SAY DistServer: armed by rule",
        "DEFAULT distserver",
        "PROMPT 0",
        "LABEL distserver",
        "  KERNEL /r/20260101-ab/kernel",
        "  INITRD /r/20260101-ab/installer",
        '  APPEND quiet console=ttyS0 dyndbg="file a.c +p"',
    ]


@pytest.mark.parametrize(("target", "line"), [(TARGETS[2], "LOCALBOOT 0"), (TARGETS[3], "LOCALBOOT -1")])
def test_pxelinux_goes_on_with_the_disk_or_the_next_device(target: BootTarget, line: str) -> None:
    assert pxelinux(target).splitlines()[-1].strip() == line


@pytest.mark.parametrize(("arguments", "line"), [("-", "  APPEND"), ("a initrd=/x b", "  APPEND a b")])
def test_pxelinux_is_not_misled_by_arguments_that_mean_something_to_it(arguments: str, line: str) -> None:
    assert pxelinux(NetBoot("1", arguments, "")).splitlines()[-1] == line


@pytest.mark.parametrize("target", TARGETS)
def test_a_u_boot_script_is_an_image_that_mkimage_reads(target: BootTarget, tmp_path: Path) -> None:
    image = tmp_path / "boot.scr.uimg"
    image.write_bytes(u_boot_script(target))
    listed = run(["mkimage", "-l", image]).stdout
    assert "ARM Linux Script (uncompressed)" in listed and "DistServer" in listed


def test_a_u_boot_script_has_right_checksums_and_asks_for_the_configuration() -> None:
    image = u_boot_script(NETBOOT)
    header, data = image[:64], image[64:]
    magic, header_sum, _, size, _, _, data_sum = struct.unpack_from("!7I", header)
    assert magic == 0x27051956 and size == len(data) and data_sum == zlib.crc32(data)
    assert header_sum == zlib.crc32(header[:4] + bytes(4) + header[8:])
    length, end = struct.unpack_from("!II", data)
    assert end == 0 and length == len(data) - 8
    assert data[8:].decode().splitlines() == [
        "echo DistServer: armed by rule",
        "setenv bootfile",
        "if pxe get; then pxe boot; fi",
    ]
    assert b"pxe" not in u_boot_script(LocalBoot("installed"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", []),
        (" a  b=c ", ["a", "b=c"]),
        ('a="b c" d', ["a=b c", "d"]),
        ('"a b"', ["a b"]),
        ('a="b c', ["a=b c"]),
        ("a\nb\tc", ["a", "b", "c"]),
    ],
)
def test_arguments_are_divided_as_the_kernel_does(arguments: str, expected: list[str]) -> None:
    assert words(arguments) == expected


@given(st.text())
def test_a_quoted_word_is_one_word_on_one_line(text: str) -> None:
    # In single quotes and with a backslash outside of them GRUB reads as a POSIX shell does.
    quoted = grub_quoted(text)
    assert shlex.split(quoted) == ["".join(one for one in text if " " <= one <= "~")]
    assert "\n" not in quoted


@given(st.text(), st.text(), st.sampled_from(["netboot", "local", "silence"]))
def test_no_reason_and_no_argument_adds_a_line_or_a_command(reason: str, arguments: str, kind: str) -> None:
    def target(reason: str, arguments: str) -> BootTarget:
        if kind == "netboot":
            return NetBoot("1", arguments, reason)
        return LocalBoot(reason) if kind == "local" else Silence(reason)

    given_, harmless = target(reason, arguments), target("x", "")
    for render in (lambda one: grub(one, MAC, HERE), pxelinux, lambda one: _u_boot_text(one)):
        lines, expected = render(given_).split("\n"), render(harmless).split("\n")
        assert len(lines) == len(expected)
        for line, plain in zip(lines, expected, strict=True):
            assert line.split()[:1] == plain.split()[:1]
            assert line.isascii() and (not line or line.isprintable())
    for line in _u_boot_text(given_).split("\n")[:1]:
        assert not set(line) & set(";&|$'\"\\`")


def _u_boot_text(target: BootTarget) -> str:
    return u_boot_script(target)[72:].decode()


@given(st.text())
def test_grubs_words_for_the_kernel_are_exactly_the_arguments(arguments: str) -> None:
    line = next(one for one in grub(NetBoot("1", arguments, ""), MAC, HERE).splitlines() if "tftp" in one)
    read = shlex.split(line.removesuffix("; then"))
    printable = ["".join(c for c in word if " " <= c <= "~") for word in words(arguments)]
    assert read == ["if", "linux", "(tftp,10.77.0.2)/r/1/kernel", *printable]
