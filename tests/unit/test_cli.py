"""The command line says what went wrong in one sentence, and the README names its commands."""

import io
import re
import shutil
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.cli import main, parser
from appliance.farm_model import FailureKind, Held, Origin, Package, Release
from appliance.install import planned
from appliance.leases import Lease, LeaseState
from appliance.model import Event, Tree
from appliance.overlays import HOME, example_site
from appliance.services import Services
from appliance.store import Store
from buildfarm.failures import Failure

MAC = "52:54:00:00:00:01"


@pytest.fixture
def options(tmp_path: Path) -> tuple[list[str], list[str]]:
    """What comes before the command, and the option that names the site."""
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return ["--state", str(tmp_path / "state")], ["--site", str(site)]


def test_a_problem_is_a_sentence_and_a_hint_and_ends_in_status_1(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    assert main([*before, "machine", "arm", *site, MAC]) == 1
    said = capsys.readouterr().err
    assert f"distserver: there is no machine {MAC}" in said
    assert "hint: `distserver machine list`" in said


def test_explain_takes_the_name_of_a_machine(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    assert main([*before, "machine", "add", *site, MAC, "--name", "web1"]) == 0
    assert main([*before, "explain", *site, "web1", "--arch", "x64"]) == 0
    assert f"machine {MAC}" in capsys.readouterr().out
    assert main([*before, "explain", *site, "web2"]) == 1
    assert "there is no machine web2" in capsys.readouterr().err


def test_a_machine_is_shown_with_the_fingerprint_of_its_last_plan(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before, site = options
    assert main([*before, "machine", "add", *site, MAC]) == 0
    store = Store(Tree(tmp_path / "state").store)
    for at, digit in ((1.0, "a"), (2.0, "b")):
        store.events.add(Event(MAC, at, "plan", message=planned("r1", "uefi", digit * 64)))
    store.events.add(Event(MAC, 3.0, "plan", message="plan 1\nhostname m1"))
    store.close()
    assert main([*before, "machine", "show", *site, MAC]) == 0
    said = capsys.readouterr().out.splitlines()
    assert f"  plan {'b' * 64}" in said
    assert f"  plan {'a' * 64}" not in said


def test_a_machine_is_added_assigned_armed_and_listed(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    for words in (
        ["add", MAC],
        ["assign", MAC, "vm", "--name", "web1"],
        ["arm", MAC],
        ["list"],
        ["show", MAC],
    ):
        assert main([*before, "machine", words[0], *site, *words[1:]]) == 0
    said = capsys.readouterr().out
    assert "armed" in said
    assert re.search(rf"^ *{MAC} +web1 +armed +vm ", said, re.MULTILINE)
    assert "profile vm, by hand" in said


def test_words_in_a_table_are_neither_pictures_nor_markup_nor_orders_to_the_terminal(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    assert main([*before, "machine", "add", *site, "52:54:00:ab:00:01"]) == 0
    assert main([*before, "machine", "list", *site]) == 0
    assert "52:54:00:ab:00:01" in capsys.readouterr().out.splitlines()[-2]
    desk = Services(Path(site[1]), Tree(Path(before[1])))
    desk.audit.note("web ann", "login", "ann", "[/b] [red]\x1b]0;title\x07\x9b2J")
    assert main([*before, "audit", *site]) == 0
    said = capsys.readouterr().out
    assert "[/b] [red] ]0;title  2J" in said
    assert not {"\x1b", "\x07", "\x9b"} & set(said)


def test_a_package_is_shown_with_its_origin_and_why_it_was_built(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    desk = Services(Path(site[1]), Tree(Path(before[1])))
    old = Package("a" * 64, "app-misc/a-1", 1, 2**20, "key1", 1.0, "", profile="vm", neutral_key="n")
    new = replace(old, sha256="b" * 64, build_key="key2", built_at=2.0, seconds=7.0, neutral_key="")
    desk.store.packages.remember(old, {"USE": "nls"})
    desk.store.packages.remember(new, {"USE": "", "EAPI": "8"})
    release = Release("20260101-00000000000a", "vm", 1.0, "snap", 1, 1000)
    desk.store.releases.add(release, [Origin(new.sha256, new.cpv, "built", "vm")])
    assert main([*before, "package", "show", *site, "a", "--recipe"]) == 0
    said = capsys.readouterr().out
    assert "build key key2, good for this compiler and these flags" in said
    assert "build key key1, good for every compiler and all flags" in said
    assert "differs from the one before: USE: -nls" in said
    assert "in release 20260101-00000000000a (vm)" in said
    assert "in no release" in said
    assert "    EAPI = 8\n" in said
    assert main([*before, "package", "show", *site, "nothing"]) == 1
    assert "there is no package nothing in the pool" in capsys.readouterr().err


def test_what_failed_is_listed_shown_and_forgotten(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    desk = Services(Path(site[1]), Tree(Path(before[1]))).failures
    failure = Failure("a/b-2", Path("/log"), "the end", FailureKind.COMPILE, "error: x", "key")
    desk.note("vm", [failure], keys={"a/b-2": "key"}, built=[])
    desk.hold("vm", [Held("a/b-2", "a/b-1")])
    for words in (["list"], ["show", "a/b-2"], ["forget", "a/b-2"]):
        assert main([*before, "failure", words[0], *site, *words[1:]]) == 0
    said = capsys.readouterr().out
    assert re.search(r"vm +a/b-2 +compile +1 .* error: x", said)
    assert "vm holds a/b-1 instead of a/b-2 since" in said
    assert "    the end\n" in said
    assert main([*before, "failure", "show", *site, "a/b-2"]) == 1


def test_a_broken_site_is_refused_with_every_mistake(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    (Path(site[1]) / "appliance.toml").write_text('nam = "x"\n')
    assert main([*before, "check", *site]) == 1
    said = capsys.readouterr().err
    assert "did you mean name?" in said
    assert "repository: missing" in said


def test_every_command_of_the_readme_exists() -> None:
    text = (HOME / "README.md").read_text()
    used = set(re.findall(r"^distserver ([a-z]+)", text, re.MULTILINE)) | set(
        re.findall(r"`distserver ([a-z]+)", text)
    )
    assert used >= {"init", "check", "up", "build", "machine", "release", "stage", "login", "demo"}
    shown = parser().format_help()
    assert [
        command for command in sorted(used) if not re.search(rf"^\s+{command}\b", shown, re.MULTILINE)
    ] == []


def test_repositories_are_shown_without_being_synchronised(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    assert main([*before, "sync", "--list", *site]) == 0
    said = capsys.readouterr().out
    assert "distserver" in said
    assert "never" in said
    assert main([*before, "sync", *site, "gentoo"]) == 1
    assert "has no repository gentoo" in capsys.readouterr().err


def test_leases_are_listed_with_the_machine_and_how_long_they_last(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    before, site = options
    desk = Services(Path(site[1]), Tree(Path(before[1])))
    desk.add_machine(MAC, name="web1")
    now = desk.clock()
    lease = Lease(IPv4Address("10.0.0.9"), MAC, LeaseState.BOUND, now, now + 7300, host="gentoo")
    over = replace(lease, address=IPv4Address("10.0.0.10"), expires=now - 1)
    desk.store.leases.keep([over, lease])
    assert main([*before, "lease", "list", *site]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"10\.0\.0\.9 +{MAC} +web1 +bound +2 h.* gentoo", said)
    assert re.search(rf"10\.0\.0\.10 +{MAC} +web1 +expired +gentoo", said)


def test_accounts_are_made_changed_and_listed_and_every_change_is_in_the_audit_log(
    options: tuple[list[str], list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    cheap_passwords: None,
) -> None:
    before, site = options
    monkeypatch.setenv("SUDO_USER", "ann")

    def said(*words: str, status: int = 0) -> str:
        at = 2 if words[0] == "account" else 1
        assert main([*before, *words[:at], *site, *words[at:]]) == status
        out, err = capsys.readouterr()
        return out + err

    link = "http://127.0.0.1:8080/login/[0-9a-f]{32}\n"
    assert re.search(f"there is no admin yet; make one at {link}", said("login"))
    assert "bob chooses a password at http://" in said("account", "add", "bob", "--role", "admin")
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse battery\n"))
    assert "bob has a new password" in said("account", "password", "bob")
    assert "signs in as bob (admin), once" in said("login")
    assert "no account carl" in said("login", "carl", status=1)
    said("account", "add", "carl")
    assert "carl has the role operator" in said("account", "role", "carl", "operator")
    token = said("account", "token", "carl", "--add", "backup", "--scope", "operator").strip()
    assert token.startswith("dst_") and token not in said("account", "token", "carl")
    assert "opens nothing" in said("account", "token", "carl", "--end", "1")
    assert "the only admin" in said("account", "disable", "bob", status=1)
    said("account", "disable", "carl")
    assert re.search(r"carl +operator .* disabled", said("account", "list"))
    said("account", "enable", "carl")
    assert "0 sessions ended" in said("account", "sessions", "carl", "--end")
    log = said("audit", "--who", "cli ann")
    for action in ("invite", "password", "link", "role", "disable", "enable", "sessions"):
        assert f"account {action}" in log
    assert "token add" in log and "token end" in log and token not in log


def test_what_is_done_to_machines_is_in_the_audit_log(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, site = options
    monkeypatch.setenv("SUDO_USER", "ann")
    for command, *words in (["add"], ["assign", "vm"], ["arm"], ["disarm"], ["channel", "canary"]):
        assert main([*before, "machine", command, *site, MAC, *words]) == 0
    capsys.readouterr()
    assert main([*before, "audit", *site, "--subject", MAC]) == 0
    log = capsys.readouterr().out
    actions = re.findall(r"cli ann +machine (\w+)", log)
    assert actions == ["channel", "disarm", "arm", "assign", "add"]
    assert "stable -> canary" in log


def test_what_is_done_to_hosts_is_in_the_audit_log(
    options: tuple[list[str], list[str]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, site = options
    monkeypatch.setenv("SUDO_USER", "ann")
    for command, *words in (
        ["add", "builder", "--address", "192.0.2.7"],
        ["quarantine", "builder", "--reason", "too hot"],
        ["release-quarantine", "builder"],
        ["remove", "builder"],
    ):
        assert main([*before, "cluster", command, *site, *words]) == 0
    capsys.readouterr()
    assert main([*before, "audit", *site, "--subject", "builder"]) == 0
    log = capsys.readouterr().out
    assert re.findall(r"cli ann +host (\w+)", log) == ["remove", "release", "quarantine", "add"]
    assert "too hot" in log
