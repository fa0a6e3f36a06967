"""The servers on real sockets, in a namespace of their own, asked by real clients in another."""

import hashlib
import logging
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.model import BootTarget, LocalBoot, NetBoot, Silence
from appliance.run import CommandFailed, run
from pxe import dhcp, images
from pxe.dhcp import MessageType, Packet
from pxe.images import make_boot_directory
from pxe.programs import GRUB_IMAGES
from pxe.servers import Network, Servers, house_of
from tests.fake_director import FakeDirector
from tests.integration.netyard import inside, running_servers

MAC = "52:54:00:77:00:01"
SILENT = "52:54:00:77:00:09"
BROKEN = "52:54:00:77:00:0a"
LOCAL = "52:54:00:77:00:0b"
SERVER = "10.77.9.2"
CLIENT = "10.77.9.3"
URL = f"http://{SERVER}:80"
UEFI = ((93, b"\0\7"), (60, b"PXEClient:Arch:00007:UNDI:003000"))
DEADLINE_SECONDS = 20.0


@dataclass(frozen=True)
class Lan:
    """Two namespaces, one wire: `server` with the servers, `client` with who asks them."""

    server: str
    client: str

    @property
    def on_client(self) -> list[str]:
        return ["ip", "netns", "exec", self.client]


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    prefix = f"pxe{os.getpid() % 100000}"
    lan = Lan(f"{prefix}s", f"{prefix}c")
    try:
        for name in (lan.server, lan.client):
            run(["ip", "netns", "add", name])
            run(["ip", "-n", name, "link", "set", "lo", "up"])
        # Made inside a namespace: the host's own network is never touched.
        peer = ["peer", "name", "eth0", "netns", lan.client]
        run(["ip", "-n", lan.server, "link", "add", "eth0", "type", "veth", *peer])
        for name, address in ((lan.server, SERVER), (lan.client, CLIENT)):
            run(["ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0"])
            run(["ip", "-n", name, "link", "set", "eth0", "up"])
        yield lan
    finally:
        for name in (lan.server, lan.client):
            run(["ip", "netns", "del", name], ok=(0, 1))


@dataclass
class Served:
    lan: Lan
    director: FakeDirector
    boot: Path
    releases: Path

    def wait_for(self, stage: str, *, since: int = 0) -> None:
        """Until the director was told of a stage."""
        wait_until(
            lambda: True if stage in self.director.stages()[since:] else None,
            seconds=DEADLINE_SECONDS,
            what=f"{stage} is recorded",
            last_seen=lambda: str(self.director.records[since:]),
        )

    def curl(self, *words: str, ok: tuple[int, ...] = (0,)) -> str:
        return run(["curl", "-sS", "--max-time", "20", *words], prefix=self.lan.on_client, ok=ok).stdout


@pytest.fixture(scope="module")
def served(lan: Lan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("pxe")
    boot, releases, pool = root / "boot", root / "releases", root / "pool"
    make_boot_directory(boot)
    (boot / "large.bin").write_bytes(os.urandom(3 * 1468 * 1000))
    (boot / "small.bin").write_bytes(b"")
    (releases / "r1").mkdir(parents=True)
    (releases / "r1" / "kernel").write_bytes(os.urandom(300_000))
    (releases / "r1" / "installer").write_bytes(os.urandom(1000))
    (pool / "ab").mkdir(parents=True)
    (pool / "ab" / "ab12.gpkg.tar").write_bytes(b"package")
    targets: dict[str, BootTarget] = {SILENT: Silence("not ours"), "*": NetBoot("r1", "quiet", "armed")}
    targets[LOCAL] = LocalBoot("installed")
    (releases / "r1" / "manifest").write_text("a manifest")
    (releases / "r2.partial").mkdir()
    (releases / "r2.partial" / "kernel").write_bytes(b"half")
    (root / "channels" / "vm").mkdir(parents=True)
    (root / "channels" / "vm" / "stable").write_bytes(b"a signed statement")
    director = FakeDirector(targets, broken=BROKEN, releases=releases, pool=pool, channels=root / "channels")
    with running_servers(lan.server, Servers(Network(("eth0",)), director, boot)):
        yield Served(lan, director, boot, releases)


@pytest.fixture
def firmware(served: Served) -> Iterator[socket.socket]:
    """A client's port 68."""
    yield from _port(served.lan, 68)


@pytest.fixture
def firmware_4011(served: Served) -> Iterator[socket.socket]:
    """edk2 asks port 4011 from port 4011."""
    yield from _port(served.lan, 4011)


def _port(lan: Lan, port: int) -> Iterator[socket.socket]:
    with inside(lan.client), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind(("", port))
        made.settimeout(5)
        yield made


def packet(kind: MessageType, *options: tuple[int, bytes], mac: str = MAC, ciaddr: str = "0.0.0.0") -> bytes:
    return dhcp.encode(
        Packet(
            op=1,
            xid=int.from_bytes(os.urandom(4), "big"),
            chaddr=bytes.fromhex(mac.replace(":", "")) + bytes(10),
            flags=0x8000,
            ciaddr=IPv4Address(ciaddr),
            options=((53, bytes((kind,))), *options),
        )
    )


def test_a_broadcast_discover_gets_a_broadcast_offer_from_port_67_of_our_address(
    served: Served, firmware: socket.socket
) -> None:
    before = len(served.director.records)
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI), ("255.255.255.255", 67))
    datagram, sender = firmware.recvfrom(2048)
    offer = dhcp.decode(datagram)
    assert sender == (SERVER, 67)
    assert (offer.message_type, offer.file, offer.option(43)) == (MessageType.OFFER, b"snponly.efi", None)
    served.wait_for("offer", since=before)


