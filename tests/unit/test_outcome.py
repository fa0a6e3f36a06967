"""When two roots are the same, and what is remembered of a finished one."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from appliance.farm_model import Package
from buildfarm.outcome import NAME, Outcome, digests, identity, nearest, others, read, twin, write
from buildfarm.portage import Installed, State
from buildfarm.root import Content, Head, Root

PLACE = PurePosixPath("../../var/db/repos/tiny/profiles/base")
LAID: dict[str, Content] = {
    "etc/portage/make.conf": b'CFLAGS="-O2"\n',
    "etc/portage/make.profile": PLACE,
}
FILES = digests(LAID)
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
            files={**FILES, **digests({"etc/portage/make.conf": b'CFLAGS="-O3"\n'})},
            rules="1",
        ),
        identity(
            stage="s1",
            revisions=["r1", "r2"],
            files={
                **FILES,
                **digests({"etc/portage/make.profile": str(LAID["etc/portage/make.profile"]).encode()}),
            },
            rules="1",
        ),
    ],
)
def test_whatever_a_root_is_made_of_changes_its_identity(other: str) -> None:
    assert other != MADE_OF


def test_the_order_of_files_does_not_matter() -> None:
    turned = dict(reversed(FILES.items()))
    assert identity(stage="s1", revisions=["r1", "r2"], files=turned, rules="1") == MADE_OF


def outcome(layers: tuple[str, ...] = ("000001",)) -> Outcome:
    package = Package("ab" * 32, "app-misc/witness-1", 1, 100, "key", 5.0, "CPV: app-misc/witness-1\n")
    state = State(
        header={"CHOST": "x86_64-pc-linux-gnu"},
        installed=(Installed("app-misc/witness-1", 1, 5, "0"),),
        world={"app-misc/witness": "installed"},
        system={},
    )
    return Outcome(MADE_OF, layers, FILES, state, (package,))


def finished(path: Path, known: Outcome, stage: str = "s1") -> Root:
    root = Root(path)
    path.mkdir()
    Head(stage, known.layers).write(path / "head")
    write(known, root)
    return root


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    root = finished(tmp_path / "one", outcome())
    assert read(root) == outcome()
    write(replace(outcome(), identity="other"), root)
    found = read(root)
    assert found is not None
    assert found.identity == "other"


def test_an_outcome_of_another_head_says_nothing(tmp_path: Path) -> None:
    root = finished(tmp_path / "one", outcome())
    Head("s1", ("000002", "000001")).write(root.path / "head")
    assert read(root) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"identity": "a"}', '{"packages": [{"strange": 1}]}'])
def test_what_cannot_be_read_is_no_outcome(tmp_path: Path, text: str) -> None:
    root = finished(tmp_path / "one", outcome())
    (root.path / NAME).write_text(text)
    assert read(root) is None


def test_a_root_finds_its_twin_and_otherwise_the_one_most_like_it(tmp_path: Path) -> None:
    one = finished(tmp_path / "one", outcome())
    less = digests({"etc/portage/make.conf": LAID["etc/portage/make.conf"]})
    two = finished(tmp_path / "two", replace(outcome(), identity="two", files=less))
    finished(tmp_path / "old", replace(outcome(), identity="old"), stage="s0")
    found = others(Root(tmp_path / "own"))
    assert twin(found, MADE_OF) == one
    assert twin(found, "nobody's") is None
    assert nearest(found, FILES, "s1") == one
    assert nearest({two: found[two]}, FILES, "s1") == two
    assert nearest(found, FILES, "s9") is None
    assert one not in others(one)
