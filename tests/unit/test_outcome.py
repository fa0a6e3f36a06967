"""When two roots are the same, and what is remembered of a finished one."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.model import Package
from buildfarm.outcome import NAME, Outcome, identity, likeness, read, write
from buildfarm.portage import Installed, State
from buildfarm.root import Content

FILES: dict[str, Content] = {
    "etc/portage/make.conf": b'CFLAGS="-O2"\n',
    "etc/portage/make.profile": PurePosixPath("../../var/db/repos/tiny/profiles/base"),
}
MADE_OF = identity(stage="s1", revisions=["r1", "r2"], files=FILES, rules="1")


@pytest.mark.parametrize(
    "other",
    [
        identity(stage="s2", revisions=["r1", "r2"], files=FILES, rules="1"),
        identity(stage="s1", revisions=["r2", "r1"], files=FILES, rules="1"),
        identity(stage="s1", revisions=["r1"], files=FILES, rules="1"),
        identity(stage="s1", revisions=["r1", "r2"], files=FILES, rules="2"),
        identity(stage="s1", revisions=["r1", "r2"], files={}, rules="1"),
        identity(
            stage="s1",
            revisions=["r1", "r2"],
            files={**FILES, "etc/portage/make.conf": b'CFLAGS="-O3"\n'},
            rules="1",
        ),
        identity(
            stage="s1",
            revisions=["r1", "r2"],
            files={**FILES, "etc/portage/make.profile": b"../../var/db/repos/tiny/profiles/base"},
            rules="1",
        ),
    ],
)
def test_whatever_a_root_is_made_of_changes_its_identity(other: str) -> None:
    assert other != MADE_OF


def test_the_order_of_files_does_not_matter() -> None:
    turned = dict(reversed(FILES.items()))
    assert identity(stage="s1", revisions=["r1", "r2"], files=turned, rules="1") == MADE_OF


def outcome() -> Outcome:
    package = Package("ab" * 32, "app-misc/witness-1", 1, 100, "key", 5.0, "CPV: app-misc/witness-1\n")
    state = State(
        header={"CHOST": "x86_64-pc-linux-gnu"},
        installed=(Installed("app-misc/witness-1", 1, 5, "0"),),
        world={"app-misc/witness": "installed"},
        system={},
    )
    return Outcome(MADE_OF, state, (package,))


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    write(outcome(), tmp_path)
    assert read(tmp_path) == outcome()
    write(replace(outcome(), identity="other"), tmp_path)
    found = read(tmp_path)
    assert found is not None
    assert found.identity == "other"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "a"}', '{"packages": [{"strange": 1}]}'])
def test_what_cannot_be_read_is_no_outcome(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    assert read(tmp_path) is None


def test_no_layer_has_no_outcome(tmp_path: Path) -> None:
    assert read(tmp_path / "none") is None


def test_likeness_counts_equal_files() -> None:
    assert likeness(FILES, FILES) == 2
    assert likeness(FILES, {"etc/portage/make.conf": b""}) == 0
