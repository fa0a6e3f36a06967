"""Checks of configuration files: every row of the table accepts what is right and refuses what is wrong."""

import shutil
from pathlib import Path

import pytest

from appliance.run import run
from distserver_client import validators
from distserver_client.validators import TABLE, Verdict, judge

HERE = Path("/")


def verdict(tmp_path: Path, path: str, ours: bytes | None, content: bytes) -> Verdict:
    """With the programs of this host, the candidates in a directory of the test."""
    found = judge(HERE, path, ours, content, real=str(tmp_path / Path(path).name))
    assert list(tmp_path.iterdir()) == []
    return found


CASES = [
    ("/etc/sudoers", b"root ALL=(ALL:ALL) ALL\n", b"root ALL=(ALL:ALL ALL\n", "visudo"),
    ("/etc/sudoers.d/x", b"%wheel ALL=(ALL) NOPASSWD: ALL\n", b"%wheel what\n", "visudo"),
    ("/etc/bind/named.conf.options", b"options { version none; };\n", b"options { what 7; };\n", "named"),
    ("/etc/dnsmasq.conf", b"port=53\n", b"prot=53\n", "dnsmasq"),
    ("/etc/logrotate.d/x", b"/var/log/x.log {\n weekly\n}\n", b"/var/log/x.log {\n sometimes\n", "logrotate"),
    ("/etc/fstab", b"/dev/sda1 / ext4 defaults 0 1\n# x\n", b"/dev/sda1 / ext4\n", "fstab"),
    ("/etc/fstab", b"/dev/sda1 / ext4 defaults\n", b"/dev/sda1 / ext4 defaults x y\n", "fstab"),
    ("/etc/fstab", b"/dev/sda1 none swap sw 0 0\n", b"/dev/sda1 srv ext4 rw 0 0\n", "fstab"),
    ("/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", b"root:x:0:0:root:/root\n", "passwd"),
    ("/etc/passwd", b"a:x:1:1::/:\nb:x:2:2::/:\n", b"a:x:1:1::/:\na:x:2:2::/:\n", "passwd"),
    ("/etc/passwd", b"a:x:1:1::/:\n+::::::\n", b"a:x:one:1::/:\n", "passwd"),
    ("/etc/group", b"wheel:x:10:root\n", b"wheel:x:ten:root\n", "group"),
    ("/etc/shadow", b"root:*:1:0:9:7:::\n", b"root:*:1\n", "shadow"),
    ("/etc/gshadow", b"root:*::\n", b"root\n", "gshadow"),
    ("/etc/subuid", b"a:1:2\na:3:4\n", b"a:1\n", "subuid"),
    ("/etc/crontab", b"A=b\n17 * * * * root true\n@reboot root x\n", b"17 * * * root true\n", "crontab"),
    ("/etc/cron.d/x", b"*/5 1-4 * jan mon-fri root a b\n", b"@sometimes root true\n", "crontab"),
    ("/etc/cron.d/x", b"@daily root true\n", b"1 2 3 4 () root true\n", "crontab"),
    ("/etc/sysctl.d/x.conf", b"; c\n-a.b = 1\n", b"a.b 1\n", "sysctl"),
    ("/etc/hosts", b"::1 localhost\nfe80::1%eth0 a\n", b"localhost 127.0.0.1\n", "hosts"),
    ("/etc/hosts", b"127.0.0.1 a\n", b"127.0.0.1 # a\n", "hosts"),
    ("/etc/x.py", b"a = 1\n", b"a = = 1\n", "python"),
    ("/etc/x.json", b'{"a": 1}', b'{"a": 1,}', "json"),
    ("/etc/x.toml", b"a = 1\n", b"a = 1\na = 2\n", "toml"),
    ("/etc/x.xml", b"<a><b/></a>", b"<a><b></a>", "xml"),
    ("/etc/anything", b"<?xml version='1.0'?><a/>", b"<?xml version='1.0'?><a>", "xml"),
    ("/etc/x.ini", b"[a]\nb = 1\n", b"b = 1\n", "ini"),
    ("/etc/portage/make.conf", b'USE="a\nb"\n', b'USE="a\nb\n', "bash"),
    ("/etc/bash.bashrc", b"[[ a == b ]] && { :; }\n", b"[[ a == b && { :; }\n", "bash"),
    ("/etc/conf.d/net", b"a=1\n", b"a='1\n", "sh"),
    ("/etc/init.d/x", b"#!/sbin/openrc-run\nstart() { :; }\n", b"#!/sbin/openrc-run\nstart() { :;\n", "sh"),
    ("/etc/x", b"#!/usr/bin/env python3\na = 1\n", b"#!/usr/bin/env python3\na = \n", "python"),
    ("/etc/nginx/sites-enabled/x", b"server { # }\n}\n", b"server {\n", "braces"),
    ("/etc/nginx/conf.d/x", b'a "}";\n', b"}\n", "braces"),
    ("/etc/nginx/conf.d/x", b"a \\{ b;\n", b'a "b;\n', "braces"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "good", "bad", "name"), CASES)
