"""What an attempt is offered and what is kept of it, also when it was killed."""

import json
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from appliance.model import Package
from buildfarm import harvest, index
from buildfarm.pool import Pool, sums
from buildfarm.portage import Installed
from buildfarm.root import Attempt

WITNESS = Path(__file__).resolve().parent.parent / "data" / "portage" / "witness-1-1.gpkg.tar"
ENTRY = {"CPV": "app-misc/witness-1", "BUILD_ID": "1", "BUILD_TIME": "1795337807", "SLOT": "0"}
NAME = "app-misc/witness/witness-1-1.gpkg.tar"
KNOWN = Package("ab" * 32, "app-misc/witness-1", 1, 10, "key", 100.0, index.write_paragraph(ENTRY))


@dataclass
class Ledger:
    packages: list[Package] = field(default_factory=list)

    def known(self, keys: Collection[str]) -> Sequence[Package]:
        return [package for package in self.packages if package.build_key in keys]

    def remember(self, package: Package) -> None:
        self.packages.append(package)


@pytest.fixture
def attempt(tmp_path: Path) -> Attempt:
    made = Attempt(tmp_path / "attempt")
    made.pkgdir.mkdir(parents=True)
    return made


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path / "pool")


def finish(attempt: Attempt, *, size: int | None = None) -> None:
    """Leave behind what emerge leaves behind: the file and its entry."""
    place = attempt.pkgdir / NAME
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(WITNESS.read_bytes()[:size])
    listed = index.Index({"VERSION": "0"}, ({**ENTRY, "PATH": NAME, "MTIME": "7"},))
    (attempt.pkgdir / "Packages").write_text(index.write(listed))


def test_the_package_that_is_installed_is_offered_before_a_newer_one() -> None:
    newer = replace(KNOWN, sha256="cd" * 32, built_at=200.0)
    here = Installed("app-misc/witness-1", 1, 100, "0")
    assert harvest.choose([newer, KNOWN], [here]) == [KNOWN]
    assert harvest.choose([newer, KNOWN], []) == [newer]
    assert harvest.choose([KNOWN, newer], []) == [newer]


def test_a_finished_package_is_kept_under_its_key(attempt: Attempt, pool: Pool) -> None:
    attempt.keys.write_text(json.dumps({"app-misc/witness-1": "k1"}))
    assert harvest.offer(attempt, pool, [], chost="x") == []
    finish(attempt)
    ledger = Ledger()
    (kept,) = harvest.gather(attempt, pool, ledger)
    assert ledger.known(["k1"]) == [kept]
    assert pool.holds(kept.sha256)
    fields = index.parse_paragraph(kept.index_entry)
    assert "PATH" not in fields
    assert "MTIME" not in fields
    assert fields["SHA256"] == sums(WITNESS).sha256


def test_a_half_written_package_is_not_kept(attempt: Attempt, pool: Pool) -> None:
    attempt.keys.write_text(json.dumps({"app-misc/witness-1": "k1"}))
    harvest.offer(attempt, pool, [], chost="x")
    finish(attempt, size=4000)
    ledger = Ledger()
    assert harvest.gather(attempt, pool, ledger) == []
    assert ledger.packages == []


def test_what_was_offered_is_not_taken_for_new(attempt: Attempt, pool: Pool, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copyfile(WITNESS, copy)
    known = replace(KNOWN, sha256=pool.add(copy).sha256)
    attempt.keys.write_text(json.dumps({"app-misc/witness-1": "k1"}))
    assert harvest.offer(attempt, pool, [known], chost="x") == [known]
    assert (attempt.pkgdir / NAME).samefile(pool.file(known.sha256))
    assert harvest.gather(attempt, pool, Ledger()) == []


def test_a_package_that_is_gone_from_the_pool_is_not_offered(attempt: Attempt, pool: Pool) -> None:
    assert harvest.offer(attempt, pool, [KNOWN], chost="x") == []


def test_an_attempt_that_was_killed_before_it_began_leaves_nothing(attempt: Attempt, pool: Pool) -> None:
    assert harvest.gather(attempt, pool, Ledger()) == []
