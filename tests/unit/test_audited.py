"""Every command that changes something leaves a line in the audit log, or says here why it does not."""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli import main, parser
from appliance.model import Tree
from appliance.overlays import example_site
from appliance.services import Services
from buildfarm.signing import Signer
from tests.press import Press

MAC = "52:54:00:00:00:01"
READS = frozenset(
    (
        "check", "account list", "audit", "bootprograms list", "cluster list", "cluster toolchains",
        "cluster native", "explain", "failure list", "failure show", "hold list", "medium list", "lease list",
        "machine facts", "machine list", "machine match", "machine show", "match", "merge list", "merge show",
        "package show", "question list",
        "profile list", "profile show", "queue", "release list", "release show", "release diff",
        "release history", "release verify", "rollout list", "secureboot status", "usb list", "webhook list",
        "webhook deliveries", "doctor",
    )
)  # fmt: skip
RUN = (
    ("account add ann", "account invite"),
    ("account role ann operator", "account role"),
    ("account disable ann", "account disable"),
    ("account enable ann", "account enable"),
    ("account sessions ann --end", "account sessions"),
    ("account token ann --add tool", "token add"),
    ("cluster add cc1 --address 192.0.2.1", "host add"),
    ("cluster probe cc1", "host probe"),
    ("cluster quarantine cc1 --reason loud", "host quarantine"),
    ("cluster release-quarantine cc1", "host release"),
    ("cluster remove cc1", "host remove"),
    (f"machine add {MAC} --profile vm --name web1", "machine add"),
    ("machine arm web1", "machine arm"),
    ("machine disarm web1", "machine disarm"),
    ("machine assign web1 vm", "machine assign"),
    ("machine channel web1 canary", "machine channel"),
    ("machine compile-node web1", "machine lend"),
    ("machine rename web1 web2", "machine rename"),
    ("machine retire web2", "machine retire"),
    ("hold skip vm sys-apps/sed-4.9", "package skip"),
    ("hold release vm sys-apps/sed-4.9", "package release"),
    ("webhook add http://192.0.2.1/", "webhook add"),
    ("webhook test 1", "webhook test"),
    ("webhook pause 1", "webhook pause"),
    ("webhook resume 1", "webhook resume"),
    ("webhook remove 1", "webhook remove"),
    ("login", ""),
)
"""A command, and the action of its line; `login` makes the first link as long as there is no admin."""
ELSEWHERE = {
    "account password": "tests/integration/test_signing_in.py",
    "bootprograms fetch": "it downloads from Debian",
    "build": "a build of minutes: its release and its channel have lines of their own",
    "cluster order": "needs a toolchain: tests/integration/test_web_cluster.py does the same",
    "failure forget": "tests/unit/test_failures.py",
    "gc": "below",
    "hold add": "as `hold skip`",
    "iso": "tests/integration/test_media_desk.py",
    "machine power": "tests/integration/test_power.py",
    "machine wake": "tests/integration/test_power.py",
    "machine disk-key": "it wants a machine with containers: tests of disk keys",
    "machine rescue": "it wants an installer: tests of rescue",
    "medium revoke": "tests/integration/test_media_desk.py",
    "merge decide": "tests of merges",
    "merge import": "tests of merges",
    "merge undo": "tests of merges",
    "release pin": "tests/unit/test_release_desk.py",
    "release promote": "tests/unit/test_release_desk.py",
    "release rollback": "tests/unit/test_release_desk.py",
    "release unpin": "tests/unit/test_release_desk.py",
    "retry": "as `failure forget`",
    "rollout go-on": "tests of clients",
    "secureboot init": "tests/integration/test_site_keys.py",
    "stage reference": "minutes",
    "sync": "tests/unit/test_sync_desk.py",
}
NO_STATE = {
    "init": "there is no store yet",
    "up": "its processes say what they do",
    "process": "a part of `up`",
    "worker": "on another host: the farm says what became of its jobs",
    "demo": "a farm of its own",
    "console": "what a person types on a machine is the machine's",
    "plan": "it is looked at and changes nothing",
    "usb write": "a stick of whatever host it runs on, which may have no store",
    "cluster kit": "files for another host",
    "secureboot certificates": "copies of what is public",
    "merge export": "copies into the site",
}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    site = Path(shutil.copytree(example_site(), tmp_path / "site"))
    return Services(site, Tree(tmp_path / "state"))


def leaves(of: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[str]:
    groups = [one for one in of._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield " ".join(words)
    for group in groups:
        for name, made in group.choices.items():
            yield from leaves(made, (*words, name))


def command_of(line: str, known: set[str]) -> str:
    words = line.split()
    return next(name for name in (" ".join(words[:2]), words[0]) if name in known)


def test_every_command_reads_or_leaves_a_line_or_says_why_not() -> None:
    known = set(leaves(parser()))
    run = {command_of(line, known) for line, _ in RUN}
    groups = [READS, run, set(ELSEWHERE), set(NO_STATE)]
    assert set().union(*groups) == known
    assert sum(len(group) for group in groups) == len(known)


def test_commands_that_change_something_leave_their_line(services: Services) -> None:
    known = set(leaves(parser()))
    for line, action in RUN:
        name = command_of(line, known)
        before = [note.id for note in services.audit.page(limit=1)]
        words = line.split()
        at = len(name.split())
        argv = [
            "--state",
            str(services.tree.path),
            *words[:at],
            "--site",
            str(services.live.path),
            *words[at:],
        ]
        assert (line, main(argv)) == (line, 0)
        newest = services.audit.page(limit=5)
        fresh = [note for note in newest if not before or note.id > before[0]]
        if action:
            assert (line, [note.action for note in fresh]) == (line, [action])
            assert all(note.who.startswith("cli ") for note in fresh)


def test_what_is_collected_is_a_line(services: Services) -> None:
    press = Press(services.tree, services.live.path, Signer(services.tree.room("keys")))
    press.package("sys-apps/sed-4.9", b"nobody wants it")
    press.clock.now += 100 * 86400
    desk = press.desk()
    assert desk.collect(dry_run=True)
    assert desk.store.audit.page(action="gc") == []
    fates = desk.collect(dry_run=False)
    notes = desk.store.audit.page(action="gc")
    assert len(notes) == (1 if any(fate.goes for fate in fates) else 0) == 1
    assert "package" in notes[0].detail
