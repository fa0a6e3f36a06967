"""Boot programs and configurations by TFTP, fetched by four clients."""

import sys
import time
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.run import CommandFailed, run
from pxe.dhcp import MessageType
from tests.integration.netyard import EVERYBODY, MAC, UEFI, packet, port
from tests.integration.pxe_served import CLIENT, FILES, SERVER, URL, Served, sha256


@pytest.mark.parametrize("name", FILES)
def test_tftpy_fetches(served: Served, name: str, tmp_path: Path) -> None:
    program = (
        "import sys, tftpy; tftpy.TftpClient(sys.argv[1], 69, {'blksize': 1468, 'tsize': 0})"
        ".download(sys.argv[2], sys.argv[3])"
    )
    run([sys.executable, "-c", program, SERVER, name, tmp_path / "got"], prefix=served.on_client)
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
    run(["atftp", *options, "-g", "-r", name, "-l", got, SERVER, "69"], prefix=served.on_client)
    assert sha256(got) == sha256(served.boot / name)


@pytest.mark.parametrize("name", FILES)
def test_tftp_hpa_fetches(served: Served, name: str, tmp_path: Path) -> None:
    run(
        ["tftp", "-m", "binary", SERVER, "-c", "get", name, str(tmp_path / "got")],
        prefix=served.on_client,
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
        prefix=served.on_client,
        timeout_seconds=120,
    )


def test_a_fetched_boot_program_is_recorded_for_the_machine_seen_at_that_address(
    served: Served, tmp_path: Path
) -> None:
    before = len(served.director.records)
    # Its REQUEST to the LAN's own DHCP server tells the address it will have.
    other = (54, IPv4Address("10.77.9.1").packed)
    requested = (50, IPv4Address(CLIENT).packed)
    with port(served.client, 68, "eth0") as firmware:
        firmware.sendto(packet(MessageType.REQUEST, *UEFI, other, requested), EVERYBODY)
        firmware.sendto(packet(MessageType.DISCOVER, *UEFI), EVERYBODY)
        firmware.recv(2048)
    served.curl("-o", str(tmp_path / "got"), f"tftp://{SERVER}//snponly.efi")
    served.wait_for("program", since=before)
    record = next(record for record in served.director.records[before:] if record.stage == "program")
    assert (record.mac, record.message) == (MAC, "snponly.efi")
    assert record.size_bytes == (served.boot / "snponly.efi").stat().st_size
    assert record.seconds is not None and record.seconds < 10