def test_what_is_right_is_accepted_and_what_is_wrong_refused(
    tmp_path: Path, path: str, good: bytes, bad: bytes, name: str
) -> None:
    accepted = verdict(tmp_path, path, good, good + b"\n")
    assert accepted.good, accepted
    assert name in accepted.why
    refused = verdict(tmp_path, path, good, bad)
    assert not refused.good
    assert "refuses the result" in refused.why
    assert name in refused.why


@pytest.mark.parametrize(("path", "good", "bad", "name"), CASES)
def test_a_file_that_was_refused_before_is_not_the_merges_fault(
    tmp_path: Path, path: str, good: bytes, bad: bytes, name: str
) -> None:
    found = verdict(tmp_path, path, bad, good)
    assert not found.good
    assert "refuses the file as it is" in found.why


def test_sshd_reads_its_configuration(tmp_path: Path) -> None:
    key = tmp_path / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    good = f"HostKey {key}\nPort 2222\n".encode()
    place = tmp_path / "beside"
    place.mkdir()
    assert verdict(place, "/etc/ssh/sshd_config", good, good + b"PermitRootLogin no\n").good
    refused = verdict(place, "/etc/ssh/sshd_config", good, good + b"PermitRootLogin perhaps\n")
    assert not refused.good
    assert "PermitRootLogin" in refused.why or "perhaps" in refused.why or "line 3" in refused.why


def test_nginx_reads_its_configuration(tmp_path: Path) -> None:
    where = f"error_log {tmp_path}/error; pid {tmp_path}/pid; events {{}}\n"
    good = f"{where}http {{ access_log off; }}\n".encode()
    place = tmp_path / "beside"
    place.mkdir()
    assert verdict(place, "/etc/nginx/nginx.conf", good, good + b"# more\n").good
    assert not verdict(place, "/etc/nginx/nginx.conf", good, good + b"wrong 1;\n").good


def test_a_validator_that_is_not_in_the_root_is_named_and_the_next_one_asked(tmp_path: Path) -> None:
    (tmp_path / "etc/nginx").mkdir(parents=True)
    found = judge(tmp_path, "/etc/nginx/nginx.conf", b"a {}\n", b"a { }\n")
    assert found == Verdict(True, "braces accepts it; nginx is not there to ask", "nginx is not there to ask")
    found = judge(tmp_path, "/etc/haproxy/haproxy.cfg", b"a\n", b"b\n")
    missing = "haproxy is not there to ask"
    assert found == Verdict(True, f"nothing checks such a file; {missing}", missing)


def test_validators_run_inside_the_root(tmp_path: Path) -> None:
    busybox = shutil.which("busybox")
    assert busybox
    (tmp_path / "bin").mkdir()
    (tmp_path / "etc/conf.d").mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "bin/busybox")
    (tmp_path / "bin/sh").symlink_to("/bin/busybox")
    assert validators.find(tmp_path, "sh") == "/bin/sh"
    assert judge(tmp_path, "/etc/conf.d/x", b"a=1\n", b"a=2\n").why == "sh -n accepts it"
    assert not judge(tmp_path, "/etc/conf.d/x", b"a=1\n", b"a='2\n").good


def test_a_validator_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validators, "SECONDS", 0.3)
    slow = (("*",), (validators.program("sh", "-c", "sleep 1000", validators.FILE),))
    monkeypatch.setattr(validators, "TABLE", (slow,))
    assert "was not done in time" in verdict(tmp_path, "/etc/x", b"", b"").why


def test_every_program_of_the_table_gets_the_candidate() -> None:
    """By its name, or in the place of the live one."""
    for _, found in TABLE:
        for check in found:
            assert check.read or check.is_whole or validators.FILE in check.argv
        # Who reads all may not read this one: somebody comes after.
        assert not found[-1].is_whole
