"""The installer fetches releases and believes only what their signed manifest lists."""

from pathlib import Path

import pytest

from tests.installer_box import RELEASE, Box, Server, plan_text, publish


def test_a_manifest_signed_with_the_installers_key_is_good(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path)
    assert f"release {RELEASE}: signature good" in trusting.sh("set -e; verify_release").stdout
    assert (trusting.path / "manifest").exists()


def test_a_manifest_signed_with_another_key_is_refused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, signer="other")
    said = trusting.sh("set -e; verify_release; echo went on", ok=(1,)).stdout
    assert "the manifest's signature is not good" in said
    assert "went on" not in said
    assert not (trusting.path / "manifest").exists()


def test_a_manifest_changed_after_signing_is_refused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    text = publish(server, keys, tmp_path)
    server.files[f"/r/{RELEASE}/manifest"] = text.replace("vm", "vn").encode()
    assert "signature is not good" in trusting.sh("set -e; verify_release", ok=(1,)).stdout


def test_a_good_manifest_of_another_release_is_refused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path)
    trusting.plan(plan_text(base=f"{server.url}/r/{RELEASE}").replace(f"release {RELEASE}", "release other"))
    said = trusting.sh("set -e; verify_release", ok=(1,)).stdout
    assert f"the manifest is of release {RELEASE}, expected other" in said
    assert not (trusting.path / "manifest").exists()


def test_a_machine_whose_clock_is_behind_still_knows_the_signature(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, signer="later")
    later = Box(trusting.path, trusting.server, {"key": str(keys / "later.gpg")})
    assert "signature good" in later.sh("set -e; verify_release").stdout


@pytest.mark.parametrize(
    ("arch", "processor", "goes_on"),
    [
        ("amd64", "x86_64", True),
        ("x86", "i686", True),
        ("x86", "i586", True),
        ("x86", "x86_64", False),
        ("amd64", "i686", False),
        ("arm64", "x86_64", False),
        ("riscv", "riscv64", True),
    ],
)
def test_a_release_for_another_processor_is_installed_by_its_own_installer(
    box: Box, arch: str, processor: str, goes_on: bool
) -> None:
    (box.path / "manifest").write_text(f"arch {arch}\n")
    say = f"reboot() {{ echo restarts; }}; processor={processor}; set -e; check_processor; echo went on"
    said = box.sh(say, ok=(0 if goes_on else 1,)).stdout
    assert ("went on" in said, "restarts" in said) == (goes_on, not goes_on)
    # A medium always has the installer of its release: another one is a mistake that a restart would repeat.
    said = box.sh(f"medium_id=x; {say}", ok=(0 if goes_on else 1,)).stdout
    assert "restarts" not in said


def test_a_clock_behind_the_release_is_set_to_when_it_was_made(box: Box) -> None:
    clock = "case $* in *-s*) echo set $* >>$work/clock ;; +%s) echo 5 ;; *) command date $@ ;; esac"
    fakes = f"date() {{ {clock}; }}; "
    box.sh(fakes + "hwclock() { :; }; set -e; correct_clock 2026-01-01T00:00:00Z; correct_clock ''")
    box.sh(fakes + "set -e; correct_clock 1970-01-01T00:00:04Z")
    assert (box.path / "clock").read_text() == "set -u -s @1767225600\n"


@pytest.mark.parametrize("offline", [True, False])
def test_the_hardwares_clock_is_left_alone_where_a_medium_may_have_expired(box: Box, offline: bool) -> None:
    fakes = "date() { case $* in +%s) echo 5 ;; *) echo 10 ;; esac; }; hwclock() { echo written; }"
    script = f"offline={'1' if offline else ''}; {fakes}; correct_clock 2026-01-01T00:00:00Z"
    assert ("written" in box.sh(script).stdout) is not offline


def test_a_file_is_fetched_and_its_bytes_are_counted(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    trusting.sh("set -e; verify_release; fetch stage $work/got; fetch stage $work/got")
    assert (trusting.path / "got").read_bytes() == b"s" * 5000
    assert (trusting.path / "bytes").read_text() == "5000\n"
    assert server.asked.count((f"/r/{RELEASE}/stage", 0)) == 1


def test_a_broken_transfer_goes_on_where_it_stopped(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    (trusting.path / "got").write_bytes(b"s" * 3000)
    trusting.sh("set -e; verify_release; fetch stage $work/got")
    assert (trusting.path / "got").read_bytes() == b"s" * 5000
    assert (f"/r/{RELEASE}/stage", 3000) in server.asked


def test_an_installer_that_is_told_to_wait_waits_as_often_as_it_is_told(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    trusting.sh("set -e; verify_release")
    server.refusals = 4  # fetch_tries is 2
    said = trusting.sh("sleep() { echo slept $1; }; set -e; verify_release; fetch stage $work/got").stdout
    assert said.count("slept 7\n") == 4
    assert (trusting.path / "got").read_bytes() == b"s" * 5000


def test_leftovers_of_another_file_are_not_mixed_in(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    (trusting.path / "got").write_bytes(b"x" * 3000)
    trusting.sh("set -e; verify_release; fetch stage $work/got")
    assert (trusting.path / "got").read_bytes() == b"s" * 5000


def test_a_file_that_is_not_what_the_manifest_says_is_removed_unused(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path, stage=b"s" * 5000)
    server.files[f"/r/{RELEASE}/stage"] = b"s" * 4999 + b"t"
    said = trusting.sh("set -e; verify_release; fetch stage $work/got; echo went on", ok=(1,)).stdout
    assert "stage is not what the manifest says; it was removed unused" in said
    assert "went on" not in said
    assert not (trusting.path / "got").exists()


def test_a_file_the_manifest_does_not_list_is_not_even_asked_for(
    trusting: Box, keys: Path, server: Server, tmp_path: Path
) -> None:
    publish(server, keys, tmp_path)
    server.files[f"/r/{RELEASE}/stage"] = b"x"
    assert "lists no file stage" in trusting.sh("set -e; verify_release; fetch stage $work/a", ok=(1,)).stdout
    assert (f"/r/{RELEASE}/stage", 0) not in server.asked
