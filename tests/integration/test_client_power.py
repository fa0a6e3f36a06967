"""The power fails in the middle of updates, fifty times: the machine comes to the release it is to have."""

import hashlib
import itertools
import os
import random
from collections.abc import Iterator
from functools import partial

import pytest

from buildfarm.stage import Stage
from distserver_client.updating import Step
from tests.integration.clientyard import CONF, Yard, make_yard

KILLS = 50
IN_A_ROW = 10
OURS, MERGED = ((CONF % version).replace("first = 1", "first = mine").encode() for version in (1, 2))
SEED = 20261122


@pytest.fixture(scope="module")
def yard(
    tmp_path_factory: pytest.TempPathFactory, build_stage: Stage, install_stage: Stage
) -> Iterator[Yard]:
    with make_yard(tmp_path_factory.mktemp("yard"), build_stage, install_stage) as made:
        yield made


def test_an_update_that_was_cut_off_anywhere_is_finished_by_the_next_starts(yard: Yard) -> None:
    machine, chance = yard.machine, random.Random(SEED)
    kills, there, target = 0, yard.first, yard.second
    where, steps = set(), itertools.cycle(Step)
    while kills < KILLS:
        cut = 0
        while cut < IN_A_ROW and machine.cut(
            "rollback",
            target,
            when=partial(machine.has_begun, next(steps)),
            after_seconds=chance.uniform(0.0, 0.5),
        ):
            cut += 1
            journal = machine.journal()
            where.add(journal.at if journal else "")
        kills += cut
        machine.agent("rollback", target)
        assert yard.has(target), f"after {kills} kills with seed {SEED}"
        assert machine.agent("status").splitlines()[0] == f"release {target}: current"
        there, target = target, there
    # Of the steps that take their time each was met.
    assert {"packages", "emerge", "clean"} <= where


def test_what_portage_merged_and_the_disk_never_got_is_merged_again(yard: Yard) -> None:
    machine, disk = yard.machine, yard.machine.disk
    machine.agent("rollback", yard.first)
    machine.write("etc/large.conf", OURS)
    record = disk / "var/db/pkg/app-misc/large-2"
    assert machine.cut("rollback", yard.second, when=record.exists)
    # The names are on the disk, the contents are not: so file systems that allocate late leave it.
    data, offered = disk / "usr/share/large/data", disk / "etc/._cfg0000_large.conf"
    assert hashlib.md5(data.read_bytes()).hexdigest() in (record / "CONTENTS").read_text()
    for torn in (data, offered):
        os.truncate(torn, 0)
    assert f"{yard.second}: merging again app-misc/large-2" in machine.agent("rollback", yard.second)
    assert yard.has(yard.second)
    assert hashlib.md5(data.read_bytes()).hexdigest() in (record / "CONTENTS").read_text()
    assert (disk / "etc/large.conf").read_bytes() == MERGED
    assert not list((disk / "etc").glob("._cfg*"))
