"""Whatever happens to a build: nothing half is seen, no package is lost, and the next one goes on."""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.deadline import wait_until
from appliance.errors import Problem
from appliance.run import run
from buildfarm import gpkg, manifest
from buildfarm.build import Progress
from buildfarm.signing import verify
from buildfarm.stage import Stage
from tests.integration.farmyard import Farmyard

CLONE_NEWNS = 0x00020000
DEADLINE_SECONDS = 60.0
ALL = ["app-misc/slow-1", "app-misc/witness-1", "sys-kernel/tiny-kernel-1", "virtual/witness-0"]
HEAD = "EAPI=8\n\ninherit tiny\n"


@pytest.fixture
def farm(tmp_path: Path, build_stage: Stage, install_stage: Stage) -> Farmyard:
    return Farmyard.make(tmp_path, build_stage, install_stage)


def touch_witness(farm: Farmyard) -> None:
    source = farm.repository / "app-misc/witness/files/witness.c"
    source.write_text(source.read_text() + "\n")


def add(farm: Farmyard, name: str, text: str) -> Path:
    place = farm.repository / "app-misc" / name
    place.mkdir(exist_ok=True)
    (place / f"{name}-1.ebuild").write_text(HEAD + f'DESCRIPTION="{name}"\n' + text)
    return place


def mounts_below(path: Path) -> list[str]:
    """In any namespace: a process that lives on would hold one."""
    found = []
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            found += [line for line in table.read_text().splitlines() if str(path) in line]
        except OSError:  # it ended just now
            continue
    return found


def assert_whole(farm: Farmyard) -> None:
    """What is there under a final name is all there."""
    wait_until(lambda: None if mounts_below(farm.path) else True, seconds=DEADLINE_SECONDS, what="no mount")
    for package in farm.ledger.packages():
        assert gpkg.check(farm.tree.room("pool") / package.sha256[:2] / f"{package.sha256}.gpkg.tar") == ""
    for name in farm.releases():
        if ".partial" not in name:
            place = farm.tree.room("releases") / name
            verify(farm.tree.room("keys") / "public.gpg", place / "manifest", place / "manifest.sig")
            manifest.parse((place / "manifest").read_text())


def at(step: str, words: str, status: str) -> Callable[[Progress], bool]:
    def there(progress: Progress) -> bool:
        said = f"{progress.package} {progress.message}"
        return progress.step == step and words in said and progress.status == status

    return there


def before_rename(words: str) -> Callable[[str], bool]:
    return lambda target: words in target


# Where the process dies, in the order a build comes by; a rename is named by what gets its final name.
KILLS: dict[str, Callable[[Progress], bool] | Callable[[str], bool]] = {
    "plan": at("plan", "packages", "done"),
    "compile": at("packages", "app-misc/witness", "begin"),
    "merge": at("packages", "Completed", "done"),
    "harvest": before_rename(".gpkg.tar"),
    "trial": at("gate", "installing a fresh machine", "begin"),
    "verdict": before_rename("/trials/"),
    "seal": before_rename("/releases/"),
    "sealed": at("release", "", "done"),
    "layer": before_rename("/.layers/"),
    "head": before_rename("/one/head"),
}


def build_and_die(farm: Farmyard, where: str) -> None:
    """Build in a child process that kills itself, as SIGKILL would at that moment."""
    child = os.fork()
    if child == 0:
        try:
            arm(farm, where)
            farm.build()
        finally:
            os._exit(7)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), f"the build did not come by: {where}"
    assert os.WTERMSIG(status) == signal.SIGKILL


def arm(farm: Farmyard, where: str) -> None:
    condition: Any = KILLS[where]
    if condition.__qualname__.startswith("at."):
        farm.watch = lambda progress: die() if condition(progress) else None
        return

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        # The attempt's own head is written at the beginning; the one that counts, at the end.
        if event == "os.rename" and condition(str(arguments[1])) and "/attempt/" not in str(arguments[1]):
            die()

    sys.addaudithook(hook)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_build_that_is_killed_again_and_again_still_comes_to_its_end(farm: Farmyard) -> None:
    kept: set[str] = set()
    for where in KILLS:
        build_and_die(farm, where)
        assert_whole(farm)
        made = {package.sha256 for package in farm.ledger.packages()}
        assert kept <= made, where
        kept = made
        sealed = [name for name in farm.releases() if ".partial" not in name]
        assert bool(sealed) == (where in ("sealed", "layer", "head")), where
    result = farm.build()
    assert result.reasons == ()
    assert result.built == ()
    assert sorted(result.reused) == ALL
    assert result.release
    assert farm.releases() == [result.release.id]
    assert_whole(farm)
    # What was finished before a kill was never compiled again.
    assert len({package.sha256 for package in farm.ledger.packages()}) == len(ALL)


