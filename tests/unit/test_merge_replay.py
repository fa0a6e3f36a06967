"""The replay of `make bench-merge` over a few files of our own: edits, peers and the judge."""

from pathlib import Path

import pytest

from tests.benches_merge import edits, judging, replay
from tests.benches_merge.archive import Pair
from tests.benches_merge.edits import Edit
from tests.benches_merge.judging import Versions

DAEMON = b"""\
# Where the daemon listens.
Port 8080
#ListenAddress 0.0.0.0

# Who may talk to it.
AllowUsers admin
MaxSessions 10

# What it writes.
LogLevel INFO
#LogFile /var/log/daemon.log
Verbose no
"""
RC = b"""\
# Options of the daemon.
DAEMON_OPTS="-v -p 7000"
# Its user.
DAEMON_USER=daemon
#DAEMON_GROUP=daemon
NICE=5

# Seconds to wait for it.
TIMEOUT=30
"""
INI = b"""\
[server]
; its address
address = 127.0.0.1
port = 9000
[log]
level = info
#target = syslog
rotate = true
"""
SCRIPT = b"""\
#!/bin/sh
# Runs at every boot.
LIMIT=100
NAME=thing
if [ -x /usr/bin/thing ]; then
    # begin
    echo "$NAME $LIMIT"
fi
"""


def pair(path: str, step: str, base: bytes, *changes: tuple[bytes, bytes]) -> Pair:
    """The next version of a file, by what is replaced in it."""
    theirs = base
    for old, new in changes:
        assert old in theirs
        theirs = theirs.replace(old, new)
    return Pair(path, step, base, theirs)


PAIRS = [
    pair(
        "/etc/daemon/daemon.conf",
        "a-b",
        DAEMON,
        (b"ns 10", b"ns 20\nMaxRate 5"),
        (b"#LogF", b"# New.\n#LogF"),
    ),
    pair(
        "/etc/daemon/daemon.conf",
        "b-c",
        DAEMON,
        (b"8080", b"8081"),
        (b"Verbose no\n", b"Verbose no\nHue no\n"),
    ),
    pair("/etc/conf.d/daemon", "a-b", RC, (b"NICE=5", b"NICE=10"), (b"# Its user.\n", b"")),
    pair("/etc/conf.d/daemon", "b-c", RC, (b"# Options", b"# Good.\n# Options"), (b"UT=30", b"UT=60")),
    pair("/etc/thing/thing.ini", "a-b", INI, (b"level = info", b"level = warning\ncolour = no")),
    pair("/etc/boot/thing", "a-b", SCRIPT, (b"LIMIT=100", b"LIMIT=200"), (b"begin", b"begin it")),
]


@pytest.mark.parametrize("seed", ["one", "two", "three"])
def test_nothing_is_merged_wrongly_without_a_question(tmp_path: Path, seed: str) -> None:
    found = list(replay.cases(PAIRS, seed))
    shares, mistakes = replay.replay(found, tmp_path)
    assert [one for one in mistakes if one.peer == "ours"] == []
    assert {one.cases for one in shares.values()} == {len(found)}
    assert shares["ours"].automatic > 0
    assert shares["ours"].automatic >= shares["dispatch-conf"].automatic


def test_edits_come_from_the_seed_only() -> None:
    assert edits.edit(DAEMON, "x") == edits.edit(DAEMON, "x")
    made = {edits.edit(DAEMON, str(number))[0] for number in range(50)}
    assert len(made) > 20
    kinds = {one.kind for number in range(300) for one in edits.edit(DAEMON, str(number))[1]}
    assert kinds == {*("value", "port", "uncomment", "comment out", "remark", "append", "insert", "delete")}


def judged(ours: bytes, theirs: bytes, merged: bytes, edit: Edit, scratch: Path) -> str:
    return judging.wrong("/etc/daemon.conf", [edit], Versions(DAEMON, ours, theirs), merged, scratch)


def test_the_judge_sees_what_is_wrong(tmp_path: Path) -> None:
    edit = Edit("value", (b"MaxSessions 10\n",), (b"MaxSessions 99\n",))
    ours = DAEMON.replace(b"MaxSessions 10", b"MaxSessions 99")
    theirs = DAEMON.replace(b"LogLevel INFO", b"LogLevel WARN")
    right = ours.replace(b"LogLevel INFO", b"LogLevel WARN")
    assert judged(ours, theirs, right, edit, tmp_path) == ""
    assert "MaxSessions" in judged(ours, theirs, theirs, edit, tmp_path)
    assert "LogLevel" in judged(ours, theirs, ours, edit, tmp_path)
    assert "marker" in judged(ours, theirs, b"<<<<<<< ours\n" + right, edit, tmp_path)
    # Upstream now sets it, too, elsewhere: two values.
    twice = theirs.replace(b"MaxSessions 10\n", b"") + b"MaxSessions 5\n"
    assert "MaxSessions" in judged(ours, twice, twice + b"MaxSessions 99\n", edit, tmp_path)


def test_the_judge_sees_what_is_not_where_it_was(tmp_path: Path) -> None:
    edit = Edit("remark", (b"# Who may talk to it.\n",), (b"# Who may.\n",))
    ours = DAEMON.replace(b"# Who may talk to it.", b"# Who may.")
    theirs = DAEMON.replace(b"Port 8080", b"Port 8081")
    right = ours.replace(b"Port 8080", b"Port 8081")
    assert judged(ours, theirs, right, edit, tmp_path) == ""
    assert "is not where" in judged(
        ours, theirs, b"# Who may.\n" + right.replace(b"# Who may.\n", b""), edit, tmp_path
    )
    more = Edit("append", (), (b"local 1\n",))
    swapped = theirs.replace(b"Verbose no\n", b"") + b"local 1\nVerbose no\n"
    assert judged(DAEMON + b"local 1\n", theirs, theirs + b"local 1\n", more, tmp_path) == ""
    assert "no more between" in judged(DAEMON + b"local 1\n", theirs, swapped, more, tmp_path)


def test_of_a_line_that_is_there_twice_both_may_have_removed_the_same(tmp_path: Path) -> None:
    edit = Edit("uncomment", (b"#a=1\n",), (b"a=2\n",))
    versions = Versions(b"#a=1\nx\n#a=1\n", b"#a=1\nx\na=2\n", b"#a=1\nx\n#a=3\n")
    assert judging.wrong("/etc/a", [edit], versions, b"#a=1\nx\na=2\n#a=3\n", tmp_path) == ""
    other = Versions(versions.base, versions.ours, versions.base + b"y\n")
    assert judging.wrong("/etc/a", [edit], other, b"#a=1\nx\n#a=1\na=2\ny\n", tmp_path)


def test_the_judge_asks_what_reads_the_file(tmp_path: Path) -> None:
    versions = Versions(b"a=1\nb=1\n", b"a='1\n'\nb=1\n", b"a=1\nb='1\n'\n")
    edit = Edit("value", (b"a=1\n",), (b"a='1\n", b"'\n"))
    merged = b"a='1\nb='1\n'\n'\nx='\n".replace(b"x='\n", b"")
    broken = b"a='1\nb='1\n'\n"
    assert judging.wrong("/etc/conf.d/x", [edit], versions, merged, tmp_path) == ""
    assert judging.wrong("/etc/conf.d/x", [edit], versions, broken, tmp_path)
