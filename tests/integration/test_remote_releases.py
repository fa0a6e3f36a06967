"""Releases, rollouts and compile hosts of another host's DistServer, from the command line."""

import argparse
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.account_model import Role
from appliance.cli import main, parser
from appliance.cli.remote import AFAR
from appliance.client_order import RolloutState
from appliance.desks.errands import LANES
from appliance.farm_model import Release
from appliance.services import Services
from buildfarm.signing import Signer
from tests.afar import Afar, put_token, said_by, serving
from tests.press import Press


@pytest.fixture
def afar(tmp_path: Path) -> Iterator[Afar]:
    with serving(tmp_path) as there:
        yield there


@pytest.fixture
def releases(afar: Afar) -> list[Release]:
    """Two of the profile vm, published one after the other."""
    tree = afar.services.tree
    press = Press(tree, afar.services.live.path, Signer(tree.room("keys")))
    return [press.published(b"old"), press.published(b"new", b"more")]


@pytest.fixture
def farm(afar: Afar) -> Iterator[None]:
    """Does what is asked of it, as the farm process does."""
    over = threading.Event()

    def work() -> None:
        own = Services(afar.services.live.path, afar.services.tree)
        lanes = [LANES["moves"], LANES["long"]]
        while not over.is_set():
            if not any(own.errands.do_next(lane) for lane in lanes):
                over.wait(0.02)
        own.store.close()

    worker = threading.Thread(target=work)
    worker.start()
    yield
    over.set()
    worker.join()


def test_releases_are_listed_shown_and_compared_from_afar(
    afar: Afar, releases: list[Release], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = releases
    top = [*afar.options(), "release"]
    rows = {row.split()[0]: row for row in said_by(capsys, [*top, "list", "vm"]).splitlines() if row.split()}
    assert "stable" in rows[new.id] and "stable" not in rows[old.id]
    assert old.id not in said_by(capsys, [*top, "list", "amd64"])
    shown = said_by(capsys, [*top, "show", new.id])
    assert "2 packages" in shown and "app-misc/b-1-1" in shown and "channels: stable" in shown
    assert "+ app-misc/b 1" in said_by(capsys, [*top, "diff", old.id, new.id])
    assert "there is no release" in said_by(capsys, [*top, "show", "20200101-000000000000"], 1)
    assert "works on the server itself only" in said_by(capsys, [*top, "show", new.id, "--manifest"], 1)


def test_channels_are_moved_by_the_farm_afar(
    afar: Afar, releases: list[Release], farm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = releases
    top = [*afar.options(), "release"]

    def named() -> str:
        said = afar.services.release_desk.channels.get("vm", "stable")
        return said.release if said else ""

    said_by(capsys, [*top, "rollback", "vm", "--why", "it was better"])
    assert named() == old.id
    said_by(capsys, [*top, "pin", "vm", new.id])
    assert named() == new.id
    assert "pinned" in said_by(capsys, [*top, "rollback", "vm"], 1)
    said_by(capsys, [*top, "unpin", "vm"])
    said_by(capsys, [*top, "promote", "vm", old.id])
    assert named() == old.id
    history = said_by(capsys, [*top, "history", "vm"]).splitlines()
    kinds = [line.split()[5] for line in history if line.strip().startswith("stable")]
    assert kinds == ["promote", "pin", "rollback", "publish", "publish"]
    assert any("rollback" in line and "api ann" in line and "it was better" in line for line in history)


def test_a_release_that_is_not_what_was_signed_is_found_from_afar(
    afar: Afar, releases: list[Release], farm: None, capsys: pytest.CaptureFixture[str]
) -> None:
    top = [*afar.options(), "release", "verify"]
    assert "is what it should be" in said_by(capsys, top)
    place = afar.services.tree.path / "releases" / releases[0].id / "kernel"
    place.chmod(0o644)
    place.write_bytes(b"other!")
    assert main(top) == 1
    assert capsys.readouterr().out.count("does not verify") == 1


def test_a_rollout_is_seen_and_let_go_on_from_afar(
    afar: Afar, releases: list[Release], capsys: pytest.CaptureFixture[str]
) -> None:
    (led,) = afar.services.clients.lead()
    stopped = replace(led, state=RolloutState.STOPPED, why="web1 failed")
    with afar.services.store.database.change():
        afar.services.store.rollouts.put(stopped)
    top = [*afar.options(), "rollout"]
    listed = said_by(capsys, [*top, "list"])
    assert releases[1].id in listed and "web1 failed" in listed
    assert releases[1].id not in said_by(capsys, [*top, "list", "amd64"])
    said = said_by(capsys, [*top, "go-on", "vm", "--why", "the first ones are well"])
    assert f"every machine on vm/stable gets {releases[1].id}" in said
    (now,) = afar.services.clients.rollouts("vm")
    assert now.state is RolloutState.SPREADING and now.who == "api ann"


def test_compile_hosts_are_changed_from_afar(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    top = [*afar.options(), "cluster"]
    said_by(capsys, [*top, "add", "cc1", "--address", "192.0.2.1", "--slots", "4"])
    assert afar.services.hosts.host("cc1").slots == 4
    assert "192.0.2.1" in said_by(capsys, [*top, "list"])
    said_by(capsys, [*top, "quarantine", "cc1", "--reason", "too loud"])
    assert "too loud" in said_by(capsys, [*top, "list"])
    said_by(capsys, [*top, "release-quarantine", "cc1"])
    said_by(capsys, [*top, "probe", "cc1"])
    said_by(capsys, [*top, "remove", "cc1"])
    assert "there is no compile host cc1" in said_by(capsys, [*top, "probe", "cc1"], 1)
    actions = [note.action for note in afar.services.audit.page(subject="cc1")]
    assert actions == ["host remove", "host probe", "host release", "host quarantine", "host add"]


def test_the_audit_log_is_read_from_afar_by_admins_only(
    afar: Afar, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        afar.services.add_machine(f"52:54:00:00:00:0{number}")
    top = [*afar.options(), "audit"]
    assert "needs the role admin" in said_by(capsys, top, 1)
    put_token(afar.services, afar.token_file, Role.ADMIN)
    said = said_by(capsys, [*top, "--action", "machine add", "--lines", "2"])
    assert said.count("machine add") == 2 and "52:54:00:00:00:02" in said
    first = min(note.id for note in afar.services.audit.page(action="machine add"))
    older = said_by(capsys, [*top, "--action", "machine add", "--before", str(first + 1)])
    assert older.count("machine add") == 1


def test_what_failed_is_listed_from_afar(afar: Afar, capsys: pytest.CaptureFixture[str]) -> None:
    assert "tried again" in said_by(capsys, [*afar.options(), "failure", "list"])


def test_the_hint_names_every_group_that_works_from_afar() -> None:
    def groups(of: argparse.ArgumentParser, top: str = "") -> Iterator[str]:
        if of.get_default("remote"):
            yield top
        for one in of._actions:
            if isinstance(one, argparse._SubParsersAction):
                for name, made in one.choices.items():
                    yield from groups(made, top or name)

    assert sorted(set(groups(parser()))) == AFAR.split(", ")