def test_port_4011_answers_edk2_from_4011_to_4011(served: Served, firmware_4011: socket.socket) -> None:
    firmware_4011.sendto(packet(MessageType.REQUEST, *UEFI, ciaddr=CLIENT), (SERVER, 4011))
    datagram, sender = firmware_4011.recvfrom(2048)
    assert sender == (SERVER, 4011)
    assert dhcp.decode(datagram).message_type == MessageType.ACK


def test_junk_a_machine_to_leave_alone_and_a_telephone_get_no_answer(
    served: Served, firmware: socket.socket
) -> None:
    everybody = ("255.255.255.255", 67)
    firmware.sendto(b"\x01\x1b[2J", everybody)
    firmware.sendto(packet(MessageType.DISCOVER, (60, b"android")), everybody)
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI, mac=SILENT), everybody)
    last = packet(MessageType.DISCOVER, *UEFI)
    firmware.sendto(last, everybody)
    # Datagrams keep their order here: the first answer is that to the last question.
    assert dhcp.decode(firmware.recv(2048)).xid == dhcp.decode(last).xid


def test_a_bug_is_logged_with_its_traceback_and_the_next_machine_is_answered(
    served: Served, firmware: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI, mac=BROKEN), ("255.255.255.255", 67))
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI), ("255.255.255.255", 67))
    assert dhcp.decode(firmware.recv(2048)).chaddr[:6].hex(":") == MAC
    assert "RuntimeError: a bug" in caplog.text


def test_three_hundred_machines_switched_on_at_once_are_all_offered(
    served: Served, firmware: socket.socket
) -> None:
    firmware.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    macs = {f"52:54:00:78:{number >> 8:02x}:{number & 255:02x}" for number in range(300)}
    for mac in sorted(macs):
        firmware.sendto(packet(MessageType.DISCOVER, *UEFI, mac=mac), ("255.255.255.255", 67))
    offered = {dhcp.decode(firmware.recv(2048)).chaddr[:6].hex(":") for _ in macs}
    assert offered == macs


# TFTP, by four clients.


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


FILES = ("undionly.kpxe", "snponly.efi", "local-x64.efi", "large.bin", "small.bin")


@pytest.mark.parametrize("name", FILES)
def test_tftpy_fetches(served: Served, name: str, tmp_path: Path) -> None:
    program = (
        "import sys, tftpy; tftpy.TftpClient(sys.argv[1], 69, {'blksize': 1468, 'tsize': 0})"
        ".download(sys.argv[2], sys.argv[3])"
    )
    run([sys.executable, "-c", program, SERVER, name, tmp_path / "got"], prefix=served.lan.on_client)
    assert sha256(tmp_path / "got") == sha256(served.boot / name)


# curl makes no file of an empty answer.
@pytest.mark.parametrize("name", FILES[:-1])
@pytest.mark.parametrize("blksize", ["512", "1468", "9000"])
def test_curl_fetches(served: Served, name: str, blksize: str, tmp_path: Path) -> None:
    served.curl("--tftp-blksize", blksize, "-o", str(tmp_path / "got"), f"tftp://{SERVER}//{name}")
    assert sha256(tmp_path / "got") == sha256(served.boot / name)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("windowsize", ["1", "4", "16", "64"])
