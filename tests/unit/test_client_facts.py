"""A machine's facts are in the words of its installer, and a person reads them in units."""

from pathlib import Path

import pytest

from appliance.client_words import spoken
from distserver_client.facts import facts
from distserver_client.pending import Kernel
from tests.installer_box import Box, lay

NOW = Kernel("6.6.30", "#1 SMP")
SAID_OF_BOTH = ("mac", "firmware", "memory", "cpu", "uuid", "vendor", "product", "serial", "disk")
SYS = {
    "class/net/eth0/address": "52:54:00:77:00:01\n",
    "class/net/eth0/operstate": "up\n",
    "class/net/eth0/speed": "1000\n",
    "class/net/eth0/device/x": "",
    "class/net/lo/address": "00:00:00:00:00:00\n",
    "class/dmi/id/sys_vendor": "QEMU\n",
    "class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)  \n",
    "class/dmi/id/product_serial": "\n",
    "firmware/efi/x": "",
    "block/loop0/size": "100\n",
    "block/dm-0/size": "100\n",
    "block/mmcblk0/size": "4\n",
    "block/mmcblk0boot0/size": "4\n",
    "block/vda/size": "16777216\n",
    "block/vda/removable": "0\n",
    "block/vda/serial": "my disk",
    "block/nvme0n1/size": "8\n",
    "block/nvme0n1/device/model": "ACME  SSD   \n",
    "block/nvme0n1/device/serial": "S1\x07 \n",
    "block/sda/size": "0\n",
    "block/sdb/size": "2\n",
    "block/sdb/removable": "1\n",
    "block/sdb/device/vpd_pg80": "\x00\x00\x00\x03WD9",
}
PROC = {
    "meminfo": "MemTotal:  1000 kB\nMemFree: 5 kB\n",
    "cpuinfo": "model name\t: A CPU\n" * 2,
    "uptime": "93784.12 100.00\n",
    "self/mounts": "/dev/vda1 / ext4 rw 0 0\n/dev/loop0 /etc squashfs ro 0 0\nproc /proc proc rw 0 0\n",
}


def of(path: Path) -> dict[str, str]:
    return dict(facts(NOW, sys=path / "sys", proc=path / "proc"))


def test_what_the_installer_says_the_agent_says_in_the_same_words(box: Box) -> None:
    lay(box.path / "sys", SYS)
    lay(box.path / "proc", PROC)
    inner = Box(box.path, box.server, {"proc": str(box.path / "proc")})
    lines = inner.sh("nic=eth0; facts").stdout.splitlines()
    installer = [line for line in lines if line.split(" ")[0] in SAID_OF_BOTH]
    agent = [f"{word} {value}" for word, value in of(box.path).items() if word.split(" ")[0] in SAID_OF_BOTH]
    assert len(installer) == 10 and agent == [line.rstrip() for line in installer]


def test_how_it_does_is_said_beside_it(tmp_path: Path) -> None:
    lay(tmp_path / "sys", SYS)
    lay(tmp_path / "proc", PROC)
    said = of(tmp_path)
    assert said["nic eth0"] == "52:54:00:77:00:01 up 1000" and "nic lo" not in said
    assert (said["uptime"], said["kernel"]) == ("93784", "6.6.30 #1 SMP")
    assert [word for word in said if word.startswith("space")] == ["space /"]
    free, size, kind = said["space /"].split(" ")
    assert 0 < int(free) <= int(size) and kind == "ext4"


def test_a_machine_that_tells_nothing_has_few_facts(tmp_path: Path) -> None:
    assert of(tmp_path).keys() <= {"firmware", "cpus", "arch", "kernel"}


def test_this_machines_own_facts_are_there() -> None:
    said = dict(facts(NOW))
    assert int(said["memory"]) > 100 << 20 and float(said["uptime"]) > 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("memory", "25276502016", "23.5 GiB"),
        ("memory", "512", "512 B"),
        ("memory", "much", "much"),
        ("uptime", "93784", "1 d 2 h"),
        ("uptime", "3723", "1 h 2 min"),
        ("disk /dev/vda", "8589934592 virtio 0 my_disk ACME SSD", "8.0 GiB virtio ACME SSD my_disk"),
        ("disk /dev/sdb", "1024 - 1 -", "1.0 KiB removable"),
        ("space /", "1073741824 8589934592 ext4", "1.0 GiB of 8.0 GiB free (ext4)"),
        ("nic eth0", "52:54:00:77:00:01 up 1000", "52:54:00:77:00:01 up 1000 Mbit/s"),
        ("nic eth0", "52:54:00:77:00:01 down -", "52:54:00:77:00:01 down"),
        ("space /", "1 2", "1 2"),
        ("cpu", "any words 1 2 3", "any words 1 2 3"),
    ],
)
def test_a_person_reads_units(name: str, value: str, said: str) -> None:
    assert spoken(name, value) == said
