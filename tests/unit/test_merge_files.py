"""Decisions of merges as files of the site, and the command line that makes and reads them."""

import io
import shutil
import sys
from pathlib import Path

import pytest

from appliance import merge_site
from appliance.cli import main
from appliance.desks.merge_files import MergeFilesDesk
from appliance.errors import Problem
from appliance.merge_model import Choice
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from appliance.site_keeper import start_site
from tests.mergeyard import MERGED, OURS, PATH, THEIRS, Client, add_machine, item, mac, post, sha256


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return Path(shutil.copytree(example_site(), tmp_path / "site"))


@pytest.fixture
def services(site: Path, tmp_path: Path) -> Services:
    return Services(site, Tree(tmp_path / "state"))


def asked(services: Services, number: int = 1) -> int:
    Client(services, add_machine(services, number)).settle()
    return services.merges.find("open", limit=1)[0].id


def files(services: Services) -> MergeFilesDesk:
    return MergeFilesDesk(services.live, services.merges)


def another(services: Services, tmp_path: Path) -> Services:
    """A server that was set up anew from the same site."""
    return Services(services.live.path, Tree(tmp_path / "new"))


def test_decisions_survive_in_the_site_and_answer_at_once_on_a_new_server(
    services: Services, tmp_path: Path
) -> None:
    number = asked(services)
    services.merges.decide(number, Choice.TEXT, MERGED, who="web ann", why='keep "Port"\n\x7f')
    written, removed = files(services).export()
    assert sorted(one.suffix for one in written) == [".result", ".toml"] and removed == 0
    assert files(services).export() == ([], 0)
    new = another(services, tmp_path)
    start_site(new, 0)
    late = Client(new, add_machine(new, 5))
    assert (late.settle(), late.file) == ("decided", MERGED)
    (decision,) = new.merges.view(1).history
    assert (decision.who, decision.why) == ("site", 'keep "Port"\n\x7f (decided by web ann)')
    assert files(new).take() == merge_taken(known=1)


def merge_taken(*, known: int) -> object:
    from appliance.desks.merge_files import Taken

    return Taken(0, known, [])


def test_what_was_taken_back_is_not_taken_again_from_its_file_and_export_removes_it(
    services: Services,
) -> None:
    number = asked(services)
    services.merges.decide(number, Choice.THEIRS)
    (file,), _ = files(services).export()
    services.merges.undo(number)
    assert files(services).take().new == 0
    assert services.merges.count("open") == 1
    assert files(services).export() == ([], 1)
    assert not file.exists()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('choice = "theirs"', 'choice = "yours"', "yours"),
        (f'path = "{PATH}"', 'path = "/etc/shadow"', "secret"),
        (f'path = "{PATH}"', 'path = "etc"', "path"),
        ("base", "bases", "bases is not known"),
        (sha256(OURS), "ab", "SHA-256"),
        ("path", "[", "line 1"),
        ("at = ", 'at = "x" #', "seconds"),
        ('choice = "theirs"', 'choice = "text"', ".result"),
    ],
)
def test_a_file_that_is_wrong_is_named_and_the_others_are_taken(
    services: Services, tmp_path: Path, old: str, new: str, said: str
) -> None:
    services.merges.decide(asked(services), Choice.THEIRS)
    post(services, mac(1), item(path="/etc/a"), whole=False)
    services.merges.decide(services.merges.find("open", limit=1)[0].id, Choice.OURS)
    files(services).export()
    (file,) = (one for one in files(services).directory.glob("*.toml") if PATH in one.read_text())
    file.write_text(file.read_text().replace(old, new, 1))
    taken = files(another(services, tmp_path)).take()
    assert taken.new == 1
    (problem,) = taken.wrong
    assert str(file) in str(problem) and said in str(problem)
    with pytest.raises(Problem, match=file.name):
        merge_site.read(file)


def test_a_result_with_markers_is_not_taken_from_a_file(services: Services, tmp_path: Path) -> None:
    services.merges.decide(asked(services), Choice.TEXT, MERGED)
    files(services).export()
    (result,) = files(services).directory.glob("*.result")
    result.write_bytes(b"<<<<<<< ours\n")
    taken = files(another(services, tmp_path)).take()
    assert (taken.new, len(taken.wrong)) == (0, 1)


def run(services: Services, *words: str) -> int:
    before, site = ["--state", str(services.tree.path)], ["--site", str(services.live.path)]
    return main([*before, "merge", words[0], *site, *words[1:]])


def test_a_question_is_listed_shown_decided_exported_and_taken_back_by_commands(
    services: Services, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    client = Client(services, add_machine(services, 1))
    client.settle()
    assert run(services, "list") == 0
    said = capsys.readouterr().out
    assert PATH in said and "1 machine of vm" in said
    assert run(services, "show", "1") == 0
    said = capsys.readouterr().out
    assert "why: both changed line 1" in said
    assert "    Port 22\n" not in said and "  - Port 22\n  + Port 2222\n" in said
    assert run(services, "show", "1", "--proposed") == 0
    proposed = capsys.readouterr().out
    assert proposed.startswith("<<<<<<< ours\nPort 2222\n") and "PermitRootLogin no\n" in proposed
    text = tmp_path / "text"
    text.write_text(proposed)
    assert run(services, "decide", "1", "--file", str(text)) == 1
    assert "line 1 is a marker" in capsys.readouterr().err
    text.write_bytes(MERGED)
    assert run(services, "decide", "1", "--file", str(text), "--why", "ours") == 0
    assert (client.hear(), client.file) == (["decided"], MERGED)
    assert run(services, "list", "decided") == 0
    assert "text by" in capsys.readouterr().out
    assert run(services, "export") == 0 and run(services, "import") == 0
    assert "0 decisions taken, 1 were known" in capsys.readouterr().out
    assert run(services, "undo", "1", "--why", "no") == 0
    assert "1 machines are told" in capsys.readouterr().out
    assert (client.hear(), client.file) == (["undo"], OURS)
    assert run(services, "undo", "1") == 1
    assert "is not decided" in capsys.readouterr().err


def test_one_answer_is_wanted_and_a_text_may_come_by_a_pipe(
    services: Services, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(services)
    assert run(services, "decide", "1") == 1
    assert "say one answer" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(THEIRS)))
    assert run(services, "decide", "1", "--file", "-") == 0
    assert "theirs by" in capsys.readouterr().out


def test_check_reads_the_decisions_of_the_site(
    services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    (services.live.path / "merges").mkdir()
    (services.live.path / "merges" / "a.toml").write_text("path = 3\n")
    assert main(["check", "--site", str(services.live.path)]) == 1
    assert "merges/a.toml" in capsys.readouterr().err