def test_atftp_fetches_in_windows(served: Served, name: str, windowsize: str, tmp_path: Path) -> None:
    options = ["--option", f"windowsize {windowsize}", "--option", "blksize 1468"]
    got = tmp_path / "got"
    run(["atftp", *options, "-g", "-r", name, "-l", got, SERVER, "69"], prefix=served.lan.on_client)
    assert sha256(got) == sha256(served.boot / name)


@pytest.mark.parametrize("name", FILES)
def test_tftp_hpa_fetches(served: Served, name: str, tmp_path: Path) -> None:
    run(
        ["tftp", "-m", "binary", SERVER, "-c", "get", name, str(tmp_path / "got")],
        prefix=served.lan.on_client,
    )
    assert sha256(tmp_path / "got") == sha256(served.boot / name)


def test_a_missing_file_is_refused_at_once(served: Served) -> None:
    began = time.monotonic()
    with pytest.raises(CommandFailed) as failed:
        served.curl(f"tftp://{SERVER}//pxelinux.cfg/0A4D")
    assert failed.value.status == 68  # CURLE_TFTP_NOTFOUND
    assert time.monotonic() - began < 1


@pytest.mark.parametrize("url", [f"tftp://{SERVER}//", f"{URL}/boot//", f"{URL}/"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("pxelinux.cfg/01-52-54-00-77-00-01", "  KERNEL /r/r1/kernel"),
        ("grub/grub.cfg-01-52-54-00-77-00-01", "echo 'DistServer: armed'"),
    ],
)
def test_boot_loaders_get_their_configuration_by_tftp_and_http(
    served: Served, url: str, name: str, line: str
) -> None:
    since = len(served.director.records)
    assert line in served.curl(f"{url}{name}").splitlines()
    assert served.director.stages()[since:] == ["script"]


def test_the_kernel_comes_by_tftp_too_and_is_a_stage(served: Served, tmp_path: Path) -> None:
    # Who is at this address was learnt from an earlier script.
    served.curl(f"{URL}/boot/{MAC}.ipxe")
    since = len(served.director.records)
    served.curl("-o", str(tmp_path / "got"), f"tftp://{SERVER}//r/r1/kernel")
    assert sha256(tmp_path / "got") == sha256(served.releases / "r1" / "kernel")
    served.wait_for("kernel", since=since)


def test_a_head_of_a_configuration_burns_no_token(served: Served) -> None:
    since = len(served.director.records)
    answer = served.curl("-I", f"{URL}/boot/grub.cfg-01-{MAC.replace(':', '-')}")
    assert answer.startswith("HTTP/1.1 405") and len(served.director.records) == since


def test_twenty_clients_at_once_all_get_the_whole_file(served: Served, tmp_path: Path) -> None:
    script = (
        'for n in $(seq 20); do curl -sS -o "$1/$n" --tftp-blksize 1468 "$2" & done; wait; '
        'for n in $(seq 20); do cmp "$1/$n" "$3" || exit 1; done'
    )
    url = f"tftp://{SERVER}//large.bin"
    run(
        ["sh", "-c", script, "sh", tmp_path, url, served.boot / "large.bin"],
        prefix=served.lan.on_client,
        timeout_seconds=120,
    )


def test_a_fetched_boot_program_is_recorded_for_the_machine_seen_at_that_address(
    served: Served, firmware: socket.socket, tmp_path: Path
) -> None:
    before = len(served.director.records)
    # Its REQUEST to the LAN's own DHCP server tells the address it will have.
    other = (54, IPv4Address("10.77.9.1").packed)
    requested = (50, IPv4Address(CLIENT).packed)
    firmware.sendto(packet(MessageType.REQUEST, *UEFI, other, requested), ("255.255.255.255", 67))
    firmware.sendto(packet(MessageType.DISCOVER, *UEFI), ("255.255.255.255", 67))
    firmware.recv(2048)
    served.curl("-o", str(tmp_path / "got"), f"tftp://{SERVER}//snponly.efi")
    served.wait_for("program", since=before)
    record = next(record for record in served.director.records[before:] if record.stage == "program")
    assert (record.mac, record.message) == (MAC, "snponly.efi")
    assert record.size_bytes == (served.boot / "snponly.efi").stat().st_size
    assert record.seconds is not None and record.seconds < 10


# HTTP.


def test_the_script_names_the_release_and_the_machine(served: Served) -> None:
    before = len(served.director.records)
    text = served.curl(f"{URL}/boot/{MAC.upper()}.ipxe")
    assert text.startswith("#!ipxe\n")
    assert f"kernel {URL}/r/r1/kernel?mac={MAC} initrd=installer quiet" in text
    assert served.director.stages()[before:] == ["script"]


