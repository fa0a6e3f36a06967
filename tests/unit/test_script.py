"""What iPXE is told, and that nothing in it is run or expanded."""

from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.model import LocalBoot, NetBoot, Silence
from pxe.policy import Here
from pxe.script import ATTEMPTS, plain, render, wait_script

HERE = Here(IPv4Address("10.77.0.2"), 8080)
MAC = "52:54:00:77:00:01"


def test_a_netboot_script_fetches_kernel_and_installer_and_boots() -> None:
    lines = render(NetBoot("20260101-ab", "quiet console=ttyS0", "armed by rule"), MAC, HERE).splitlines()
    base = "http://10.77.0.2:8080/r/20260101-ab"
    assert lines[:8] == [
        "#!ipxe",
        "echo DistServer: armed by rule",
        f"echo Release 20260101-ab for {MAC}",
        ":attempt1",
        "echo Fetching kernel and installer, attempt 1 of 5",
        "imgfree",
        f"kernel {base}/kernel?mac={MAC} initrd=installer quiet console=ttyS0 || goto retry1",
        f"initrd {base}/installer?mac={MAC} || goto retry1",
    ]


def test_a_netboot_script_tries_a_few_times_and_then_leaves_with_failure() -> None:
    lines = render(NetBoot("1", "", "armed"), MAC, HERE).splitlines()
    assert sum(line.startswith("kernel ") for line in lines) == ATTEMPTS
    for attempt in range(1, ATTEMPTS + 1):
        assert lines.count(f":retry{attempt}") == 1
        assert sum(line.endswith(f"|| goto retry{attempt}") for line in lines) == 3
    assert lines[-1] == "exit 1"


def test_a_processor_without_long_mode_gets_the_installer_that_runs_on_it() -> None:
    text = render(NetBoot("wide", "quiet", "unknown", narrow="narrow"), MAC, HERE)
    head, _, wide = text.partition("\n:wide\n")
    lines = head.splitlines()
    # Who has no such command has both fail, and is no old PC.
    assert lines[1:3] == ["cpuid --ext 29 && goto wide ||", "cpuid 0 || goto wide"]
    assert "/r/narrow/kernel" in head and "/r/wide/" not in head
    assert "/r/wide/kernel" in wide and "/r/narrow/" not in wide
    labels = [line for line in text.splitlines() if line.startswith(":")]
    assert len(labels) == len(set(labels)) == 4 * ATTEMPTS + 1
    assert lines[-1] == wide.splitlines()[-1] == "exit 1"
    goals = {line.rpartition("goto ")[2] for line in text.splitlines() if "|| goto" in line}
    assert {f":{goal}" for goal in goals} <= set(labels)


def test_an_arm64_gets_its_own_installer_and_no_console_of_a_pc() -> None:
    target = NetBoot("wide", "quiet console=tty0 console=ttyS0,115200", "unknown", "narrow", "arm")
    arm, _, others = render(target, MAC, HERE).partition("\n:x86\n")
    assert arm.splitlines()[1] == "iseq ${buildarch} arm64 || goto x86"
    assert "/r/arm/kernel" in arm and "/r/wide/" not in arm and "console=" not in arm and "quiet" in arm
    assert f"#!ipxe\n{others}" == render(NetBoot("wide", target.arguments, "unknown", "narrow"), MAC, HERE)
    labels = [line for line in f"{arm}\n:x86\n{others}".splitlines() if line.startswith(":")]
    assert len(labels) == len(set(labels)) == 6 * ATTEMPTS + 2
    assert arm.splitlines()[-1] == others.splitlines()[-1] == "exit 1"


def test_local_boot_uses_the_first_disk_on_bios_and_our_grub_on_uefi() -> None:
    assert render(LocalBoot("installed"), MAC, HERE).splitlines() == [
        "#!ipxe",
        "echo DistServer: booting from the local disk: installed",
        "iseq ${platform} efi && goto efi ||",
        "sanboot --no-describe --drive 0x80 || exit 1",
        ":efi",
        "chain http://10.77.0.2:8080/boot/local-x64.efi ||",
        "exit 1",
    ]


def test_silence_leaves_with_failure_because_a_plain_exit_hangs_ovmf() -> None:
    assert render(Silence("unknown"), MAC, HERE).splitlines()[-1] == "exit 1"


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("a ${net0/mac} b", "a net0/mac b"),
        ("a || shell", "a shell"),
        ("a\nshell", "a shell"),
        ("no # comment && no", "no comment no"),
        ("\x1b[2Jinstalled", "2Jinstalled"),
    ],
)
def test_a_reason_can_not_run_anything(text: str, printed: str) -> None:
    assert plain(text) == printed


def test_arguments_can_not_run_anything() -> None:
    text = render(NetBoot("1", "quiet || shell\nshell ${password}", "armed"), MAC, HERE)
    assert "initrd=installer quiet shell shell password} || goto" in text


@given(st.text("${}ab |&\n"))
@example("$${{x}")
def test_no_arguments_are_expanded_or_end_a_command(text: str) -> None:
    for line in render(NetBoot("1", text, "armed"), MAC, HERE).splitlines():
        _, _, said = line.partition("initrd=installer")
        if said:
            arguments = said.rpartition(" || goto ")[0]
            assert "${" not in arguments and not {"||", "&&"} & set(arguments.split())


def test_a_machine_that_must_wait_is_told_how_long_and_asks_again_even_while_the_server_is_away() -> None:
    lines = wait_script(MAC, HERE, seconds=7, before=1, since=1000.4).splitlines()
    again = f"chain --replace --autofree {HERE.url}/boot/{MAC}.ipxe?since=1000 || sleep 5"
    assert lines[:4] == [
        "#!ipxe",
        "echo DistServer: waiting for its turn after 1 more, asking again in 7 s",
        "sleep 7",
        again,
    ]
    assert lines.count(again) == 60 and lines[-1] == "exit 1"
