"""What is behind a name: a file, a text for the machine that asks, or nothing."""

from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.model import BootTarget, LocalBoot, NetBoot, Silence
from appliance.net_settings import NetSettings
from appliance.stages import Stage
from pxe.names import SPARC_PROGRAM, Names, stage_of
from pxe.policy import Here
from pxe.sightings import Sightings
from tests.fake_director import FakeDirector

HERE = Here(IPv4Address("10.77.0.2"), 80)
MAC = "52:54:00:77:00:01"
PEER = "10.77.0.101"
PEER_HEX = "0A4D0065"
STRANGER = "10.77.0.66"
RELEASE = "20260101-0123456789ab"

Yard = tuple[Names, FakeDirector, Sightings]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for directory in ("boot", "grub/x86_64-efi", f"releases/{RELEASE}", "pi/9ffefdef", "pi/overlays", "etc"):
        (tmp_path / directory).mkdir(parents=True)
    for file in (
        "boot/undionly.kpxe",
        "boot/.new-x",
        "boot/grubx64.efi",
        "grub/x86_64-efi/command.lst",
        f"releases/{RELEASE}/kernel",
        "pi/start4.elf",
        "pi/9ffefdef/config.txt",
        "pi/9ffefdef/.hidden",
        "pi/config.txt",
        "pi/overlays/a.dtbo",
        "etc/passwd",
    ):
        (tmp_path / file).write_text(file)
    (tmp_path / "boot/way-out").symlink_to(tmp_path / "etc/passwd")
    return tmp_path


@pytest.fixture
def yard(place: Path) -> Callable[[BootTarget], Yard]:
    def make(target: BootTarget) -> Yard:
        director = FakeDirector(
            {"*": target}, releases=place / "releases", settings=NetSettings(raspberry_pi=place / "pi")
        )
        sightings = Sightings()
        sightings.saw_address(MAC, PEER)
        return (
            Names(director, place / "boot", sightings, grub_home=place / "grub"), director, sightings
        )  # fmt: skip

    return make


NETBOOT = NetBoot(RELEASE, "quiet distserver.token=0123", "armed")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("undionly.kpxe", "boot/undionly.kpxe"),
        ("/undionly.kpxe", "boot/undionly.kpxe"),
        ("anything/undionly.kpxe", "boot/undionly.kpxe"),
        ("\\undionly.kpxe", "boot/undionly.kpxe"),
        ("boot/x64//grubx64.efi", "boot/grubx64.efi"),
        ("grub/x86_64-efi/command.lst", "grub/x86_64-efi/command.lst"),
        (f"/r/{RELEASE}/kernel", f"releases/{RELEASE}/kernel"),
        (f"dir//r/{RELEASE}/kernel", f"releases/{RELEASE}/kernel"),
        ("9ffefdef/config.txt", "pi/9ffefdef/config.txt"),
        ("9ffefdef/start4.elf", "pi/start4.elf"),
        ("9ffefdef/overlays/a.dtbo", "pi/overlays/a.dtbo"),
        ("overlays/a.dtbo", "pi/overlays/a.dtbo"),
        ("start4.elf", "pi/start4.elf"),
    ],
)
def test_a_name_is_a_file(yard: Callable[[BootTarget], Yard], place: Path, name: str, file: str) -> None:
    for peer in (PEER, STRANGER):
        assert yard(NETBOOT)[0].resolve(name, peer, HERE) == place / file


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("autoexec.ipxe", b"#!ipxe\n"),
        ("deep/in/a/directory/autoexec.ipxe", b"#!ipxe\n"),
        ("grub/grub.cfg", b"echo 'DistServer: armed'\n"),
        (f"grub.cfg-{PEER_HEX}", b"echo 'DistServer: armed'\n"),
        ("pxelinux.cfg/default", b"SAY DistServer: armed\n"),
        (f"pxelinux.cfg/{PEER_HEX}", b"SAY DistServer: armed\n"),
    ],
)
def test_a_text_is_made_for_the_machine_at_the_address_that_asks(
    yard: Callable[[BootTarget], Yard], name: str, begins: bytes
) -> None:
    names, director, _ = yard(NETBOOT)
    found = names.resolve(name, PEER, HERE)
    assert isinstance(found, bytes) and found.startswith(begins)
    assert b"distserver.token=0123" in found
    (record,) = director.records
    assert (record.mac, record.stage, record.size_bytes) == (MAC, Stage.SCRIPT, len(found))


@pytest.mark.parametrize("name", ["pxelinux.cfg/01-52-54-00-77-00-01", f"grub.cfg-01-{MAC}", f"{MAC}.ipxe"])
def test_a_name_with_a_mac_needs_no_sighting(yard: Callable[[BootTarget], Yard], name: str) -> None:
    assert isinstance(yard(NETBOOT)[0].resolve(name, STRANGER, HERE), bytes)


@pytest.mark.parametrize("name", ["autoexec.ipxe", "pxelinux.cfg/default", f"pxelinux.cfg/{PEER_HEX}"])
def test_a_stranger_gets_no_text_of_anybody(yard: Callable[[BootTarget], Yard], name: str) -> None:
    names, director, _ = yard(NETBOOT)
    assert names.resolve(name, STRANGER, HERE) is None
    assert not director.asked and not director.records


@pytest.mark.parametrize("name", ["pxelinux.cfg/0A4D0042", "grub.cfg-0A4D0042", "0A4D0042"])
def test_a_machine_gets_nothing_under_the_address_of_another(
    yard: Callable[[BootTarget], Yard], place: Path, name: str
) -> None:
    (place / "boot" / SPARC_PROGRAM).write_text("a boot block")
    names, director, _ = yard(NETBOOT)
    assert names.resolve(name, PEER, HERE) is None
    assert not director.asked and not director.records


