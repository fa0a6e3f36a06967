"""Boot programs, scripts, releases and packages by HTTP, and what installers post."""

import logging
import os
import socket
import struct
from pathlib import Path

import pytest

from appliance.model import LocalBoot
from tests.integration.netyard import MAC, inside
from tests.integration.pxe_served import LOCAL, SERVER, URL, Served, sha256


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
        with inside(served.client):
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
        ("/installed", b"hmac x\n\xff", "200", "taken\n"),
        ("/enroll", b"report x\n\xff", "200", "key 00\n"),
        ("/enroll", b"\xff", "400", "line 1 is no secret\n"),
        ("/installed", b"\xff\xfe\0", "400", "line 1 is no proof\n"),
        ("/installed", b"hmac " + b"x" * 65532, "413", ""),
        ("/elsewhere", b"", "405", ""),
    ],
)
def test_posts_are_handed_on_and_bad_ones_refused_with_a_sentence(
    served: Served, tmp_path: Path, path: str, body: bytes, status: str, text: str
) -> None:
    got_status, got_text = post(served, path, body, tmp_path)
    assert got_status == status
    assert got_text.startswith(text)
