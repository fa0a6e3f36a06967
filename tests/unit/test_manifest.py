"""The manifest of a release: what is written is what is read, and nothing else is read."""

from dataclasses import replace

import pytest

from appliance.errors import Problem
from buildfarm import manifest
from buildfarm.manifest import Item, Manifest

SUM = "ab" * 32
SAMPLE = manifest.identify(
    Manifest(
        profile="vm",
        arch="amd64",
        created="2026-11-22T09:00:00Z",
        snapshot="9b10e9f",
        files=(Item("stage", 5, SUM), Item("kernel", 4, SUM)),
        packages=(Item("app-misc/hello-2.10-1", 3, SUM),),
    )
)


def test_the_text_is_the_one_the_installer_reads() -> None:
    assert manifest.write(SAMPLE).splitlines() == [
        "distserver-release 1",
        f"id {SAMPLE.id}",
        "profile vm",
        "arch amd64",
        "created 2026-11-22T09:00:00Z",
        "snapshot 9b10e9f",
        f"FILE kernel 4 SHA256 {SUM}",
        f"FILE stage 5 SHA256 {SUM}",
        f"PACKAGE app-misc/hello-2.10-1 3 SHA256 {SUM}",
    ]


def test_what_is_written_is_what_is_read() -> None:
    again = manifest.parse(manifest.write(SAMPLE))
    assert manifest.write(again) == manifest.write(SAMPLE)
    assert again.content == SAMPLE.content


def test_the_id_is_the_day_and_the_content() -> None:
    assert SAMPLE.id == f"20261122-{SAMPLE.content}"
    later = manifest.identify(replace(SAMPLE, created="2026-11-23T09:00:00Z"))
    assert later.id == f"20261123-{SAMPLE.content}"


@pytest.mark.parametrize(
    "other",
    [
        replace(SAMPLE, profile="x"),
        replace(SAMPLE, snapshot="x"),
        replace(SAMPLE, files=(Item("stage", 5, "cd" * 32),)),
        replace(SAMPLE, packages=()),
    ],
)
def test_other_content_is_another_id(other: Manifest) -> None:
    assert other.content != SAMPLE.content


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("distserver-release 1", "distserver-release 2", "starts with"),
        ("profile vm\n", "", "does not say: profile"),
        ("profile vm", "profile vm\nprofile x", "line 4"),
        ("arch amd64", "colour red", "line 4"),
        ("FILE kernel 4", "FILE kernel four", "line 7"),
        ("FILE kernel 4", "FILE ../kernel 4", "not allowed"),
        (f"kernel 4 SHA256 {SUM}", "kernel 4 SHA256 abc", "line 7"),
        ("id 2026", "id ../2026", "id"),
    ],
)
def test_a_damaged_manifest_is_refused_naming_what_is_wrong(old: str, new: str, complaint: str) -> None:
    text = manifest.write(SAMPLE)
    assert old in text
    with pytest.raises(Problem, match=complaint):
        manifest.parse(text.replace(old, new, 1))
