"""The agent of an installed machine: central files, updates and the way back, with real Portage."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.client_view import Verdict
from buildfarm import manifest
from buildfarm.stage import Stage
from tests.integration.clientyard import ANY_STATUS, CONF, Yard, make_yard
from tests.integration.enrolled import Enrolled, enrolled

MOST_OF_NOTHING = 10_000
"""Octets both ways for a look of a machine that has everything already."""
OWNED = "/var/db/pkg/sys-apps/distserver-client-1/CONTENTS"


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, build_stage: Stage, install_stage: Stage
) -> Iterator[Yard]:
    with make_yard(tmp_path_factory.mktemp("yard"), build_stage, install_stage) as yard:
        yield yard


@pytest.fixture
def yard(made: Yard, tmp_path: Path) -> Yard:
    return made.another(tmp_path / "machine")


def bytes_said(text: str) -> int:
    found = re.search(r"([0-9]+) bytes fetched", text)
    assert found, text
    return int(found[1])


def test_a_machine_follows_its_channel_and_comes_back(yard: Yard) -> None:
    machine = yard.machine
    assert yard.has(yard.first)
    assert "distserver-client" in machine.call("cat", OWNED).stdout
    machine.write("etc/large.conf", (CONF % 1).replace("first = 1", "first = mine").encode())
    came = bytes_said(machine.agent("update"))
    assert yard.has(yard.second)
    assert came < 1.05 * sizes(yard)
    assert not (machine.disk / "usr/share/slow").exists()
    conf = machine.disk / "etc/large.conf"
    assert conf.read_text() == (CONF % 2).replace("first = 1", "first = mine")

    log = (machine.disk / "var/log/distserver-client.log").stat()
    assert "which is what it is to have" in machine.agent("update")
    assert (machine.disk / "var/log/distserver-client.log").stat().st_mtime_ns == log.st_mtime_ns

    machine.agent("rollback")
    assert yard.has(yard.first)
    assert conf.read_text() == (CONF % 1).replace("first = 1", "first = mine")
    assert machine.agent("status").splitlines()[0] == f"release {yard.first}: current"
    machine.agent("rollback", yard.second)
    assert yard.has(yard.second)
    # What the machine has of both it needs no server for, packages apart.
    assert machine.agent("diff") == ""


def sizes(yard: Yard) -> int:
    """Of the packages of the second release that the first one has not."""
    sealed = manifest.parse((yard.place(yard.second) / "manifest").read_text())
    changed = [one for one in sealed.packages if "large" in one.name or "/witness-2" in one.name]
    assert len(changed) == 2
    return sum(one.size_bytes for one in changed)


def test_what_an_update_costs_on_the_wire_and_what_the_server_sees_of_it(yard: Yard, tmp_path: Path) -> None:
    machine = yard.machine
    with enrolled(yard, tmp_path) as known:
        assert machine.agent("diff", yard.second, ok=(1,)).splitlines() == [
            "app-misc/large-1-1 -> app-misc/large-2-1",
            "-app-misc/slow-1-1",
            "app-misc/witness-1-1 -> app-misc/witness-2-1",
        ]
        shutil.rmtree(machine.disk / "var/cache/distserver/r" / yard.second)
        known.clear()
        machine.agent("update")
        assert yard.has(yard.second) and known.emerges()
        assert known.received < 1.05 * sizes(yard), (known.http, known.door)
        stages = known.stages()
        assert stages[0] == ("update", "begin") and stages[-1] == ("update", "done")
        assert [one for one in stages if "emerge" in one[0]] == [
            ("update emerge", "begin"),
            ("update emerge", "done"),
        ]
        known.clear()
        assert "which is what it is to have" in machine.agent("update")
        assert known.emerges() == [] and known.http.total == 0
        assert known.door.total < MOST_OF_NOTHING, known.door
        assert known.view().verdict is Verdict.CURRENT, known.view()
        seen_of_a_machine_that_was_changed(known)


def seen_of_a_machine_that_was_changed(known: Enrolled) -> None:
    """Files, packages and mounts that differ, settings of its own, what runs with replaced files."""
    machine = known.yard.machine
    data = machine.disk / "usr/share/large/data"
    data.write_bytes(data.read_bytes() + b"x")
    machine.write("etc/large.conf", b"mine\n")
    shutil.rmtree(machine.disk / "var/db/pkg/app-misc/witness-2")
    runs = "until grep -q /usr/bin/nap /proc/$!/maps; do :; done"
    nap = f"cp /bin/sleep /usr/bin/nap; nap 600 & {runs}; rm /usr/bin/nap"
    machine.call("sh", "-c", f"{nap}; umount -l /etc/portage; distserver-client update")
    view = known.view()
    assert view.verdict is Verdict.DRIFTED
    assert {(one.kind, one.name, one.said) for one in view.drift} == {
        ("file", "/usr/share/large/data", "changed"),
        ("package", "app-misc/witness-2", "missing"),
        ("mount", "/etc/portage", "what the release has is not mounted there"),
    }
    assert [(one.path, one.said) for one in view.local] == [("/etc/large.conf", "changed here")]
    # By the name of the control group where the tests themselves run in a service.
    assert view.stale == len(view.services) == 1
    facts = {one.name: one.value for one in view.facts}
    assert {"memory", "cpu", "uptime", "kernel", "space /"} <= facts.keys()
    assert machine.agent("diff", ok=(1,)).splitlines() == [
        "package app-misc/witness-2: missing",
        "file /usr/share/large/data: changed",
    ]


def test_there_is_no_copy_of_central_files_that_could_be_changed(yard: Yard) -> None:
    machine = yard.machine
    for argv in (["emerge", "--sync"], ["emaint", "sync", "-a"], ["emerge", "--sync", "tiny"]):
        done = machine.call(*argv, ok=(1,))
        assert "synchronise on the server, with 'distserver sync'" in done.stdout
    touched = machine.call("touch", "/etc/portage/x", "/var/db/repos/tiny/x", ok=(1,))
    assert touched.stdout.count("Read-only file system") == 2
    assert "changed on the server" in machine.call("cat", "/etc/portage/README").stdout
    # A package of the repository that the release does not have: it would have to be compiled.
    refused = machine.call("emerge", "-p", "app-misc/broken", ok=(1,))
    assert "there are no binary packages to satisfy" in refused.stdout
    assert "app-misc/slow-1" in machine.call("emerge", "-p", "app-misc/slow").stdout


def test_a_package_that_a_person_added_stays_and_is_updated_with_the_others(yard: Yard) -> None:
    machine = yard.machine
    machine.agent("update")
    world = machine.disk / "var/lib/portage/world"
    world.write_text(world.read_text() + "virtual/witness\n")
    machine.agent("rollback")
    assert "virtual/witness\n" in world.read_text()
    assert "app-misc/slow\n" in world.read_text()


def test_what_was_damaged_on_the_way_changes_nothing(yard: Yard) -> None:
    machine = yard.machine
    sealed = manifest.parse((yard.place(yard.second) / "manifest").read_text())
    large = next(one for one in sealed.packages if "large" in one.name)
    served = yard.press.pool().file(large.sha256)
    good = served.read_bytes()
    part = served.with_name("part")
    part.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    part.rename(served)
    before = machine.installed()
    try:
        said = machine.agent("update", ok=(1,))
    finally:
        part.write_bytes(good)
        part.rename(served)
    assert "cannot fetch packages" in said
    assert machine.installed() == before
    status = machine.agent("status", ok=(1,))
    assert f"under way to {yard.second}: waiting" in status
    assert (
        "is not what the signed manifest says" in machine.call("cat", "/var/log/distserver-client.log").stdout
    )
    machine.agent("update")
    assert yard.has(yard.second)


def test_a_full_disk_is_said_and_the_update_goes_on_when_there_is_room(yard: Yard) -> None:
    machine = yard.machine
    small = (
        "mkdir -p /var/cache/distserver/pool; mount -t tmpfs -o size=12m none /var/cache/distserver/pool; "
    )
    said = machine.call("sh", "-c", f"{small} exec distserver-client update", ok=(1,)).stdout
    assert "cannot fetch packages" in said
    assert "16 MiB have to stay free" in machine.call("cat", "/var/log/distserver-client.log").stdout
    assert yard.machine.release() == yard.first
    machine.agent("update")
    assert yard.has(yard.second)


def test_without_its_server_a_machine_starts_with_its_tree_and_stays_what_it_is(yard: Yard) -> None:
    machine = yard.machine
    machine.write("etc/distserver/server", b"http://127.0.0.1:9\n")
    assert "tiny" in machine.call("cat", "/var/db/repos/tiny/profiles/repo_name").stdout
    assert machine.agent("status").splitlines()[0] == f"release {yard.first}: current"
    assert "does not answer" in machine.agent("update", ok=(1,))
    assert yard.has(yard.first)


def test_what_cannot_be_installed_is_given_up_and_the_machine_goes_back(yard: Yard) -> None:
    """An emerge that fails stands in for all that can go wrong on one machine alone."""
    machine = yard.machine
    machine.write("usr/local/sbin/emerge", BROKEN.encode(), 0o755)
    for _ in range(2):
        assert "emerge failed" in machine.agent("update", ok=(1,))
    said = machine.agent("update", ok=(1,))
    assert f"release {yard.second} was given up" in said
    assert yard.has(yard.first)
    assert f"given up: release {yard.second}" in machine.agent("status", ok=ANY_STATUS)
    assert "was given up" in machine.agent("update")
    (machine.disk / "usr/local/sbin/emerge").unlink()
    machine.agent("update", "--again")
    assert yard.has(yard.second)


BROKEN = """#!/bin/sh
# Nothing of the second release can be merged here.
case "$*" in *--fetchonly*|*--depclean*) exec /usr/bin/emerge "$@" ;; esac
grep -q large-2 /var/lib/distserver/index/Packages && { echo "!!! it cannot be merged here"; exit 1; }
exec /usr/bin/emerge "$@"
"""