def test_a_local_boot_script_chains_a_program_that_is_served(served: Served) -> None:
    mac = "52:54:00:77:00:02"
    served.director.targets = {**served.director.targets, mac: LocalBoot("installed")}
    text = served.curl(f"{URL}/boot/{mac}.ipxe")
    (url,) = (line.split()[1] for line in text.splitlines() if line.startswith("chain "))
    assert "Content-Type: application/efi" in served.curl("-I", url)


def test_a_grub_image_by_http_is_a_program_that_knows_this_server(served: Served) -> None:
    assert "Content-Type: application/efi" in served.curl("-I", f"{URL}/boot/grub-ia32.efi")
    got = served.boot.parent / "grub-ia32.efi"
    served.curl("-o", str(got), f"{URL}/boot/grub-ia32.efi")
    assert f"(tftp,{SERVER})/grub".encode() in got.read_bytes()


def test_the_kernel_is_served_whole_and_recorded_with_bytes_and_seconds(
    served: Served, tmp_path: Path
) -> None:
    before = len(served.director.records)
    served.curl("-o", str(tmp_path / "got"), f"{URL}/r/r1/kernel?mac={MAC}")
    assert sha256(tmp_path / "got") == sha256(served.releases / "r1" / "kernel")
    served.wait_for("kernel", since=before)
    (record,) = served.director.records[before:]
    assert (record.mac, record.size_bytes) == (MAC, 300_000)
    assert record.seconds is not None


def test_head_a_range_and_a_wrong_mac_are_served_and_not_recorded(served: Served, tmp_path: Path) -> None:
    before = len(served.director.records)
    head = served.curl("-I", f"{URL}/r/r1/kernel?mac={MAC}")
    assert "200 OK" in head and "Content-Length: 300000" in head
    served.curl("-r", "100-199", "-o", str(tmp_path / "got"), f"{URL}/r/r1/kernel?mac={MAC}")
    assert (tmp_path / "got").read_bytes() == (served.releases / "r1" / "kernel").read_bytes()[100:200]
    served.curl("-o", str(tmp_path / "got"), f"{URL}/r/r1/kernel?mac=../../etc")
    assert served.director.records[before:] == []


def test_an_unchanged_file_is_not_sent_again(served: Served) -> None:
    url = f"{URL}/r/r1/installer"
    (etag,) = (line[6:] for line in served.curl("-I", url).splitlines() if line.lower().startswith("etag: "))
    status = served.curl("-o", os.devnull, "-w", "%{http_code}", "-H", f"If-None-Match: {etag.strip()}", url)
    assert status == "304"


def test_doubled_slashes_are_one(served: Served) -> None:
    assert "200 OK" in served.curl("-I", f"{URL}/boot//snponly.efi")
    assert "200 OK" in served.curl("-I", f"{URL}//boot/snponly.efi")


def test_the_pool_is_served(served: Served) -> None:
    assert served.curl(f"{URL}/pool/ab/ab12.gpkg.tar") == "package"


def test_a_release_and_its_packages_may_be_kept_for_ever_and_a_channel_never(served: Served) -> None:
    for path in ("/r/r1/kernel", "/pool/ab/ab12.gpkg.tar", "/r/r1/pool/ab/ab12.gpkg.tar"):
        head = served.curl("-I", URL + path).lower()
        assert "cache-control: public, max-age=31536000, immutable" in head
        assert "etag: " in head
    assert served.curl(f"{URL}/c/vm/stable") == "a signed statement"
    for path in ("/c/vm/stable", "/c/vm/none", "/r/r2/kernel", "/pool/ab/none.gpkg.tar"):
        assert "cache-control: no-store" in served.curl("-I", URL + path).lower()


@pytest.mark.parametrize("name", ["kernel", "installer"])
def test_a_machine_that_is_to_boot_its_disk_gets_no_kernel_by_an_old_script(
    served: Served, name: str
) -> None:
    url = f"{URL}/r/r1/{name}?mac="
    said = served.curl("-w", "%{http_code}", url + LOCAL)
    assert said == f"{LOCAL} does not boot from the network: installed\n403"
    assert served.curl("-I", "-o", os.devnull, "-w", "%{http_code}", url + LOCAL.upper()) == "403"
    assert served.curl("-o", os.devnull, "-w", "%{http_code}", url + MAC) == "200"