def on_a_small_disk(farm: Farmyard, room: str, spare_kib: int) -> dict[str, Any]:
    """Build with one room of the state on a tmpfs that has little left, in a mount namespace of its own."""
    told = farm.path / "told.json"
    child = os.fork()
    if child == 0:
        try:
            told.write_text(json.dumps(build_cramped(farm, room, spare_kib)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer: dict[str, Any] = json.loads(told.read_text())
    return answer


def build_cramped(farm: Farmyard, room: str, spare_kib: int) -> dict[str, Any]:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0
    run(["mount", "--make-rprivate", "/"])
    place = farm.tree.room(room)
    aside = place.with_name(f"{room}.before")
    place.rename(aside)
    place.mkdir()
    used = int(run(["du", "-sk", aside]).stdout.split()[0])
    run(["mount", "-t", "tmpfs", "-o", f"size={2 * used + 4096}k", "tmpfs", place])
    run(["cp", "-a", f"{aside}/.", place])
    used = int(run(["df", "--output=used", "-k", place]).stdout.split()[1])
    run(["mount", "-o", f"remount,size={used + spare_kib}k", place])
    try:
        result = farm.build()
        said = [*result.reasons] if result.release is None else []
    except Problem as problem:
        said = [str(problem)]
    names = sorted(path.name for path in farm.tree.room("releases").iterdir())
    pool = [path for path in farm.tree.room("pool").glob("*/*") if path.is_file()]
    whole = all(gpkg.check(path) == "" for path in pool)
    return {"said": said, "releases": names, "whole": whole}


@pytest.mark.parametrize(
    ("room", "spare_kib", "words"),
    [
        ("pool", 4, "is full"),
        ("roots", 128, "No space left on device"),
        ("releases", 64, "does not fit on the disk"),
    ],
)
def test_a_full_disk_is_one_sentence_and_nothing_half(
    grown: Farmyard, room: str, spare_kib: int, words: str
) -> None:
    before = grown.releases()
    touch_witness(grown)
    told = on_a_small_disk(grown, room, spare_kib)
    assert any(words in sentence for sentence in told["said"]), told["said"]
    assert told["releases"] == before
    assert told["whole"]


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    middle = len(data) // 2
    altered = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    path.write_bytes(altered if how == "altered" else data[:middle])


@pytest.mark.parametrize("how", ["altered", "truncated"])
def test_a_spoiled_package_of_the_pool_is_not_published_and_made_again(grown: Farmyard, how: str) -> None:
    before = grown.releases()
    (known,) = [one for one in grown.ledger.packages() if one.cpv == "app-misc/witness-1"]
    place = grown.tree.room("pool") / known.sha256[:2] / f"{known.sha256}.gpkg.tar"
    spoil(place, how)
    # The clock was set back meanwhile: nothing depends on it but names.
    day_before = time.time() - 24 * 3600.0
    grown.now = lambda: day_before
    result = grown.build()
    if how == "altered":  # which only the hash shows, and that is compared when all is built
        assert result.release is None
        assert any("app-misc/witness-1" in reason and "damaged" in reason for reason in result.reasons)
        assert grown.releases() == before
        result = grown.build()
    assert result.reasons == ()
    assert result.built == ("app-misc/witness-1",)
    assert result.release
    place = grown.tree.room("releases") / result.release.id
    sealed = manifest.parse((place / "manifest").read_text())
    assert known.sha256 not in {item.sha256 for item in sealed.packages}
    assert_whole(grown)


def test_what_a_broken_repository_asks_is_said_and_the_release_stays(grown: Farmyard) -> None:
    before = grown.releases()
    mask = grown.repository / "profiles/package.mask"
    riddles = {
        "broken": ("if then\n", "app-misc/riddle"),
        "cycle": ('DEPEND="app-misc/other"\n', "circular"),
        "blocker": ('RDEPEND="!!app-misc/witness"\n', "app-misc/witness"),
        "masked": ("", "masked"),
    }
    for kind, (text, words) in riddles.items():
        add(grown, "riddle", text)
        add(grown, "other", 'DEPEND="app-misc/riddle"\n' if kind == "cycle" else "")
        mask.write_text("app-misc/riddle\n" if kind == "masked" else "")
        grown.world = ("app-misc/witness", "app-misc/slow", "app-misc/riddle")
        with pytest.raises(Problem) as caught:
            grown.build()
        assert words in str(caught.value), kind
        assert grown.releases() == before
