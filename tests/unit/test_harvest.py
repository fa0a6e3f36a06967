"""What goes from the pool into a build, and what comes back."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.farm_model import Figures, Package
from buildfarm import harvest, index
from buildfarm.key import TOOLCHAIN, Recipe, build_key, neutral_key
from buildfarm.pool import Pool, sums
from buildfarm.portage import Installed
from buildfarm.root import Attempt

WITNESS = Path(__file__).resolve().parent.parent / "data" / "portage" / "witness-1-1.gpkg.tar"
CPV = "app-misc/witness-1"
ENTRY = {"CPV": CPV, "BUILD_ID": "1", "BUILD_TIME": "1795337807", "SLOT": "0"}
NAME = "app-misc/witness/witness-1-1.gpkg.tar"
RECIPE = Recipe(CPV, {"ebuild": "e", "variable CFLAGS": "-O2"})
OTHER_FLAGS = RECIPE.with_parts({"variable CFLAGS": "-O3"})
KNOWN = Package("ab" * 32, CPV, 1, 10, build_key(RECIPE), 100.0, index.write_paragraph(ENTRY))
SHARED = replace(KNOWN, sha256="cd" * 32, built_at=200.0, build_key="other", neutral_key=neutral_key(RECIPE))


@dataclass
class Ledger:
    packages: list[Package] = field(default_factory=list)
    parts: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def known(self, keys: Mapping[str, str]) -> Sequence[Package]:
        return [one for one in self.packages if one.build_key in keys or one.neutral_key in keys.values()]

    def remember(self, package: Package, parts: Mapping[str, str]) -> None:
        self.packages.append(package)
        self.parts[package.sha256] = parts

    def forget(self, sha256: str) -> None:
        self.packages = [one for one in self.packages if one.sha256 != sha256]


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    made = Attempt(tmp_path / "attempt")
    made.pkgdir.mkdir(parents=True)
    return made


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def pooled(pool: Pool, tmp_path: Path) -> Package:
    copy = tmp_path / "copy"
    shutil.copyfile(WITNESS, copy)
    found = pool.add(copy)
    return replace(KNOWN, sha256=found.sha256, size_bytes=found.size_bytes)


def finish(attempt: Attempt, *, size: int | None = None) -> None:
    """Leave behind what emerge leaves behind: the file and its entry."""
    place = attempt.pkgdir / NAME
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(WITNESS.read_bytes()[:size])
    listed = index.Index({"VERSION": "0"}, ({**ENTRY, "PATH": NAME, "MTIME": "7"},))
    (attempt.pkgdir / "Packages").write_text(index.write(listed))


def test_the_package_that_is_installed_is_offered_before_a_newer_one() -> None:
    newer = replace(KNOWN, sha256="cd" * 32, built_at=200.0)
    here = Installed(CPV, 1, 100, "0")
    recipes = {CPV: RECIPE}
    assert harvest.choose([newer, KNOWN], [here], recipes) == [KNOWN]
    assert harvest.choose([newer, KNOWN], [], recipes) == [newer]
    assert harvest.choose([KNOWN, newer], [], recipes) == [newer]


def test_a_neutral_package_is_offered_across_flags_but_never_one_that_is_not() -> None:
    assert harvest.choose([SHARED], [], {CPV: OTHER_FLAGS}) == [SHARED]
    assert harvest.choose([KNOWN], [], {CPV: OTHER_FLAGS}) == []
    assert harvest.choose([SHARED, KNOWN], [], {CPV: RECIPE}) == [KNOWN]
    assert harvest.choose([SHARED], [], {}) == []


def test_one_instance_of_a_slot_is_offered() -> None:
    newer = Recipe("app-misc/witness-2", RECIPE.parts)
    entry = index.write_paragraph({**ENTRY, "CPV": newer.cpv})
    second = replace(
        KNOWN, cpv=newer.cpv, sha256="cd" * 32, built_at=300.0, build_key=build_key(newer), index_entry=entry
    )
    recipes = {CPV: RECIPE, newer.cpv: newer}
    assert harvest.choose([KNOWN, second], [], recipes) == [second]
    beside = replace(second, index_entry=entry.replace("SLOT: 0", "SLOT: 2/2.1"))
    assert harvest.choose([KNOWN, beside], [], recipes) == [KNOWN, beside]


def test_a_finished_package_is_kept_under_its_key_with_what_it_took(attempt: Attempt, pool: Pool) -> None:
    harvest.note(attempt, {CPV: RECIPE}, profile="server")
    ledger = Ledger()
    assert harvest.offer(attempt, pool, ledger, [], chost="x") == []
    finish(attempt)
    (kept,) = harvest.gather(attempt, pool, ledger, {CPV: Figures(seconds=7.0)})
    assert ledger.known(harvest.keys({CPV: RECIPE})) == [kept]
    assert (kept.profile, kept.seconds) == ("server", 7.0)
    assert kept.neutral_key == "", "it is an ELF program"
    assert ledger.parts[kept.sha256] == RECIPE.parts
    assert pool.holds(kept.sha256)
    fields = index.parse_paragraph(kept.index_entry)
    assert "PATH" not in fields
    assert "MTIME" not in fields
    assert fields["SHA256"] == sums(WITNESS).sha256


def test_what_may_be_made_with_the_old_or_the_new_compiler_is_never_taken_for_either(
    attempt: Attempt, pool: Pool
) -> None:
    recipes = {CPV: RECIPE.with_parts({TOOLCHAIN: "aa gcc 12"})}
    harvest.note(attempt, recipes, profile="server")
    ledger = Ledger()
    harvest.offer(attempt, pool, ledger, [], chost="x")
    entry = attempt.upper / "var/db/pkg/sys-devel/gcc-13.2.1"
    entry.mkdir(parents=True)
    (entry / "CONTENTS").touch()
    finish(attempt)
    (kept,) = harvest.gather(attempt, pool, ledger)
    assert ledger.known(harvest.keys(recipes)) == []
    assert ledger.parts[kept.sha256][TOOLCHAIN] == "aa gcc 12 or sys-devel/gcc-13.2.1"
    shutil.rmtree(entry)
    (again,) = harvest.gather(attempt, pool, ledger)
    assert ledger.known(harvest.keys(recipes)) == [again]


def test_a_half_written_package_is_not_kept(attempt: Attempt, pool: Pool) -> None:
    harvest.note(attempt, {CPV: RECIPE}, profile="server")
    ledger = Ledger()
    harvest.offer(attempt, pool, ledger, [], chost="x")
    finish(attempt, size=4000)
    assert harvest.gather(attempt, pool, ledger) == []
    assert ledger.packages == []


def test_what_was_offered_is_not_taken_for_new(attempt: Attempt, pool: Pool, tmp_path: Path) -> None:
    known = pooled(pool, tmp_path)
    harvest.note(attempt, {CPV: RECIPE}, profile="server")
    assert harvest.offer(attempt, pool, Ledger(), [known], chost="x") == [known]
    assert (attempt.pkgdir / NAME).samefile(pool.file(known.sha256))
    assert harvest.gather(attempt, pool, Ledger()) == []


def test_a_package_that_is_gone_from_the_pool_is_forgotten_and_not_offered(
    attempt: Attempt, pool: Pool
) -> None:
    ledger = Ledger([KNOWN])
    assert harvest.offer(attempt, pool, ledger, [KNOWN], chost="x") == []
    assert ledger.packages == []


def test_a_truncated_package_is_set_aside_and_only_that(attempt: Attempt, pool: Pool, tmp_path: Path) -> None:
    known = pooled(pool, tmp_path)
    ledger = Ledger([known, replace(KNOWN, sha256="ef" * 32)])
    place = pool.file(known.sha256)
    place.write_bytes(place.read_bytes()[:-1])
    assert harvest.offer(attempt, pool, ledger, [known], chost="x") == []
    assert [one.sha256 for one in ledger.packages] == ["ef" * 32]
    assert not place.exists()
    assert (pool.path / "damaged" / place.name).is_file()
    assert not (attempt.pkgdir / NAME).exists()


def test_an_altered_package_of_the_same_size_is_found_by_its_hash(pool: Pool, tmp_path: Path) -> None:
    known = pooled(pool, tmp_path)
    ledger = Ledger([known])
    assert harvest.condemn_damaged(pool, ledger, [known]) == []
    place = pool.file(known.sha256)
    place.write_bytes(b"x" + place.read_bytes()[1:])
    assert harvest.condemn_damaged(pool, ledger, [known]) == [known]
    assert ledger.packages == []
    assert not pool.holds(known.sha256)


def test_an_attempt_that_was_killed_before_it_began_leaves_nothing(attempt: Attempt, pool: Pool) -> None:
    assert harvest.gather(attempt, pool, Ledger()) == []


def test_an_attempt_that_was_killed_while_its_index_was_written_leaves_nothing(
    attempt: Attempt, pool: Pool
) -> None:
    harvest.note(attempt, {CPV: RECIPE}, profile="server")
    harvest.offer(attempt, pool, Ledger(), [], chost="x")
    (attempt.pkgdir / "Packages").unlink()
    assert harvest.gather(attempt, pool, Ledger()) == []