@pytest.mark.parametrize(
    "path",
    [
        "/c/vm",
        "/c/../vm/stable",
        "/c/vm/..%2fvm%2fstable",
        "/r/none/pool/ab/ab12.gpkg.tar",
        "/boot/../../../etc/passwd",
        "/boot/..%2f..%2fetc%2fpasswd",
        "/boot/%2e%2e/%2e%2e/etc/passwd",
        "/r/../../etc/passwd",
        "/r/r1/%2e%2e%2fr1%2fkernel",
        "/pool/../boot/snponly.efi",
        "/boot/%00",
        "/boot/" + "x" * 5000,
        "/boot/.new-x",
        "/boot/",
        "/",
    ],
)
def test_no_path_leads_out(served: Served, path: str) -> None:
    status = served.curl("--path-as-is", "-o", os.devnull, "-w", "%{http_code}", URL + path)
    assert status == "404"


def test_several_files_come_over_one_connection(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    urls = [f"{URL}/r/r1/{name}?mac={MAC}" for name in ("kernel", "installer", "installer")]
    words = [word for url in urls for word in ("-o", os.devnull, url)]
    assert served.curl("-w", "%{num_connects}", *words) == "100"
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /boot/large.bin HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /event HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nreport",
        b"GET /boot/" + b"x" * 20_000,
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
    ],
)
def test_a_client_that_resets_the_connection_is_no_error(
    served: Served, caplog: pytest.LogCaptureFixture, request_: bytes
) -> None:
    for _ in range(5):
        with inside(served.lan.client):
            asking = socket.create_connection((SERVER, 80), timeout=5)
        asking.sendall(request_)
        if request_.endswith(b"\r\n\r\n"):
            asking.recv(100)
        # No linger: the close is a RST, as UEFI firmware sends it.
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asking.close()
    assert "200 OK" in served.curl("-I", f"{URL}/boot/snponly.efi")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def post(served: Served, path: str, body: bytes, tmp_path: Path) -> tuple[str, str]:
    """Status and body of the answer."""
    (tmp_path / "body").write_bytes(body)
    words = ["--data-binary", f"@{tmp_path / 'body'}", "-o", str(tmp_path / "answer"), "-w", "%{http_code}"]
    status = served.curl(*words, "-H", "Content-Type: text/plain", URL + path)
    return status, (tmp_path / "answer").read_text()


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/hello", b"mac 52:54:00:77:00:01\nfirmware uefi\n", "200", f"install token-for-{URL}\n"),
        ("/hello", b"\xff\xfe\0", "400", "the facts name no mac"),
        ("/plan", b"token abc\nmac 52:54:00:77:00:01\nfirmware uefi\n", "200", f"plan 1\nbase {URL}/r/1\n"),
        ("/plan", b"", "400", "the first line is no token\n"),
        ("/event", b"report x\nstage plan\nstatus done\n\n\xff\n", "200", "ok\n"),
        ("/event", b"nonsense", "400", "the report has no secret\n"),
        ("/event", b"x" * 65536, "400", "the report has no secret\n"),
        ("/event", b"x" * 65537, "413", ""),
        ("/event", b"explode\n", "500", "this server made a mistake"),
        ("/elsewhere", b"", "405", ""),
    ],
)
def test_posts_are_handed_on_and_bad_ones_refused_with_a_sentence(
    served: Served, tmp_path: Path, path: str, body: bytes, status: str, text: str
) -> None:
    got_status, got_text = post(served, path, body, tmp_path)
    assert got_status == status
    assert got_text.startswith(text)


# Binding.


def test_a_taken_port_is_a_problem_that_says_who_to_look_for(served: Served) -> None:
    with inside(served.lan.server), pytest.raises(Problem) as caught:
        Servers(Network(("eth0",)), served.director, served.boot).open()
    assert "UDP port 4011 is taken: another PXE service" in str(caught.value)
    assert "ss -ulpn 'sport = :4011'" in str(caught.value)


# The boot directory.


def test_a_missing_boot_program_is_said_with_its_package_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    boot = tmp_path / "boot"
    boot.mkdir()
    (boot / "snponly.efi").write_bytes(b"an earlier one, perhaps without a signature")
    monkeypatch.setattr(images, "IPXE", tmp_path / "nowhere")
    make_boot_directory(boot)
    assert "undionly.kpxe is missing (apt install ipxe)" in caplog.text
    assert sorted(path.name for path in boot.iterdir()) == ["grub-ia32.efi", "local-x64.efi"]
    assert not {platform for platform in house_of(boot).programs if platform[1] != "ia32"}


def test_making_the_boot_directory_again_replaces_its_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        make_boot_directory(tmp_path)
        there = {path.name for path in tmp_path.iterdir()}
        assert there >= {*FILES[:3], "grub-ia32.efi"}
        assert there <= {*FILES[:3], *GRUB_IMAGES}
