"""Layers of a root: what we say shows through is what the kernel's overlayfs shows."""

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pytest

from appliance.errors import Problem
from appliance.run import run
from appliance.sandbox import Bind, Mount, Overlay, Sandbox
from buildfarm import layers, root
from buildfarm.root import MAX_LAYERS, Root
from buildfarm.stage import Stage

# A line for everything below the current directory: kind, mode, owner, aim of a link, content of a file.
WORDS = "%P %y %m %U:%G %l "
LIST = f"find . -mindepth 1 -printf '{WORDS}' \\( -type f -exec cat {{}} \\; -o -printf '\\n' \\)"
STEPS = 60


def overlay(place: Path, lower: Sequence[Path], upper: Path) -> Sandbox:
    """The host with an overlay at /mnt: its tools, our layers."""
    for name in ("work", "root"):
        (place / name).mkdir(parents=True, exist_ok=True)
    upper.mkdir(exist_ok=True)
    host = [Bind(Path(name), PurePosixPath(name)) for name in ("/bin", "/lib", "/lib64", "/usr", "/etc")]
    mounts: list[Mount] = [Overlay((*lower,), upper, place / "work"), *host]
    return Sandbox(place / "root", mounts, cwd="/data")


def listing(place: Path, lower: Sequence[Path]) -> list[str]:
    shown = run(["sh", "-c", LIST], prefix=overlay(place, lower, place / "upper").prefix()).stdout
    return sorted(shown.splitlines())


def changes(seed: int) -> str:
    """A shell script of random changes among few names, so that they meet each other."""
    dice = random.Random(seed)
    lines = []
    for number in range(STEPS):
        place = "/".join(dice.choice("abc") for _ in range(dice.randint(1, 3)))
        other = "/".join(dice.choice("abc") for _ in range(dice.randint(1, 3)))
        lines.append(
            dice.choice(
                [
                    f"rm -rf {place}",
                    f"mkdir -p {place}; chmod 7{number % 8}5 {place}",
                    f"rm -rf {place}; mkdir {place}",
                    f"echo {number} > {place}",
                    f"ln -sfn {other} {place}",
                    f"ln -f {other} {place}",
                    f"mv -T {other} {place}",
                    f"chown {number}:7 {place}",
                ]
            )
        )
    return "\n".join(f"{{ {line}; }} 2>&1" for line in lines) + "\ntrue"


@pytest.mark.parametrize("seed", range(6))
def test_a_flat_layer_shows_what_the_stack_showed(tmp_path: Path, seed: int) -> None:
    stage = tmp_path / "stage"
    (stage / "data").mkdir(parents=True)
    run(["sh", "-c", changes(seed)], cwd=stage / "data")
    stack: list[Path] = []
    for number in range(4):
        upper = tmp_path / f"layer{number}"
        script = changes(100 * (seed + 1) + number)
        sandbox = overlay(tmp_path / f"work{number}", [*stack, stage], upper)
        run(["sh", "-c", script], prefix=sandbox.prefix())
        stack.insert(0, upper)
    before = listing(tmp_path / "before", [*stack, stage])
    assert before
    layers.flatten(stack[:3], tmp_path / "some")
    assert listing(tmp_path / "part", [tmp_path / "some", stack[3], stage]) == before
    layers.flatten(stack, tmp_path / "flat")
    assert listing(tmp_path / "after", [tmp_path / "flat", stage]) == before
    # The same by name: what find() finds is what is listed, and nothing else.
    shown = {line.split(" ")[0] for line in before}
    every = ["a", "b", "c"]
    every += [f"{one}/{two}" for one in every for two in "abc"]
    found = {name for name in every if layers.find([*stack, stage], f"data/{name}")}
    assert found == shown & set(every)


def test_paths_of_layers_may_be_long_and_may_hold_commas_and_colons(tmp_path: Path) -> None:
    home = tmp_path / ("a,b:c\\d" + "x" * 200) / ("y" * 200)
    stack = []
    for number in range(MAX_LAYERS + 4):
        layer = home / f"{number:0100}"
        (layer / "data").mkdir(parents=True)
        (layer / "data" / str(number)).write_text("a line\n")
        stack.append(layer)
    assert sum(len(str(layer)) for layer in stack) > os.sysconf("SC_PAGE_SIZE")
    assert len(listing(home, stack)) == len(stack)


def build(own: Root, stage: Path, script: str) -> str:
    """A build that is a shell script, committed; what it printed."""
    attempt = own.begin("stage")
    done = run(["sh", "-ec", script], prefix=sandbox_of(own, stage).prefix())
    assert attempt.upper.is_dir()
    own.commit()
    return done.stdout


def sandbox_of(own: Root, stage: Path) -> Sandbox:
    attempt = own.leftover()
    assert attempt
    room = own.path.parent.parent / "room"
    room.mkdir(exist_ok=True)
    env: Mapping[str, str] = {}
    return root.sandbox(attempt, stage, (), rooms=root.Rooms(room, room), env=env)


def test_a_root_stays_the_same_over_many_builds_and_its_stack_stays_low(
    tmp_path: Path, build_stage: Stage
) -> None:
    own = Root(tmp_path / "roots" / "one")
    number = 0
    lower = 0
    for number in range(2 * MAX_LAYERS + 2):
        build(
            own, build_stage.root, f"echo {number} > /srv/count; rm -f /srv/{number - 1}; touch /srv/{number}"
        )
        lower = max(lower, len(own.committed()))
    assert lower == MAX_LAYERS
    assert build(own, build_stage.root, "ls /srv; cat /srv/count").split() == [
        str(number),
        "count",
        str(number),
    ]
    room = own.path.parent / ".layers"
    assert len([place for place in room.iterdir() if place.is_dir()]) == len(own.committed())


def test_a_view_shows_stage_layers_and_attempt_and_leaves_no_mount(
    tmp_path: Path, build_stage: Stage
) -> None:
    own = Root(tmp_path / "roots" / "one")
    build(own, build_stage.root, "echo committed > /srv/one; rm -r /etc/apt")
    own.begin("stage")
    sandbox = sandbox_of(own, build_stage.root)
    run(["sh", "-c", "echo attempt > /srv/two"], prefix=sandbox.prefix())
    with root.view(sandbox) as merged:
        assert (merged / "srv/one").read_text() == "committed\n"
        assert (merged / "srv/two").read_text() == "attempt\n"
        assert (merged / "etc/passwd").read_bytes() == (build_stage.root / "etc/passwd").read_bytes()
        assert not (merged / "etc/apt").exists()
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
    assert not merged.exists()


def test_a_view_of_what_cannot_be_mounted_says_so(tmp_path: Path) -> None:
    own = Root(tmp_path / "roots" / "one")
    own.begin("stage")
    with (
        pytest.raises(Problem, match="cannot be mounted"),
        root.view(sandbox_of(own, tmp_path / "no-stage")),
    ):
        pass
