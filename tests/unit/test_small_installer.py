"""The installer of machines that have busybox alone: what is in it, and what it tells a server."""

import shutil
from pathlib import Path

import pytest

from appliance.errors import Problem
from appliance.facts import parse_facts
from appliance.model import Firmware
from appliance.overlays import overlay
from appliance.run import run
from buildfarm import small_installer
from buildfarm.installer import decompress
from tests.installer_box import Server, lay

CPU = "cpu\t\t: TI UltraSparc IIi (Sabre)\nncpus probed\t: 1\ncpucaps\t\t: flush,v9,vis\n"
SECTORS = 15625000


@pytest.fixture(scope="module")
def initramfs(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("made")
    (place / "root/bin").mkdir(parents=True)
    shutil.copyfile("/bin/busybox", place / "root/bin/busybox")
    (place / "root/bin/busybox").chmod(0o755)
    small_installer.build(place / "root", place / "image")
    return decompress((place / "image").read_bytes())


@pytest.fixture
def unpacked(initramfs: bytes, tmp_path: Path) -> Path:
    """The initramfs as a kernel unpacks it, and beside it what a Sun machine's kernel shows."""
    there = tmp_path / "there"
    there.mkdir()
    run(["cpio", "-i", "-d", "--quiet", "-f", "dev/*"], stdin=initramfs, cwd=there)
    tree = {"openprom/name": "openprom\0", "name": "SUNW,Ultra-5_10\0"}
    lay(tmp_path / "proc/device-tree", tree)
    lay(tmp_path / "proc", {"meminfo": "MemTotal:  1028000 kB\n", "cpuinfo": CPU})
    lay(tmp_path / "sys/class/net/eth0", {"address": "08:00:20:12:34:56\n", "device/vendor": "0x108e\n"})
    lay(tmp_path / "sys/block/sda", {"size": f"{SECTORS}\n", "removable": "0\n", "device/model": "DISK\n"})
    return there


def sh(there: Path, server: str, script: str) -> str:
    """What its functions say, all its parts read as init reads them."""
    place = there.parent
    (place / "cmdline").write_text(f"distserver={server} console=ttyS0\n")
    env = {
        "code": str(there / "lib/installer"), "work": str(place), "cmdline": str(place / "cmdline"),
        "sys": str(place / "sys"), "proc": str(place / "proc"), "net": str(place / "sys/class/net"),
    }  # fmt: skip
    init = (there / "init").read_text()
    parts = init[init.index("for part in") : init.index("say() {")]
    lead = f'{parts}\nsay() {{ echo "$*"; }}; read_arguments; '
    return run(["busybox", "sh", "-c", lead + script], env=env, timeout_seconds=60).stdout


def test_its_scripts_are_clean_for_shellcheck() -> None:
    home = overlay("small-installer")
    run(["shellcheck", "-s", "sh", home / "init", *sorted((home / "lib/installer").glob("*.sh"))])


def test_a_machine_tells_what_it_is_and_repeats_what_the_server_says(unpacked: Path, server: Server) -> None:
    server.answers["/hello"] = ["wait 5 profile ultra10, not armed\n", "install t0ken\n", "local r1\n"]
    said = sh(unpacked, server.url, 'tell; echo "$pause"; tell; tell; echo "$pause"')
    assert said.splitlines() == [
        "waiting: profile ultra10, not armed",
        "5",
        "it may be installed: boot it with disk=, medium= and sums=",
        "the server says: local r1",
        "30",
    ]
    assert [path for path, _ in server.posted] == ["/hello"] * 3
    facts = parse_facts(server.posted[0][1])
    assert (facts.mac, facts.firmware) == ("08:00:20:12:34:56", Firmware.OPENFIRMWARE)
    assert (facts.vendor, facts.product, facts.cpu) == ("SUNW", "Ultra-5_10", "TI UltraSparc IIi (Sabre)")
    # busybox cannot tell what is on a disk, so that nothing is claimed of it.
    assert [(one.path, one.size_bytes, one.table) for one in facts.disks] == [("/dev/sda", SECTORS * 512, "")]


def test_what_a_server_says_of_waiting_is_not_believed_blindly(unpacked: Path, server: Server) -> None:
    server.answers["/hello"] = ["wait 99999 x\n", "wait soon x\n"]
    assert sh(unpacked, server.url, 'tell; echo "$pause"; tell; echo "$pause"').splitlines() == [
        "waiting: x",
        "600",
        "waiting: x",
        "30",
    ]


def test_without_a_busybox_there_is_no_installer(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="there is no busybox"):
        small_installer.build(tmp_path, tmp_path / "image")