def test_a_stranger_with_grub_is_sent_to_ask_with_its_mac(yard: Callable[[BootTarget], Yard]) -> None:
    found = yard(NETBOOT)[0].resolve("grub/grub.cfg", STRANGER, HERE)
    assert isinstance(found, bytes)
    assert b'configfile "(tftp,10.77.0.2)/grub.cfg-01-$net_default_mac"' in found


def test_u_boot_gets_a_script_without_a_token_and_then_its_configuration(
    yard: Callable[[BootTarget], Yard],
) -> None:
    names, director, _ = yard(NETBOOT)
    found = names.resolve("boot.scr.uimg", PEER, HERE)
    assert isinstance(found, bytes) and b"pxe get" in found and b"token" not in found
    # Asking for the script would use up a token.
    assert director.scripts == []
    assert names.resolve("pxelinux.cfg/default", PEER, HERE) and director.scripts == [MAC]


def test_openboot_gets_its_program_only_under_its_own_address(
    yard: Callable[[BootTarget], Yard], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    names, _, _ = yard(NETBOOT)
    assert names.resolve(PEER_HEX, PEER, HERE) is None
    assert SPARC_PROGRAM in caplog.text
    (place / "boot" / SPARC_PROGRAM).write_text("a boot block")
    for name in (PEER_HEX, f"{PEER_HEX}.SUN4U"):
        assert names.resolve(name, PEER, HERE) == place / "boot" / SPARC_PROGRAM
        assert names.resolve(name, STRANGER, HERE) is None


@pytest.mark.parametrize("name", [f"r/{RELEASE}/kernel", "9ffefdef/start4.elf", PEER_HEX])
@pytest.mark.parametrize("target", [LocalBoot("installed"), Silence("not ours")])
def test_a_machine_that_is_not_to_be_installed_gets_no_kernel(
    yard: Callable[[BootTarget], Yard], place: Path, name: str, target: BootTarget
) -> None:
    (place / "boot" / SPARC_PROGRAM).write_text("a boot block")
    assert yard(target)[0].resolve(name, PEER, HERE) is None


def test_a_machine_that_is_told_nothing_gets_no_program_but_one_with_a_disk_does(
    yard: Callable[[BootTarget], Yard],
) -> None:
    assert yard(Silence("not ours"))[0].resolve("undionly.kpxe", PEER, HERE) is None
    assert yard(LocalBoot("installed"))[0].resolve("undionly.kpxe", PEER, HERE) is not None


def test_asking_for_the_program_is_progress_and_for_a_module_it_is_not(
    yard: Callable[[BootTarget], Yard],
) -> None:
    names, _, sightings = yard(NETBOOT)
    seen: list[tuple[str, Stage]] = []
    sightings.watch(lambda mac, stage: seen.append((mac, stage)))
    for name in ("grub/x86_64-efi/command.lst", "nothing.efi", "undionly.kpxe"):
        names.resolve(name, PEER, HERE)
    names.resolve("undionly.kpxe", STRANGER, HERE)
    assert seen == [(MAC, Stage.PROGRAM)]


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("undionly.kpxe", Stage.PROGRAM),
        ("9ffefdef/start4.elf", Stage.PROGRAM),
        ("r/1/kernel", Stage.KERNEL),
        ("x/r/1/installer", Stage.INSTALLER),
        ("r/1/manifest", None),
        ("grub/x86_64-efi/tftp.mod", None),
        ("revocations.efi", None),
        ("ldlinux.c32", None),
        ("autoexec.ipxe", None),
        ("pxelinux.cfg/0", None),
    ],
)
def test_what_is_fetched_is_a_stage(name: str, stage: Stage | None) -> None:
    assert stage_of(name) is stage


BAD = [
    "", "/", ".", "..", "../etc/passwd", "boot/../../etc/passwd", "..\\etc\\passwd", "a/..", "x\0y",
    "undionly.kpxe\0.txt", "\udcff\udcfe", "way-out", ".new-x", "9ffefdef/../../etc/passwd",
    "r/../../etc/passwd", f"r/{RELEASE}/../../../etc/passwd", "grub/x86_64-efi/../../etc/passwd",
    "9ffefdef/.hidden", "nothing.efi", f"r/{RELEASE}/nothing", "shim_certificate_0.efi", "pxelinux.cfg/0A4D",
    "%2e%2e/etc/passwd", "\x1b[31mundionly.kpxe",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_nobody_may_ask_is_not_found(yard: Callable[[BootTarget], Yard], name: str) -> None:
    assert yard(NETBOOT)[0].resolve(name, PEER, HERE) is None


parts = st.sampled_from(
    ["..", ".", "", "etc", "passwd", "boot", "r", RELEASE, "kernel", "9ffefdef", "grub", "x86_64-efi", "\\..",
     "way-out", "grub.cfg", "pxelinux.cfg", "default", "a\0", "undionly.kpxe", PEER_HEX, "autoexec.ipxe"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.lists(parts, max_size=6).map("/".join) | st.text(max_size=40),
    peer=st.sampled_from([PEER, STRANGER, "", "fe80::1"]),
)
def test_no_name_leads_out_of_the_directories_of_boot_files(
    yard: Callable[[BootTarget], Yard], place: Path, name: str, peer: str
) -> None:
    found = yard(NETBOOT)[0].resolve(name, peer, HERE)
    if isinstance(found, Path):
        allowed = [place / one for one in ("boot", "grub", "releases", "pi")]
        assert any(found.resolve().is_relative_to(one.resolve()) for one in allowed)
