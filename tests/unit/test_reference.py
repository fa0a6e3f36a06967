"""What decides the name of a reference stage, and where its packages come from."""

import multiprocessing
import re
from dataclasses import replace
from pathlib import Path

from buildfarm.debian import KEYRING, Repository, parse_targets
from buildfarm.reference import exclusive, workplace
from buildfarm.reference_recipes import MACHINES, USUAL, recipe, variants

LISTED = """Debian|http://mirror.example/debian/|bookworm|main
Debian|http://mirror.example/debian/|bookworm|main
Debian|http://mirror.example/debian-security/|bookworm-security|main
Somebody|http://packages.example/|stable|main
a line of something else
"""


def test_only_the_hosts_debian_repositories_count_and_each_once() -> None:
    assert parse_targets(LISTED) == (
        Repository("http://mirror.example/debian-security/", "bookworm-security", "main"),
        Repository("http://mirror.example/debian/", "bookworm", "main"),
    )


def test_a_repository_line_names_its_keyring() -> None:
    line = Repository("http://mirror.example/debian/", "bookworm", "main").line("deb-src")
    assert line == f"deb-src [signed-by={KEYRING}] http://mirror.example/debian/ bookworm main"


def test_any_change_of_a_recipe_gives_the_stage_another_name() -> None:
    usual = recipe("install")
    changes = [
        replace(usual, packages=(*usual.packages, "nano")),
        replace(usual, remove=usual.remove[1:]),
        replace(usual, compression="zstd -1"),
        replace(usual, portage="0" * 64),
        replace(usual, links=usual.links[1:]),
        replace(usual, files=usual.files[1:]),
        replace(usual, directories=usual.directories[1:]),
    ]
    assert len({usual.hash, *(changed.hash for changed in changes)}) == len(changes) + 1
    assert replace(usual).hash == usual.hash


def test_the_two_stages_never_share_a_name() -> None:
    hashes = [recipe(variant, one).hash for one in MACHINES for variant in variants(one)]
    assert len(set(hashes)) == len(hashes)


def test_a_stage_for_i686_has_nothing_of_another_processor() -> None:
    for made in (recipe("build", "i686"), recipe("install", "i686")):
        text = repr(made)
        assert not re.search("x86_64|amd64|lib64", text)
        assert made.chost == "i686-pc-linux-gnu"
    assert USUAL in repr(recipe("build"))


def test_what_a_killed_run_left_is_gone_at_the_next_one(tmp_path: Path) -> None:
    (tmp_path / ".reference-killed/root/etc").mkdir(parents=True)
    (tmp_path / "reference-build-1.tar.zst").write_bytes(b"kept")
    with workplace(tmp_path, ".reference-") as place:
        (place / "half").write_text("done")
        assert [path.name for path in tmp_path.glob(".reference-*")] == [place.name]
    assert [path.name for path in tmp_path.iterdir()] == ["reference-build-1.tar.zst"]


def hold(lock: Path, entered: "multiprocessing.synchronize.Event") -> None:
    with exclusive(lock):
        entered.set()
        multiprocessing.Event().wait()


def test_the_lock_of_a_killed_process_is_free_again(tmp_path: Path) -> None:
    entered = multiprocessing.Event()
    holder = multiprocessing.Process(target=hold, args=(tmp_path / "lock", entered))
    holder.start()
    assert entered.wait(20)
    holder.kill()
    holder.join()
    with exclusive(tmp_path / "lock"):
        pass
