"""The description of a medium: what is written is what is read, and nothing that was changed is."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from appliance import medium
from appliance.errors import Problem
from appliance.medium import PLANNER, PROFILES, Medium, MediumFile, MediumMachine

SUM = "ab" * 32
OTHER = "cd" * 32
FILES = (MediumFile(PLANNER, 9_000_000, SUM), MediumFile(PROFILES, 900, OTHER))
SAMPLE = Medium(
    created="2026-11-22T09:00:00Z",
    server="http://10.77.0.2",
    offline=True,
    releases=(("20261122-28a5b416b52c", "vm"), ("20261121-0123456789ab", "server")),
    files=FILES,
)
OWN = replace(
    SAMPLE,
    releases=SAMPLE.releases[:1],
    machine=MediumMachine("52:54:00:12:34:56", "web-1", "0f" * 16, "2026-12-06T09:00:00Z"),
)


def test_the_text_is_the_one_the_installer_reads() -> None:
    text = medium.write(OWN)
    assert text.splitlines()[2:] == [
        "created 2026-11-22T09:00:00Z",
        "server http://10.77.0.2",
        "offline yes",
        "machine 52:54:00:12:34:56 web-1",
        f"token {'0f' * 16}",
        "expires 2026-12-06T09:00:00Z",
        "RELEASE 20261122-28a5b416b52c vm",
        f"FILE distserver/planner.sqfs 9000000 SHA256 {SUM}",
        f"FILE distserver/profiles.json 900 SHA256 {OTHER}",
    ]
    assert text.startswith("distserver-medium 1\nid ")


def test_the_id_is_what_a_shell_gets_of_the_lines_after_it() -> None:
    lines = medium.write(SAMPLE).splitlines(keepends=True)
    assert lines[1] == f"id {hashlib.sha256(''.join(lines[2:]).encode()).hexdigest()[:16]}\n"


# One draw for each, not 64.
hex_digits = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
files = st.builds(
    MediumFile,
    st.from_regex(medium.PATH, fullmatch=True),
    st.integers(0, 2**53),
    hex_digits,
)
moments = st.integers(0, 2**33).map(medium.iso_time)
machines = st.builds(
    MediumMachine,
    st.lists(st.integers(0, 255), min_size=6, max_size=6).map(lambda mac: ":".join(f"{n:02x}" for n in mac)),
    st.sampled_from(["a", "m123456", "web-1.example.org"]),
    hex_digits.map(lambda digits: digits[:32]),
    moments,
)
releases = st.tuples(
    st.from_regex(medium.RELEASE, fullmatch=True), st.from_regex(medium.PROFILE, fullmatch=True)
)


# Two whole media are much to draw for a machine that is busy.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def media(draw: st.DrawFn) -> Medium:
    one = draw(st.none() | machines)
    return Medium(
        created=draw(moments),
        server=draw(
            st.sampled_from(["http://10.0.0.1", "https://ds.example.org:8443/site", "http://[fd00::1]"])
        ),
        offline=draw(st.booleans()),
        releases=tuple(
            draw(st.lists(releases, min_size=1, max_size=1 if one else 4, unique_by=lambda pair: pair[1]))
        ),
        files=(*FILES, *draw(st.lists(files, max_size=2, unique_by=lambda file: file.path))),
        machine=one,
    )


@PATIENT
@given(media())
def test_what_is_written_is_what_is_read(one: Medium) -> None:
    text = medium.write(one)
    assert medium.parse(text) == medium.identify(one)
    assert medium.write(medium.parse(text)) == text


@PATIENT
@given(media(), st.data())
def test_a_description_with_any_line_changed_is_refused(one: Medium, data: st.DataObject) -> None:
    text = medium.write(one)
    lines = text.split("\n")
    place = data.draw(st.integers(0, len(lines) - 1))
    foreign = medium.write(data.draw(media())).split("\n")
    way = data.draw(st.sampled_from(["text", "foreign", "gone", "twice", "swapped"]))
    if way == "text":
        lines[place] = data.draw(st.text(max_size=60))
    elif way == "foreign":
        lines[place] = data.draw(st.sampled_from(foreign))
    elif way == "gone":
        del lines[place]
    elif way == "twice":
        lines.insert(place, lines[place])
    else:
        lines[place], lines[0] = lines[0], lines[place]
    changed = "\n".join(lines)
    assume(changed != text)
    with pytest.raises(Problem):
        medium.parse(changed)


@PATIENT
@given(media(), media())
def test_other_content_is_another_id(one: Medium, other: Medium) -> None:
    one, other = medium.identify(one), medium.identify(other)
    assert (one.id == other.id) == (one == other)


@settings(deadline=None)
@given(st.text(max_size=400) | st.text(max_size=200).map(lambda rest: f"distserver-medium 1\nid {rest}\n"))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(Problem):
        medium.parse(text)


def signed_again(text: str) -> str:
    """A text that somebody changed who can count: its id is right again."""
    head, _, body = text.split("\n", 2)
    return f"{head}\nid {hashlib.sha256(body.encode()).hexdigest()[:16]}\n{body}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("created 2026-11-22T09:00:00Z", "created 2026-13-22T09:00:00Z", "line 3"),
        ("server http://10.77.0.2", 'server http://10.77.0.2"; reboot', "line 4"),
        ("offline yes", "offline maybe", "line 5"),
        ("offline yes\n", "", "no line `offline`"),
        ("52:54:00:12:34:56 web-1", "52:54:00:12:34:56 Web_1", "line 6"),
        ("52:54:00:12:34:56 web-1", "52-54-00-12-34-56 web-1", "line 6"),
        (f"token {'0f' * 16}\n", "", "machine and expires"),
        ("RELEASE 20261122-28a5b416b52c vm", "RELEASE ../../etc vm", "line 9"),
        ("RELEASE 20261122-28a5b416b52c vm\n", "", "names no release"),
        (" vm\n", " vm\nRELEASE 20261122-28a5b416b52c vm\n", "profile vm twice"),
        (" vm\n", " vm\nRELEASE 20261122-28a5b416b52c two\n", "2 profiles"),
        ("distserver/planner.sqfs", "distserver/../planner.sqfs", "line 10"),
        ("9000000", "09000000", "line 10"),
        (f"FILE {PROFILES} 900 SHA256 {OTHER}\n", "", PROFILES),
        ("offline yes\n", "offline yes\nauto yes\n", "line 6"),
        ("server http://10.77.0.2\noffline yes", "offline yes\nserver http://10.77.0.2", "another order"),
    ],
)
def test_a_malformed_line_is_named(old: str, new: str, said: str) -> None:
    text = medium.write(OWN)
    assert old in text
    with pytest.raises(Problem, match=said):
        medium.parse(signed_again(text.replace(old, new, 1)))


@pytest.mark.parametrize(
    "bad",
    [
        replace(SAMPLE, server="http://10.77.0.2\noffline no"),
        replace(SAMPLE, created="today"),
        replace(SAMPLE, releases=()),
        replace(SAMPLE, machine=replace(OWN.machine, name="") if OWN.machine else None),
    ],
)
def test_what_could_not_be_read_back_is_not_written(bad: Medium) -> None:
    with pytest.raises(Problem):
        medium.write(bad)


def test_times_are_seconds_and_back() -> None:
    assert medium.iso_time(1793350800.9) == "2026-10-30T09:00:00Z"
    assert medium.seconds_of("2026-10-30T09:00:00Z") == 1793350800.0
